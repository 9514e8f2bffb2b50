/** Writes a status file again and again: once a second, say, and when a server stops. */
import { replaceFile } from "../system/durable_file.ts";
import type { Clock } from "../system/clock.ts";
import { describeError } from "../system/failure.ts";
import { LogThrottle } from "../system/log.ts";
import type { Log } from "../system/log.ts";

/** Collectors and doctors run as other users; what it holds is counts, and perhaps the names of keys. */
const STATUS_MODE = 0o644;
const FAILURE_LOG = { perKey: { burst: 1, perMs: 60_000 }, maxKeys: 1 };

export class StatusWriter {
  readonly #path: string;
  readonly #render: () => string;
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #throttle = new LogThrottle(FAILURE_LOG);
  #writing: Promise<void> | null = null;

  /** @param render the whole text of the file, as of now */
  constructor(path: string, render: () => string, log: Log, clock: Clock) {
    this.#path = path;
    this.#render = render;
    this.#log = log;
    this.#clock = clock;
  }

  /**
   * Replaces the file. A write still under way is waited for instead of started again, so a slow disk makes the
   * file old, not the memory full. Failure is logged: a server without its status still serves.
   */
  write(): Promise<void> {
    this.#writing ??= this.#write().finally(() => this.#writing = null);
    return this.#writing;
  }

  /** Writes what is true now, also if an older state is just being written. */
  async writeLast(): Promise<void> {
    await this.#writing;
    await this.write();
  }

  async #write(): Promise<void> {
    try {
      await replaceFile(this.#path, new TextEncoder().encode(this.#render()), {
        mode: STATUS_MODE,
        soleWriter: true,
      });
    } catch (error) {
      const { log, suppressed } = this.#throttle.take("status", this.#clock.monotonicMs());
      if (log) {
        this.#log.error("status file not written", {
          path: this.#path,
          error: describeError(error),
          suppressed,
        });
      }
    }
  }
}

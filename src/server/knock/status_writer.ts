/** Writes the status file once a second and when the server stops. */
import { replaceFile } from "../../system/durable_file.ts";
import type { Clock } from "../../system/clock.ts";
import { describeError } from "../../system/failure.ts";
import { LogThrottle } from "../../system/log.ts";
import type { Log } from "../../system/log.ts";
import { renderStatus } from "./status.ts";
import type { StatusSnapshot } from "./status.ts";

/** Collectors and doctors run as other users; the file holds counts and the names of keys. */
const STATUS_MODE = 0o644;
const FAILURE_LOG = { perKey: { burst: 1, perMs: 60_000 }, maxKeys: 1 };

export class StatusWriter {
  readonly #path: string;
  readonly #snapshot: () => StatusSnapshot;
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #throttle = new LogThrottle(FAILURE_LOG);
  #writing: Promise<void> | null = null;

  constructor(path: string, snapshot: () => StatusSnapshot, log: Log, clock: Clock) {
    this.#path = path;
    this.#snapshot = snapshot;
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
      const text = renderStatus(this.#path, this.#snapshot());
      await replaceFile(this.#path, new TextEncoder().encode(text), { mode: STATUS_MODE, soleWriter: true });
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

import { decodeForwardMessage, type ForwardMessage } from "../../protocol/knock/forward_message.ts";
import { describeError } from "../../system/failure.ts";
import { type Log, LogThrottle } from "../../system/log.ts";
import { closeQuietly, MESSAGE_TIMEOUT_MS, readMessage } from "./read_message.ts";

export interface DoorkeeperOptions {
  readonly listener: Deno.Listener<Deno.UnixConn>;
  readonly onMessage: (message: ForwardMessage) => void;
  readonly log: Log;
  readonly monotonicMs: () => number;
  /** Connections that are read from at once; more are closed unread. @default 256 */
  readonly maxConnections?: number;
  /** @default 1000 */
  readonly messageTimeoutMs?: number;
}

const MAX_CONNECTIONS = 256;
const ACCEPT_PAUSE_MS = 100;
const REFUSALS_LOGGED = { perKey: { burst: 5, perMs: 10_000 }, maxKeys: 8 };

/** Accepts connections, reads one message from each, and hands it on. Nothing is ever answered. */
export class Doorkeeper {
  readonly #options: DoorkeeperOptions;
  readonly #throttle = new LogThrottle(REFUSALS_LOGGED);
  readonly #open = new Set<Deno.UnixConn>();
  readonly #reading = new Set<Promise<void>>();

  constructor(options: DoorkeeperOptions) {
    this.#options = options;
  }

  /** Serves until `signal` is aborted, which must come together with the closing of the listener. */
  async serve(signal: AbortSignal): Promise<void> {
    const { listener, maxConnections = MAX_CONNECTIONS } = this.#options;
    while (!signal.aborted) {
      let conn: Deno.UnixConn;
      try {
        conn = await listener.accept();
      } catch (error) {
        if (signal.aborted) break;
        // Out of file descriptors, most likely; the next accept would fail as fast as this one.
        this.#refused("accept_failed", describeError(error));
        await new Promise((resolve) => setTimeout(resolve, ACCEPT_PAUSE_MS));
        continue;
      }
      if (this.#open.size >= maxConnections) {
        conn.close();
        this.#refused("too_many");
        continue;
      }
      this.#read(conn);
    }
    this.#open.forEach(closeQuietly);
    await Promise.all(this.#reading);
  }

  #read(conn: Deno.UnixConn): void {
    this.#open.add(conn);
    const reading = this.#readOne(conn).finally(() => this.#reading.delete(reading));
    this.#reading.add(reading);
  }

  async #readOne(conn: Deno.UnixConn): Promise<void> {
    const message = await readMessage(conn, this.#options.messageTimeoutMs ?? MESSAGE_TIMEOUT_MS);
    this.#open.delete(conn);
    if (typeof message === "string") this.#refused(message);
    else this.#options.onMessage(decodeForwardMessage(message));
  }

  #refused(reason: string, error?: string): void {
    const taken = this.#throttle.take(reason, this.#options.monotonicMs());
    if (!taken.log) return;
    this.#options.log.warn("connection refused", {
      reason,
      ...(error === undefined ? {} : { error }),
      ...(taken.suppressed > 0 ? { suppressed: taken.suppressed } : {}),
    });
  }
}

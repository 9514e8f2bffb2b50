/** A connection as a pairing uses it: every wait has an end, and only what is asked for is read. */
import type { Timers } from "../rpc/timers.ts";
import type { Connection } from "../transport/transport.ts";
import { PairingError, type PairingFailure } from "./pairing_error.ts";

/** How long a line waits. */
export interface PairingLineOptions {
  readonly timers: Timers;
  /** For the first byte of the other side. */
  readonly renewMs: number;
  /** For the whole of what is said next, if nothing else is said. */
  readonly stepMs: number;
  readonly signal: AbortSignal | undefined;
}

/** A connection that closes itself when its time is over, or somebody gives it up. */
export class PairingLine {
  readonly #connection: Connection;
  readonly #options: PairingLineOptions;
  #callOff: () => void = () => {};
  /** What it is called that a time is over; null while none is. */
  #overdue: PairingFailure | null = null;
  #heard = false;
  readonly #close: () => void;

  /** Takes over a connection until `release`; the time for the first byte begins. */
  constructor(connection: Connection, options: PairingLineOptions) {
    this.#connection = connection;
    this.#options = options;
    this.#close = () => connection.close();
    options.signal?.addEventListener("abort", this.#close);
    this.#allow(options.renewMs, "nobody");
  }

  /** The time for one more message begins, ours or the other side's. */
  step(ms: number = this.#options.stepMs): void {
    this.#allow(ms, "silent");
  }

  /** No time runs until the next `step`: what is done now is done on this side. */
  pause(): void {
    this.#callOff();
  }

  /**
   * Writes all bytes.
   *
   * @throws {PairingError} "closed", "silent" or "nobody"; or the signal's reason
   */
  async write(bytes: Uint8Array): Promise<void> {
    this.#options.signal?.throwIfAborted();
    try {
      await this.#connection.write(bytes);
    } catch (error) {
      throw this.#failure(error);
    }
  }

  /**
   * Fills the whole buffer, and reads not one byte more.
   *
   * @throws {PairingError} "closed", "silent" or "nobody"; or the signal's reason
   */
  async read(buffer: Uint8Array<ArrayBuffer>): Promise<void> {
    for (let at = 0; at < buffer.length;) {
      const count = await this.#readSome(buffer.subarray(at));
      this.#options.signal?.throwIfAborted();
      if (count === null) throw this.#failure(undefined);
      // Not again at each byte: a side that sends one a second would be waited for as long as it likes.
      if (!this.#heard) this.step();
      this.#heard = true;
      at += count;
    }
  }

  /** Leaves the connection to somebody else. */
  release(): void {
    this.#callOff();
    this.#options.signal?.removeEventListener("abort", this.#close);
  }

  async #readSome(buffer: Uint8Array<ArrayBuffer>): Promise<number | null> {
    try {
      return await this.#connection.read(buffer);
    } catch (error) {
      throw this.#failure(error);
    }
  }

  #allow(ms: number, failure: PairingFailure): void {
    this.#callOff();
    this.#callOff = this.#options.timers.after(ms, () => {
      this.#overdue = failure;
      this.#connection.close();
    });
  }

  #failure(cause: unknown): unknown {
    const { signal } = this.#options;
    if (signal?.aborted) return signal.reason;
    const heard = this.#heard;
    if (this.#overdue === "nobody") return new PairingError("nobody", "nobody came", { heard });
    if (this.#overdue !== null) return new PairingError("silent", "the other side fell silent", { heard });
    return new PairingError("closed", "the connection was closed", { heard, cause });
  }
}

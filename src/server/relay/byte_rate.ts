import type { Timers } from "../../protocol/rpc/timers.ts";

const MS_PER_SECOND = 1000;
/** So much time's bytes may go at once. */
const BURST_MS = 250;
/** So much time's bytes are worth a turn; of a slow rate, a single byte is. */
const PIECE_MS = 50;

/**
 * A limit of bytes a second, one for both directions of a staple.
 *
 * Spent is what was read, so both may be reading on the same allowance at once: what is too much then is owed, and
 * waited for before the next piece.
 */
export class ByteRate {
  readonly #bytesPerMs: number;
  readonly #maxBytes: number;
  readonly #pieceBytes: number;
  readonly #timers: Timers;
  readonly #waiting = new Set<() => void>();
  #bytes: number;
  #updatedMs: number;
  #isClosed = false;

  constructor(bytesPerSecond: number, timers: Timers) {
    this.#bytesPerMs = bytesPerSecond / MS_PER_SECOND;
    this.#maxBytes = Math.max(1, this.#bytesPerMs * BURST_MS);
    this.#pieceBytes = Math.max(1, Math.floor(this.#bytesPerMs * PIECE_MS));
    this.#timers = timers;
    this.#bytes = this.#maxBytes;
    this.#updatedMs = timers.monotonicMs();
  }

  /** Waits until bytes may go, and says how many, at least one. Once closed, nobody waits any more. */
  async room(): Promise<number> {
    for (;;) {
      this.#refill();
      if (this.#bytes >= this.#pieceBytes || this.#isClosed) return Math.max(1, Math.floor(this.#bytes));
      // Whole milliseconds: of a fraction the rounding could leave a remainder that no clock can tell from nothing.
      await this.#wait(Math.ceil((this.#pieceBytes - this.#bytes) / this.#bytesPerMs));
    }
  }

  /** Bytes have gone. */
  spend(bytes: number): void {
    this.#bytes -= bytes;
  }

  /** Ends every wait. */
  close(): void {
    this.#isClosed = true;
    for (const wake of this.#waiting) wake();
  }

  #refill(): void {
    const nowMs = this.#timers.monotonicMs();
    this.#bytes = Math.min(this.#maxBytes, this.#bytes + (nowMs - this.#updatedMs) * this.#bytesPerMs);
    this.#updatedMs = nowMs;
  }

  async #wait(ms: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting.add(resolve);
    const callOff = this.#timers.after(ms, resolve);
    await promise;
    callOff();
    this.#waiting.delete(resolve);
  }
}

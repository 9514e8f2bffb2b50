/**
 * Whether compressing makes a transfer faster just now. Over a slow link it does; where the link takes more than a
 * thread can compress, chunks would wait for being made smaller, and it costs both sides more than it saves.
 *
 *   compressing --(most of the time went by in waiting for chunks to be ready)--> plain
 *   plain       --(fewer bytes went by in a second than when compressing)-------> compressing, for twice as long
 *
 * Only what was measured on this link in this session decides; a link that becomes slower or faster is noticed.
 */
import type { Timers } from "../rpc/timers.ts";

/** A decision is taken after so many chunks. */
const WINDOW_CHUNKS = 8;
/** Longest time for which it is not asked again whether plain is faster, in windows. */
const MAX_HOLD_WINDOWS = 64;

/** Measures one session. */
export class CompressionPace {
  readonly #timers: Timers;
  #isCompressing = true;
  #bytesPerMsCompressed = 0;
  /** How many windows the next try at compressing lasts at least, and how many are left of this one. */
  #holdWindows = 1;
  #windowsLeft = 1;
  #chunks = 0;
  #bytes = 0;
  #preparingMs = 0;
  #beganMs: number;

  /** Begins by compressing: a link that is too slow is a greater nuisance than a processor that is. */
  constructor(timers: Timers) {
    this.#timers = timers;
    this.#beganMs = timers.monotonicMs();
  }

  /** Whether the next chunk is to be compressed. */
  get isCompressing(): boolean {
    return this.#isCompressing;
  }

  /**
   * A chunk was handed over.
   *
   * @param bytes its length, uncompressed
   * @param preparingMs for how long nothing could be handed over because it was not ready
   */
  said(bytes: number, preparingMs: number): void {
    this.#bytes += bytes;
    this.#preparingMs += preparingMs;
    if (++this.#chunks < WINDOW_CHUNKS) return;
    const nowMs = this.#timers.monotonicMs(), elapsedMs = nowMs - this.#beganMs;
    const bytesPerMs = this.#bytes / Math.max(elapsedMs, 1);
    if (this.#isCompressing) this.#judgeCompressing(bytesPerMs, this.#preparingMs > elapsedMs / 2);
    else if (bytesPerMs < this.#bytesPerMsCompressed) this.#compressAgain();
    this.#chunks = this.#bytes = this.#preparingMs = 0;
    this.#beganMs = nowMs;
  }

  #judgeCompressing(bytesPerMs: number, isHeldUp: boolean): void {
    this.#bytesPerMsCompressed = bytesPerMs;
    this.#windowsLeft--;
    if (this.#windowsLeft <= 0 && isHeldUp) this.#isCompressing = false;
  }

  #compressAgain(): void {
    this.#isCompressing = true;
    this.#holdWindows = Math.min(2 * this.#holdWindows, MAX_HOLD_WINDOWS);
    this.#windowsLeft = this.#holdWindows;
  }
}

/**
 * When a transfer tries again, and when no more. Every pause has a random part: two ends that lost one link, or all
 * the clients of a relay that was restarted, would else come back in step, again and again.
 */
import type { RandomBytes, Timers } from "../rpc/timers.ts";

/** Shortest pause after a relay that could not be reached, or a session that moved nothing. */
export const MIN_BACKOFF_MS = 500;
/** Longest one. */
export const MAX_BACKOFF_MS = 5_000;
/** Longest pause before the first redial of a link that had moved something. */
const MAX_FIRST_PAUSE_MS = 250;
const FRACTION_BYTES = 4;
const FRACTION_SPAN = 2 ** (8 * FRACTION_BYTES);

/** A random time, 0 to less than `spanMs`, in milliseconds. */
export function randomPauseMs(spanMs: number, random: RandomBytes): number {
  const bytes = random(FRACTION_BYTES);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return spanMs * view.getUint32(0) / FRACTION_SPAN;
}

/** Pauses that grow with each failure in a row: a random time from 0.5 s up to 1, 2, 4, and then always 5 s. */
export class Backoff {
  readonly #random: RandomBytes;
  #failures = 0;

  /** Makes one without failures. */
  constructor(random: RandomBytes) {
    this.#random = random;
  }

  /** Something has failed; how long to wait now, in milliseconds. */
  nextMs(): number {
    this.#failures++;
    const longestMs = Math.min(MAX_BACKOFF_MS, MIN_BACKOFF_MS * 2 ** this.#failures);
    return MIN_BACKOFF_MS + randomPauseMs(longestMs - MIN_BACKOFF_MS, this.#random);
  }

  /** Something has worked. */
  reset(): void {
    this.#failures = 0;
  }
}

/** What a grace time is made of. */
export interface GraceParts {
  /** How long a lost link is tried again. */
  readonly graceMs: number;
  /** The clock. */
  readonly timers: Timers;
  /** For the random part of each pause. */
  readonly random: RandomBytes;
}

/**
 * The time that a lost link has to come back. It begins anew only when a session has moved something: a relay that
 * lets both sides prove themselves and then cuts them, for ever, holds them no longer than one that is gone.
 */
export class GraceTime {
  readonly #parts: GraceParts;
  readonly #backoff: Backoff;
  #untilMs: number;
  #pauseMs = 0;

  /** It begins now, as if a good session had just ended. */
  constructor(parts: GraceParts) {
    this.#parts = parts;
    this.#backoff = new Backoff(parts.random);
    this.#untilMs = parts.timers.monotonicMs() + parts.graceMs;
  }

  /** A session has ended by a lost link. */
  lost(hasMoved: boolean): void {
    const { graceMs, timers, random } = this.#parts;
    if (hasMoved) {
      this.#backoff.reset();
      this.#untilMs = timers.monotonicMs() + graceMs;
      this.#pauseMs = randomPauseMs(MAX_FIRST_PAUSE_MS, random);
    } else {
      this.#pauseMs = this.#backoff.nextMs();
    }
  }

  /** When it is over, in `Timers.monotonicMs`. */
  get untilMs(): number {
    return this.#untilMs;
  }

  /** Whether no time is left. */
  get isOver(): boolean {
    return this.#untilMs <= this.#parts.timers.monotonicMs();
  }

  /** How long to wait before the next try, in milliseconds; never beyond the end. */
  get pauseMs(): number {
    return Math.max(0, Math.min(this.#pauseMs, this.#untilMs - this.#parts.timers.monotonicMs()));
  }
}

/**
 * Waits.
 *
 * @throws the signal's reason, at once, when it is aborted
 */
export function pause(delayMs: number, timers: Timers, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason);
    const end = (settle: () => void): void => {
      callOff();
      signal.removeEventListener("abort", onAbort);
      settle();
    };
    const onAbort = (): void => end(() => reject(signal.reason));
    const callOff = timers.after(delayMs, () => end(resolve));
    signal.addEventListener("abort", onAbort, { once: true });
  });
}

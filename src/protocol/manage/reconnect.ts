/**
 * When a lost link is dialled again: at once, then again and again for ever, after a pause that is random from 0 on
 * ("full jitter"), so that hosts that one restart of the server has cut off do not come back in step.
 */

/** Longest pause in the first part of an outage. */
export const EARLY_PAUSE_MS = 10_000;
/** Longest pause afterwards. */
export const LATE_PAUSE_MS = 60_000;
/** How long the first part is. */
export const EARLY_OUTAGE_MS = 10 * 60_000;

/** What the pause before an attempt depends on. */
export interface Attempt {
  /** Number of attempts since the link was lost: 0 for the first one. */
  readonly attempt: number;
  /** Time since the link was lost. */
  readonly outageMs: number;
  /** Gives a random number, 0 to less than 1. */
  readonly random: () => number;
}

/** How long to wait before an attempt, in milliseconds. */
export function nextAttemptDelayMs({ attempt, outageMs, random }: Attempt): number {
  if (attempt === 0) return 0;
  return random() * (outageMs < EARLY_OUTAGE_MS ? EARLY_PAUSE_MS : LATE_PAUSE_MS);
}

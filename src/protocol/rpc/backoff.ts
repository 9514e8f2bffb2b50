/**
 * How long to wait before another attempt: full jitter, a random part of a span that doubles with each failure. All
 * of the clients that lost one server at the same moment then come back spread over the span, not in step.
 */
import type { RandomBytes } from "./timers.ts";

const FIRST_SPAN_MS = 100;
/** Longest wait. */
export const MAX_BACKOFF_MS = 10_000;
const RANDOM_BYTES = 4;
const RANDOM_SPAN = 2 ** (8 * RANDOM_BYTES);

/**
 * @param failures how many attempts have failed in a row, or connections ended early; 0 after a good one
 * @returns milliseconds, 0 to `MAX_BACKOFF_MS`
 */
export function backoffMs(failures: number, randomBytes: RandomBytes): number {
  const spanMs = Math.min(MAX_BACKOFF_MS, FIRST_SPAN_MS * 2 ** failures);
  const random = new DataView(randomBytes(RANDOM_BYTES).buffer).getUint32(0) / RANDOM_SPAN;
  return random * spanMs;
}

/** Wall-clock time finer than the millisecond of `Date.now()`, to compare with what `date +%s%N` writes. */

/** Returns a clock of Unix milliseconds. Made anew for each series, so that a clock being slewed cannot add up. */
export function makeWallClock(): () => number {
  const before = Date.now();
  let now = before;
  // The tick itself is the only moment at which Date.now() is exact.
  while (now === before) now = Date.now();
  const offsetMs = now - performance.now();
  return () => performance.now() + offsetMs;
}

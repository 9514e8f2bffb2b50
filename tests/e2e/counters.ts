/** Counters as a client takes them: the time in nanoseconds, always growing. */

const NS_PER_MS = 1_000_000n;
let last = 0n;

/** A counter above every earlier one of this process, and above the floor that a starting server gave its keys. */
export function nextCounter(): bigint {
  // The server's own clock shows digits below the millisecond; one more millisecond is above them.
  const now = BigInt(Date.now() + 1) * NS_PER_MS;
  last = now > last ? now : last + 1n;
  return last;
}

/** The counter of a clock that is ahead by so much. */
export function counterAhead(seconds: number): bigint {
  return BigInt(Date.now() + seconds * 1000) * NS_PER_MS;
}

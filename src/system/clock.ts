/** The two clocks every decision uses. A parameter, so that tests can set the time. */
export interface Clock {
  /** Milliseconds since 1970 by the wall clock, which people and NTP may set at will. */
  wallMs(): number;
  /** Nanoseconds since 1970 by the wall clock, with as many digits as the machine has. */
  wallNs(): bigint;
  /** Milliseconds since some fixed point; never goes back. */
  monotonicMs(): number;
}

const NS_PER_MS = 1_000_000;

export const systemClock: Clock = {
  wallMs(): number {
    return Date.now();
  },

  wallNs(): bigint {
    const wallMs = Date.now();
    // `performance` was set by the wall clock once, at start, and drifts from it when that is adjusted. Its digits
    // below the millisecond are used only while both agree on the millisecond, so the sum is never off by one.
    const sinceStartMs = performance.timeOrigin + performance.now() - wallMs;
    const fractionNs = sinceStartMs > 0 && sinceStartMs < 1 ? Math.floor(sinceStartMs * NS_PER_MS) : 0;
    return BigInt(wallMs) * BigInt(NS_PER_MS) + BigInt(fractionNs);
  },

  monotonicMs(): number {
    return performance.now();
  },
};

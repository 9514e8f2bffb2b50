import { type Clock, systemClock } from "../../../src/system/clock.ts";

/** The wall clock, shifted as a test likes. */
export class ShiftedClock implements Clock {
  /** Milliseconds that it is ahead. */
  aheadMs = 0;

  wallMs(): number {
    return systemClock.wallMs() + this.aheadMs;
  }

  wallNs(): bigint {
    return systemClock.wallNs() + BigInt(this.aheadMs) * 1_000_000n;
  }

  monotonicMs(): number {
    return systemClock.monotonicMs();
  }
}

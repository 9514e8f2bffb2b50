/** Limits for tests: wide, where a test does not say otherwise. */
import type { RelayLimits, RoomLimits } from "../../../src/server/relay/limits.ts";

/** What a test wants otherwise. */
export interface LimitsOptions {
  readonly arriving?: Partial<RoomLimits>;
  readonly parked?: Partial<RoomLimits>;
  readonly staples?: Partial<RoomLimits>;
  readonly bytesPerSecond?: number;
}

/** Room for 100 of each kind, of whatever network, for as long as an hour. */
export function limitsOf(options: LimitsOptions = {}): RelayLimits {
  const wide: RoomLimits = { max: 100, maxPerNetwork: 100, timeMs: 3_600_000 };
  return {
    arriving: { ...wide, ...options.arriving },
    parked: { ...wide, ...options.parked },
    staples: { ...wide, ...options.staples },
    bytesPerSecond: options.bytesPerSecond ?? null,
  };
}

import type { Clock } from "../../src/system/clock.ts";

/** A clock that stands still until a test moves it. */
export class FakeClock implements Clock {
  wall = Date.UTC(2026, 10, 21);
  monotonic = 1000;

  readonly wallMs = (): number => this.wall;
  readonly wallNs = (): bigint => BigInt(this.wall) * 1_000_000n;
  readonly monotonicMs = (): number => this.monotonic;

  /** Time goes by on both clocks. */
  pass(ms: number): void {
    this.wall += ms;
    this.monotonic += ms;
  }
}

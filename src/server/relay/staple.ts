/** Two connections that belong together, and what has gone through. */
export class Staple<C> {
  /** The one that was parked, and the one that came for it. */
  readonly callers: readonly [parked: C, arrived: C];
  /** Bytes that one has sent and the other one's socket has taken, both directions together. */
  bytes = 0;

  constructor(parked: C, arrived: C) {
    this.callers = [parked, arrived];
  }
}

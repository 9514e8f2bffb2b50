/**
 * One lane to the decryption: a whole number of packets per slice of time and, when more come, a fair draw.
 *
 * ```
 *   slice 1              slice 2              slice 3               A = allowance
 *   |A at once, the rest |nothing at once, all|1 was drawn, so      |
 *   |become candidates   |become candidates   |A - 1 at once        |
 *   +--------------------+--------------------+---------------------+
 *                        ^ A drawn            ^ drawn: here 1 came in slice 2, the flood is over
 * ```
 *
 * First come, first served would be the tempting rule. But a flooder is always first: he would have spent every
 * slice before the one genuine packet arrives. In a draw each candidate has the same chance, so a knock that is
 * repeated gets through; and what opens at once takes no place from those who are drawn.
 */

const ROUNDING_MS = 0.001;

/** What a lane may let through: a whole number of packets per slice, and the slice's length. */
export interface LaneAllowance {
  readonly perSlice: number;
  readonly sliceMs: number;
}

/** What became of an arrival; "replaced" means it is held in the place of another one, which is dropped. */
export type LaneVerdict = "open" | "held" | "replaced" | "dropped";

/**
 * Of what is let through, at once or drawn at the slice's start, never more than the allowance falls into one
 * slice. Slices lie on a grid that all lanes share, so lanes come due in the order in which they began to hold.
 */
export class DecryptLane<T> {
  #endMs = -Infinity;
  #opened = 0;
  #candidates = 0;
  #held: T[] = [];

  /** Number of items that wait for the draw. */
  get heldCount(): number {
    return this.#held.length;
  }

  /** When the slice ends; what is held is due then. */
  get endMs(): number {
    return this.#endMs;
  }

  /**
   * Takes an arrival; `makeItem` is called only if it is held. A slice whose held items nobody collected goes on
   * with all arrivals competing for the same places: a late caller can neither pile items up nor overspend.
   */
  admit(makeItem: () => T, allowance: LaneAllowance, nowMs: number, random: () => number): LaneVerdict {
    if (nowMs >= this.#endMs && this.#held.length === 0) {
      this.#begin(allowance, nowMs, 0);
    }
    if (this.#opened < allowance.perSlice) {
      this.#opened++;
      return "open";
    }
    // Reservoir sampling (Vitter's algorithm R): after n candidates each is held with chance perSlice / n.
    this.#candidates++;
    if (this.#held.length < allowance.perSlice) {
      this.#held.push(makeItem());
      return "held";
    }
    const place = Math.floor(random() * this.#candidates);
    if (place >= this.#held.length) {
      return "dropped";
    }
    this.#held[place] = makeItem();
    return "replaced";
  }

  /** Ends the slice and gives the items drawn in it, which count against the slice that begins now. */
  draw(allowance: LaneAllowance, nowMs: number): T[] {
    const drawn = this.#held;
    this.#held = [];
    this.#begin(allowance, nowMs, drawn.length);
    return drawn;
  }

  #begin(allowance: LaneAllowance, nowMs: number, opened: number): void {
    // A slice's end, multiplied and divided again, may come out a hair below itself and begin the slice anew.
    const slice = Math.floor((nowMs + ROUNDING_MS) / allowance.sliceMs);
    this.#endMs = (slice + 1) * allowance.sliceMs;
    this.#opened = opened;
    this.#candidates = 0;
  }
}

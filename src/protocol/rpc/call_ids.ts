/**
 * Ids of the calls that one side begins: the dialler's are 1, 3, 5, ..., the listener's 2, 4, 6, ..., modulo 2^32.
 * 0 is none: the listener's wrap from 0xfffffffe to 2.
 */
const STEP = 2;
/** Further ahead of the last id than this is no new id but an old one. */
const MAX_AHEAD = 2 ** 30;

/** Which side begins the calls. */
export type Role = "dialler" | "listener";

/** The id after `id`. */
export function nextCallId(id: number): number {
  const next = (id + STEP) >>> 0;
  return next === 0 ? STEP : next;
}

/** Where the ids of a side begin: the id before its first. */
export function beforeFirstCallId(role: Role): number {
  return role === "dialler" ? 0xffff_ffff : 0;
}

/** What is known of one side's ids; it answers what a frame with an id can be. */
export class CallIds {
  #last: number;
  readonly #oddness: number;
  /** How far the ids have gone, to tell "long ago" from "never". */
  #covered = 0;

  /** None used yet. */
  constructor(role: Role, last: number = beforeFirstCallId(role)) {
    this.#last = last;
    this.#oddness = role === "dialler" ? 1 : 0;
  }

  /** Uses the next id that is not `taken`. */
  next(taken: { has(id: number): boolean }): number {
    let id = nextCallId(this.#last);
    while (taken.has(id)) {
      id = nextCallId(id);
    }
    this.use(id);
    return id;
  }

  /** Notes that an id was used; false if it cannot be a new one. */
  use(id: number): boolean {
    const ahead = (id - this.#last) >>> 0;
    if (!this.owns(id) || ahead === 0 || ahead > MAX_AHEAD) {
      return false;
    }
    this.#last = id;
    this.#covered = Math.min(this.#covered + ahead, MAX_AHEAD * 2);
    return true;
  }

  /** Whether the id is one of this side's at all. */
  owns(id: number): boolean {
    return id !== 0 && (id & 1) === this.#oddness;
  }

  /** Whether a call with this id may have been open before. */
  wasUsed(id: number): boolean {
    return this.owns(id) && ((this.#last - id) >>> 0) < this.#covered;
  }
}

import type { RoomLimits } from "./limits.ts";
import { NetworkShares } from "./network_shares.ts";
import type { Located, RoomRefusal } from "./room.ts";
import type { Staple } from "./staple.ts";

/** How far a staple was when it was last looked at, and since when. */
interface Seen {
  bytes: number;
  sinceMs: number;
}

/**
 * The staples there are. Idle is one whose count of bytes has not changed from one look to another: whoever copies only
 * counts, and pays for no clock.
 */
export class StapleRoom<C extends Located> {
  readonly #limits: RoomLimits;
  /** A staple counts once for each network it has an end in. */
  readonly #shares = new NetworkShares();
  readonly #seen = new Map<Staple<C>, Seen>();
  /** Of staples that are over. */
  #bytesBefore = 0;

  constructor(limits: RoomLimits) {
    this.#limits = limits;
  }

  /** How many there are. */
  get size(): number {
    return this.#seen.size;
  }

  /** Bytes through all staples, also those that are over. */
  get bytes(): number {
    let sum = this.#bytesBefore;
    for (const { bytes } of this.#seen.keys()) sum += bytes;
    return sum;
  }

  /** All of them. */
  members(): IterableIterator<Staple<C>> {
    return this.#seen.keys();
  }

  /** Takes one more, or says why not. */
  enter(staple: Staple<C>, nowMs: number): RoomRefusal | null {
    if (this.size >= this.#limits.max) return "full";
    const networks = networksOf(staple);
    if (networks.some((each) => this.#shares.of(each) >= this.#limits.maxPerNetwork)) return "share";
    for (const network of networks) this.#shares.take(network);
    this.#seen.set(staple, { bytes: 0, sinceMs: nowMs });
    return null;
  }

  /** One is over. Does nothing for one that left before. */
  leave(staple: Staple<C>): void {
    if (!this.#seen.delete(staple)) return;
    for (const network of networksOf(staple)) this.#shares.giveBack(network);
    this.#bytesBefore += staple.bytes;
  }

  /** Sends away every one in which no byte has moved for too long. */
  expire(nowMs: number): Staple<C>[] {
    const due: Staple<C>[] = [];
    for (const [staple, seen] of this.#seen) {
      if (staple.bytes !== seen.bytes) {
        seen.bytes = staple.bytes;
        seen.sinceMs = nowMs;
      } else if (nowMs - seen.sinceMs >= this.#limits.timeMs) {
        due.push(staple);
      }
    }
    for (const staple of due) this.leave(staple);
    return due;
  }
}

function networksOf<C extends Located>({ callers }: Staple<C>): string[] {
  return [...new Set(callers.map(({ network }) => network))];
}

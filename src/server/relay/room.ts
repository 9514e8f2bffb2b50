import type { RoomLimits } from "./limits.ts";
import { NetworkShares } from "./network_shares.ts";

/** Somebody of whom only the network is known. */
export interface Located {
  /** As `ipNetwork` names it: `192.0.2.7/32`, `2001:db8::/64`. */
  readonly network: string;
}

/** Why there is no place: the room is full, or the part of it that one network may have. */
export type RoomRefusal = "full" | "share";

/** A place where connections wait, each as long as every other, so that who came first is also due first. */
export class Room<C extends Located> {
  readonly #limits: RoomLimits;
  readonly #shares = new NetworkShares();
  /** When each came, by the monotonic clock in milliseconds; in that order. */
  readonly #cameAtMs = new Map<C, number>();

  constructor(limits: RoomLimits) {
    this.#limits = limits;
  }

  /** How many wait. */
  get size(): number {
    return this.#cameAtMs.size;
  }

  /** Who waits, the longest waiting first. */
  members(): IterableIterator<C> {
    return this.#cameAtMs.keys();
  }

  /** Lets somebody in, or says why not. */
  enter(member: C, nowMs: number): RoomRefusal | null {
    if (this.size >= this.#limits.max) return "full";
    if (this.#shares.of(member.network) >= this.#limits.maxPerNetwork) return "share";
    this.#shares.take(member.network);
    this.#cameAtMs.set(member, nowMs);
    return null;
  }

  /** Does nothing for one that is not here. */
  leave(member: C): void {
    if (this.#cameAtMs.delete(member)) this.#shares.giveBack(member.network);
  }

  /** Sends away everybody whose time is over. */
  expire(nowMs: number): C[] {
    const due: C[] = [];
    for (const [member, cameAtMs] of this.#cameAtMs) {
      if (nowMs - cameAtMs < this.#limits.timeMs) break;
      due.push(member);
    }
    for (const member of due) this.leave(member);
    return due;
  }
}

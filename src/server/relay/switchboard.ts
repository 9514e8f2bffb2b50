/**
 * What a relay decides, apart from sockets and clocks: who may wait, who belongs together, and whose time is over.
 *
 * ```
 *   accepted --> arriving --- its identifier ---+--- nobody has it ----> parked
 *                   |                           |                          |
 *                   |                           +--- somebody parked ------+--> stapled
 *                   v                           v    has it                v        v
 *             no place, first-bytes time     no place          hung up, park time   ended, idle time
 * ```
 *
 * An identifier is a text that is compared and forgotten: once two are stapled, whoever comes with it next is parked like
 * anybody, so a stranger who learnt it can disturb nobody who already talks.
 */
import type { RelayLimits } from "./limits.ts";
import { type Located, Room, type RoomRefusal } from "./room.ts";
import { Staple } from "./staple.ts";
import { StapleRoom } from "./staple_room.ts";

/** In which room there was no place, and why. */
export type Refusal = `${"arriving" | "parked" | "staples"}_${RoomRefusal}`;

/** Every refusal, in the order of a connection's way. */
export const REFUSALS: readonly Refusal[] = [
  ...["arriving_full", "arriving_share", "parked_full", "parked_share"] as const,
  ...["staples_full", "staples_share"] as const,
];

/** What became of a connection that said its identifier. */
export type Outcome<C extends Located> =
  | { readonly kind: "parked" }
  | { readonly kind: "stapled"; readonly staple: Staple<C> }
  | { readonly kind: "refused"; readonly reason: Refusal };

/** Whose time was over; they are forgotten already, and what is left is to close them. */
export interface Expired<C extends Located> {
  /** Connections that did not say their identifier, or that nobody came for. */
  readonly callers: readonly C[];
  /** Pairs in which no byte moved. */
  readonly staples: readonly Staple<C>[];
}

/** Counts since the start; see `status.ts`. */
export interface SwitchboardCounts {
  /** Connections that were let in. */
  readonly admitted: number;
  readonly parkedTotal: number;
  readonly stapledTotal: number;
  readonly refused: Readonly<Record<Refusal, number>>;
  /** Connections and staples whose time was over. */
  readonly timedOut: { readonly arriving: number; readonly parked: number; readonly idle: number };
  /** Bytes from one client to another. */
  readonly bytes: number;
}

/** Parks and staples; `C` is what the caller keeps of a connection. */
export class Switchboard<C extends Located> {
  readonly #arriving: Room<C>;
  readonly #parked: Room<C>;
  readonly #staples: StapleRoom<C>;
  readonly #parkedBy = new Map<string, C>();
  readonly #identifierOf = new Map<C, string>();
  readonly #refused = Object.fromEntries(REFUSALS.map((each) => [each, 0])) as Record<Refusal, number>;
  readonly #timedOut = { arriving: 0, parked: 0, idle: 0 };
  #admitted = 0;
  #parkedTotal = 0;
  #stapledTotal = 0;

  constructor({ arriving, parked, staples }: RelayLimits) {
    this.#arriving = new Room(arriving);
    this.#parked = new Room(parked);
    this.#staples = new StapleRoom(staples);
  }

  /** Connections that have not said their identifier. */
  get arriving(): number {
    return this.#arriving.size;
  }

  /** Connections that wait for another one. */
  get parked(): number {
    return this.#parked.size;
  }

  /** Pairs of connections. */
  get staples(): number {
    return this.#staples.size;
  }

  /** What has happened so far. */
  get counts(): SwitchboardCounts {
    return {
      admitted: this.#admitted,
      parkedTotal: this.#parkedTotal,
      stapledTotal: this.#stapledTotal,
      refused: { ...this.#refused },
      timedOut: { ...this.#timedOut },
      bytes: this.#staples.bytes,
    };
  }

  /** Takes in a new connection; the reason if there is no place for it. */
  arrive(caller: C, nowMs: number): Refusal | null {
    const refusal = this.#arriving.enter(caller, nowMs);
    if (refusal !== null) return this.#refuse(`arriving_${refusal}`);
    this.#admitted++;
    return null;
  }

  /** Parks or staples a connection that arrived. Where it is refused, whoever is parked stays parked. */
  identify(caller: C, identifier: string, nowMs: number): Outcome<C> {
    this.#arriving.leave(caller);
    const partner = this.#parkedBy.get(identifier);
    return partner === undefined
      ? this.#park(caller, identifier, nowMs)
      : this.#staple(partner, caller, nowMs);
  }

  #park(caller: C, identifier: string, nowMs: number): Outcome<C> {
    const refusal = this.#parked.enter(caller, nowMs);
    if (refusal !== null) return { kind: "refused", reason: this.#refuse(`parked_${refusal}`) };
    this.#parkedBy.set(identifier, caller);
    this.#identifierOf.set(caller, identifier);
    this.#parkedTotal++;
    return { kind: "parked" };
  }

  #staple(parked: C, arrived: C, nowMs: number): Outcome<C> {
    const staple = new Staple(parked, arrived);
    const refusal = this.#staples.enter(staple, nowMs);
    if (refusal !== null) return { kind: "refused", reason: this.#refuse(`staples_${refusal}`) };
    this.#unpark(parked);
    this.#stapledTotal++;
    return { kind: "stapled", staple };
  }

  /** A connection that is not stapled is gone. Does nothing for one that left before. */
  leave(caller: C): void {
    this.#arriving.leave(caller);
    this.#unpark(caller);
  }

  #unpark(caller: C): void {
    this.#parked.leave(caller);
    this.#forget(caller);
  }

  #forget(caller: C): void {
    const identifier = this.#identifierOf.get(caller);
    if (identifier === undefined) return;
    this.#identifierOf.delete(caller);
    this.#parkedBy.delete(identifier);
  }

  /** A staple is over. */
  end(staple: Staple<C>): void {
    this.#staples.leave(staple);
  }

  /** Forgets everybody whose time is over, and says who that is. To be called again and again. */
  expire(nowMs: number): Expired<C> {
    const arriving = this.#arriving.expire(nowMs);
    const parked = this.#parked.expire(nowMs);
    for (const caller of parked) this.#forget(caller);
    const staples = this.#staples.expire(nowMs);
    this.#timedOut.arriving += arriving.length;
    this.#timedOut.parked += parked.length;
    this.#timedOut.idle += staples.length;
    return { callers: [...arriving, ...parked], staples };
  }

  /** Everybody, for the end. */
  everybody(): C[] {
    const stapled = [...this.#staples.members()].flatMap(({ callers }) => callers);
    return [...this.#arriving.members(), ...this.#parked.members(), ...stapled];
  }

  #refuse(reason: Refusal): Refusal {
    this.#refused[reason]++;
    return reason;
  }
}

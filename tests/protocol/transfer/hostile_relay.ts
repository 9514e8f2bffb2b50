/**
 * A relay that does what it likes, by dice: for a number of acts, after which it is honest. What it can do to a
 * connection it does at random places, which the seed repeats.
 */
import { generateCode } from "../../../src/protocol/transfer/code.ts";
import { pair, type Rendezvous } from "../../../src/protocol/transfer/pairing.ts";
import { memoryPair } from "../../../src/protocol/transport/memory.ts";
import { type MemoryRelay, refused, RelayEnd, type RelayPolicy, type Wire } from "./memory_relay.ts";
import type { Dice, RelayClock } from "./memory_relay_clock.ts";

/** What is done to a whole connection. */
export const CONNECTION_ACTS = [
  "refuse",
  "hang",
  "full",
  "late full",
  "never",
  "mirror",
  "ghost",
  "stranger",
  "replay",
  "cross",
] as const;
/** What is done to the bytes of one direction of two that were brought together. */
export const WIRE_ACTS = ["cut", "end", "delay", "drop", "double", "reorder", "flip", "swap"] as const;

/** One thing that it does. */
export type Act = (typeof CONNECTION_ACTS)[number] | (typeof WIRE_ACTS)[number];

/** Those that change nothing of what arrives, but when and whether. */
export const CUTTING_ACTS: readonly Act[] = [
  "refuse",
  "hang",
  "full",
  "late full",
  "never",
  "mirror",
  "ghost",
  "cut",
  "end",
  "delay",
];

/** Everything is over within this, with all that both sides have said to each other. */
const MAX_PLACE_BYTES = 3_000;
/** Identifier, hello and confirmations lie here: most of what matters happens in it. */
const PAIRING_BYTES = 120;
const MAX_RUN_BYTES = 80;

/** What the relay is given. */
export interface HostileParts {
  readonly dice: Dice;
  readonly clock: RelayClock;
  /** The one it belongs to. */
  readonly relay: MemoryRelay;
  /** What it may do; what is named twice, twice as often. */
  readonly acts: readonly Act[];
  /** How often. */
  readonly times: number;
  /** In one of so many chances. @default 2 */
  readonly oneIn?: number;
  /** What it knows, as everybody who has seen the first connection: number, and no words. */
  readonly nameplate: string;
}

/** The policy. */
export class HostileRelay implements RelayPolicy {
  readonly #parts: HostileParts;
  #left: number;
  /** What it did. */
  readonly done: Act[] = [];
  /** Connections of before, by who made them. */
  readonly #before = new Map<string, RelayEnd[]>();
  /** Strangers that a side took for the right one: never. */
  strangersPaired = 0;
  /** Strangers that were shown a confirmation, from which they can tell whether their guess was right. */
  strangersShown = 0;
  /** Strangers that are still trying. */
  readonly #strangers = new Set<Promise<void>>();

  constructor(parts: HostileParts) {
    this.#parts = parts;
    this.#left = parts.times;
  }

  /** Settles when no stranger tries any more. */
  async idle(): Promise<void> {
    await Promise.all(this.#strangers);
  }

  async dialled(_who: string, signal: AbortSignal): Promise<void> {
    const act = this.#draw(["refuse", "hang"]);
    if (act === "refuse") throw refused();
    if (act !== "hang") return;
    await new Promise<void>((_, reject) => {
      signal.addEventListener("abort", () => reject(signal.reason), { once: true });
    });
  }

  arrived(end: RelayEnd): boolean {
    const before = this.#before.get(end.who) ?? [];
    this.#before.set(end.who, [...before, end]);
    const act = this.#draw(["full", "late full", "never", "mirror", "ghost", "stranger", "replay", "cross"]);
    if (act === null) return false;
    if (act === "cross") return this.#cross(end);
    this.#misplace(act, end, before);
    return true;
  }

  wires(parked: RelayEnd, end: RelayEnd): { toParked: Wire; toEnd: Wire } {
    const cut = (): void => {
      parked.connection.close();
      end.connection.close();
    };
    return {
      toParked: this.#wire(parked.wire, end.wire, cut),
      toEnd: this.#wire(end.wire, parked.wire, cut),
    };
  }

  #misplace(act: Act, end: RelayEnd, before: readonly RelayEnd[]): void {
    const { clock, dice } = this.#parts;
    switch (act) {
      case "full":
        return end.connection.close();
      case "late full":
        return clock.later(dice.below(25_000), () => end.connection.close());
      case "mirror":
        return end.leadTo(end.wire);
      case "ghost":
        return this.#repeat(before, end);
      case "replay":
        return this.#repeat(this.#othersOf(end), end);
      case "stranger":
        return this.#meetStranger(end);
    }
  }

  /** Brings it together with whoever waits for somebody else. */
  #cross(end: RelayEnd): boolean {
    const other = this.#parts.relay.takeParked(({ who }) => who !== end.who);
    if (other !== null) this.#parts.relay.staple(other, end);
    return other !== null;
  }

  /** Whatever anybody else has said on a connection of the same kind. */
  #othersOf({ who, identifier }: RelayEnd): RelayEnd[] {
    return [...this.#before].filter(([other]) => other !== who).flatMap(([, ends]) => ends)
      .filter((each) => each.identifier === identifier);
  }

  /** Says again what was said on one of those, or nothing if there was none. */
  #repeat(ends: readonly RelayEnd[], to: RelayEnd): void {
    const from = ends[this.#parts.dice.below(ends.length)];
    const repeat = async (): Promise<void> => {
      for (const bytes of from?.said ?? []) await to.connection.write(bytes.slice());
    };
    to.leadTo({ put: () => Promise.resolve(), end: () => Promise.resolve() });
    repeat().catch(() => {});
  }

  /** Somebody who plays the other side and guesses; the relay may cut it wherever that helps. */
  #meetStranger(end: RelayEnd): void {
    const { clock, dice } = this.#parts;
    const [connection, far] = memoryPair();
    const strangerEnd = new RelayEnd(0, "stranger", far);
    this.#parts.relay.staple(end, strangerEnd);
    strangerEnd.pump().catch(() => far.close());
    const role = end.who.startsWith("sender") ? "receiver" : "sender";
    const shown = (): void => void (this.strangersShown += role === "sender" ? 1 : 0);
    const trial = pair(connection, {
      role,
      instance: dice.bytes(16),
      rendezvous: this.#guess(end.identifier),
      sendIdentifier: false,
      // A sender is about to look at a confirmation when it writes down that it was guessed with.
      memory: { spend: () => Promise.resolve(shown()), proven: () => Promise.resolve() },
      timers: clock,
      random: dice.bytes,
    }).then(() => void this.strangersPaired++, () => {}).finally(() => {
      connection.close();
      far.close();
      this.#strangers.delete(trial);
    });
    this.#strangers.add(trial);
  }

  #guess(identifier: string): Rendezvous {
    const { dice, nameplate } = this.#parts;
    if (identifier.startsWith("02")) return { kind: "resume", secret: dice.bytes(32) };
    const { words } = generateCode(dice.bytes);
    return { kind: "code", code: { nameplate, words, text: [nameplate, ...words].join("-") } };
  }

  #wire(wire: Wire, back: Wire, cut: () => void): Wire {
    const act = this.#draw(WIRE_ACTS);
    if (act === null) return wire;
    const { dice, clock } = this.#parts;
    const place = dice.below(dice.below(2) === 0 ? PAIRING_BYTES : MAX_PLACE_BYTES);
    const count = 1 + dice.below(MAX_RUN_BYTES);
    return new FaultyWire(wire, { act, place, count, delayMs: dice.below(20_000), back, cut, clock });
  }

  /** One of those that are allowed and possible here; null: nothing this time. */
  #draw(possible: readonly Act[]): Act | null {
    const { dice, acts, oneIn = 2 } = this.#parts;
    const allowed = acts.filter((act) => possible.includes(act));
    const [first] = allowed;
    if (first === undefined || this.#left === 0 || dice.below(oneIn) > 0) return null;
    this.#left--;
    const act = dice.of([first, ...allowed.slice(1)]);
    this.done.push(act);
    return act;
  }
}

interface Fault {
  readonly act: Act;
  /** Byte of the direction at which it happens. */
  readonly place: number;
  /** How many bytes it happens to. */
  readonly count: number;
  readonly delayMs: number;
  /** To where the bytes come from. */
  readonly back: Wire;
  readonly cut: () => void;
  readonly clock: RelayClock;
}

/** A direction to which one thing happens. */
class FaultyWire implements Wire {
  readonly #wire: Wire;
  readonly #fault: Fault;
  #at = 0;
  #held: Uint8Array<ArrayBuffer>[] = [];
  #isOver = false;

  constructor(wire: Wire, fault: Fault) {
    this.#wire = wire;
    this.#fault = fault;
  }

  async put(bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    const { place, count, act } = this.#fault;
    const from = this.#at;
    this.#at += bytes.length;
    const part = (first: number, last: number): Uint8Array<ArrayBuffer> =>
      bytes.slice(Math.max(0, first - from), Math.max(0, last - from));
    await this.#pass(part(0, place));
    const hit = part(place, place + count);
    if (hit.length > 0) await this.#meddle(hit);
    const rest = part(place + count, Infinity);
    await this.#pass(rest);
    if (act === "reorder" && rest.length > 0) await this.#release();
  }

  async end(): Promise<void> {
    await this.#release();
    if (!this.#isOver) await this.#wire.end();
  }

  async #meddle(bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    const { act, back, cut, clock, delayMs } = this.#fault;
    switch (act) {
      case "swap":
        return await back.put(bytes);
      case "cut":
        this.#isOver = true;
        return cut();
      case "end":
        if (!this.#isOver) await this.#wire.end();
        this.#isOver = true;
        return;
      case "delay":
        await clock.pause(delayMs);
        return await this.#pass(bytes);
      case "drop":
        return;
      case "double":
        await this.#pass(bytes);
        return await this.#pass(bytes);
      case "reorder":
        this.#held.push(bytes);
        return;
      default:
        bytes[0] = (bytes[0] ?? 0) ^ (1 << (delayMs % 8));
        return await this.#pass(bytes);
    }
  }

  async #release(): Promise<void> {
    for (const bytes of this.#held.splice(0)) await this.#pass(bytes);
  }

  async #pass(bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    if (bytes.length > 0 && !this.#isOver) await this.#wire.put(bytes);
  }
}

/**
 * The judge: decides what becomes of one datagram. No I/O; clock and randomness are parameters.
 *
 * ```
 *   length = 94 -> key id known -> decrypt budget -> decrypt -> version
 *     -> counter above the floor -> not beyond now + skew -> not too old -> destination -> strict source
 *     => SPEND: the floor in memory becomes the counter
 *     -> the key may run this command -> rates -> (commit the floor -> forward: the intake's part)
 * ```
 *
 * Above the double arrow a refused packet can still be used; below it is used up whatever happens to it. Spending
 * earlier would be the tempting order, one place for all: whoever records a genuine packet could then kill it by
 * racing it from elsewhere, since it would be spent on the failing source check. Spending later would be worse: a
 * knock refused for its rate could be replayed later by whoever recorded it, from his own address.
 */
import { parseIp, tryParseIp } from "../../protocol/knock/address.ts";
import type { IpAddress } from "../../protocol/knock/address.ts";
import { formatCommandHash } from "../../protocol/knock/command_hash.ts";
import { DecryptBudget } from "../../protocol/knock/decrypt_budget.ts";
import type { ForwardMessage } from "../../protocol/knock/forward_message.ts";
import type { Key } from "../../protocol/knock/key.ts";
import { decodePacket, PACKET_BYTES, PacketError } from "../../protocol/knock/packet.ts";
import type { KnockFields } from "../../protocol/knock/packet.ts";
import { RequestRates } from "../../protocol/knock/rates.ts";
import type { RateLimits, RateRefusal } from "../../protocol/knock/rates.ts";
import type { ReplayFloors } from "../../protocol/knock/replay.ts";
import type { Clock } from "../../system/clock.ts";
import { type RefusalFacts, shortList } from "./refusal_facts.ts";
import type { SpentReason, UnspentReason } from "./refusal.ts";

/** One key in force, with what it may do. */
export interface JudgeKey {
  readonly stem: string;
  readonly key: Key;
  /** Hashes of the commands it may run; null is every command. */
  readonly allow: ReadonlySet<bigint> | null;
  /** 0 is no limit. */
  readonly maxPacketAgeNs: bigint;
  /** Unix time in ms from which on the key is unknown; null is never. */
  readonly notAfterMs: number | null;
}

/** What a reload replaces. */
export interface JudgePolicy {
  readonly keys: readonly JudgeKey[];
  readonly ips: ReadonlySet<IpAddress>;
  readonly maxClockSkewNs: bigint;
  readonly rates: RateLimits;
}

/** Not a command, and nothing was used up. `peer` is the address as the socket gave it. */
export interface Refused {
  readonly kind: "refused";
  readonly reason: UnspentReason;
  readonly peer: string;
  /** Only of what is authentic; of a stranger's packet nobody is told more than the reason. */
  readonly facts?: RefusalFacts;
}

/** Kept for the next draw: see `drawHeld`. */
export interface Held {
  readonly kind: "held";
}

/** Authentic, fresh and used up. It may run, once its floor is durable, if `refusal` is null. */
export interface Spent {
  readonly kind: "spent";
  readonly refusal: SpentReason | null;
  /** The key's file stem. */
  readonly key: string;
  readonly message: ForwardMessage;
  readonly counter: bigint;
  readonly peer: IpAddress;
  /** What a refusal was decided by. */
  readonly facts?: RefusalFacts;
}

export type Verdict = Refused | Held | Spent;

export interface JudgeOptions {
  readonly floors: ReplayFloors;
  readonly clock: Clock;
  /** Numbers in [0, 1) that a stranger cannot foresee: they decide who is drawn under a flood. */
  readonly random: () => number;
  /** @default the budget's own 4000 */
  readonly decryptsPerSecond?: number;
}

interface HeldPacket {
  readonly packet: Uint8Array;
  readonly keyId: bigint;
  readonly peer: string;
}

const HELD: Held = { kind: "held" };
const NS_PER_SECOND = 1_000_000_000n;
/** Where a peer is counted whose address cannot be read: among the strangers, and never forwarded. */
const UNREADABLE_PEER = parseIp("::");

export class Judge {
  readonly #floors: ReplayFloors;
  readonly #clock: Clock;
  readonly #budget: DecryptBudget<HeldPacket>;
  readonly #rates: RequestRates;
  #keys = new Map<bigint, JudgeKey>();
  #policy: JudgePolicy;
  #view: DataView = new DataView(new ArrayBuffer(PACKET_BYTES));

  constructor(policy: JudgePolicy, options: JudgeOptions) {
    this.#floors = options.floors;
    this.#clock = options.clock;
    this.#budget = new DecryptBudget<HeldPacket>({
      random: options.random,
      ...(options.decryptsPerSecond === undefined ? {} : { totalPerSecond: options.decryptsPerSecond }),
    });
    this.#rates = new RequestRates(policy.rates);
    this.#policy = policy;
    this.setPolicy(policy);
  }

  /** Replaces keys, addresses and limits; rates of the last second and known networks are kept. */
  setPolicy(policy: JudgePolicy): void {
    this.#policy = policy;
    this.#keys = new Map(policy.keys.map((key) => [key.key.id, key]));
    this.#rates.setLimits(policy.rates);
    this.#budget.setKeys(this.#keys.keys());
  }

  get policy(): JudgePolicy {
    return this.#policy;
  }

  /** Packets that were held and lost their place to a later arrival; they are refused for `decrypt_budget`. */
  get displacedCount(): number {
    return this.#budget.droppedCount;
  }

  /**
   * Judges a datagram. `peer` is the sender's address as text; one that is no IP address is refused like a wrong
   * source. The datagram's bytes are copied if they are needed after the call.
   *
   * The first two checks are all that a flood of garbage costs: no allocation but the verdict.
   */
  receive(datagram: Uint8Array, peer: string): Verdict {
    if (datagram.length !== PACKET_BYTES) return { kind: "refused", reason: "length", peer };
    const keyId = this.#keyIdOf(datagram);
    const known = this.#keys.get(keyId);
    if (known === undefined || this.#isExpired(known)) {
      return { kind: "refused", reason: "unknown_key", peer };
    }
    const peerIp = tryParseIp(peer);
    const admission = this.#budget.admit(
      keyId,
      peerIp ?? UNREADABLE_PEER,
      () => ({ packet: datagram.slice(), keyId, peer }),
      this.#clock.monotonicMs(),
    );
    if (admission === "held") return HELD;
    if (admission === "dropped") return { kind: "refused", reason: "decrypt_budget", peer };
    return this.#open(known, datagram, peer, peerIp);
  }

  /** When `drawHeld` will have something, by the monotonic clock; null while nothing is held. */
  nextDrawMs(): number | null {
    return this.#budget.nextDueMs();
  }

  /** Judges the held packets whose draw is due. */
  drawHeld(): Verdict[] {
    return this.#budget.due(this.#clock.monotonicMs()).map(({ packet, keyId, peer }) => {
      // A reload may have taken the key away while the packet waited.
      const known = this.#keys.get(keyId);
      if (known === undefined || this.#isExpired(known)) {
        return { kind: "refused", reason: "unknown_key", peer };
      }
      return this.#open(known, packet, peer, tryParseIp(peer));
    });
  }

  /** `packetKeyId` without its view for each packet: the listener hands in the same buffer again and again. */
  #keyIdOf(datagram: Uint8Array): bigint {
    const view = this.#view;
    if (view.buffer !== datagram.buffer || view.byteOffset !== datagram.byteOffset) {
      this.#view = new DataView(datagram.buffer, datagram.byteOffset);
    }
    return this.#view.getBigUint64(0);
  }

  #isExpired(key: JudgeKey): boolean {
    return key.notAfterMs !== null && this.#clock.wallMs() > key.notAfterMs;
  }

  #open(known: JudgeKey, packet: Uint8Array, peer: string, peerIp: IpAddress | null): Verdict {
    let fields: KnockFields;
    try {
      fields = decodePacket(known.key, packet);
    } catch (error) {
      if (!(error instanceof PacketError)) throw error;
      const reason = error.refusal === "key_id" ? "unknown_key" : error.refusal;
      // The version is looked at behind the tag.
      if (reason !== "version") return { kind: "refused", reason, peer };
      return { kind: "refused", reason, peer, facts: { key: known.stem, error: error.message } };
    }
    const problem = this.#unspentProblem(known, fields, peerIp);
    if (problem !== null) {
      const [reason, values] = problem;
      return { kind: "refused", reason, peer, facts: { ...packetFacts(known, fields), ...values } };
    }
    // Part of the source check: whoever cannot be named can neither be compared with nor forwarded.
    if (peerIp === null) {
      return { kind: "refused", reason: "source", peer, facts: packetFacts(known, fields) };
    }
    return this.#spend(known, fields, peerIp);
  }

  /** What keeps the packet from being spent, with what was found and what is accepted. */
  #unspentProblem(
    known: JudgeKey,
    fields: KnockFields,
    peer: IpAddress | null,
  ): [UnspentReason, RefusalFacts] | null {
    const { counter, destinationIp, sourceIp } = fields;
    const verdict = this.#floors.check(known.key.id, counter);
    if (verdict === "no_floor") return [verdict, {}];
    if (verdict === "replayed") return [verdict, { floor: this.#floors.get(known.key.id) ?? 0n }];
    const aheadNs = counter - this.#clock.wallNs();
    const { maxClockSkewNs, ips } = this.#policy;
    if (aheadNs > maxClockSkewNs) {
      return ["beyond_skew", {
        skew_seconds: inSeconds(aheadNs),
        max_skew_seconds: inSeconds(maxClockSkewNs),
      }];
    }
    const { maxPacketAgeNs } = known;
    if (maxPacketAgeNs > 0n && -aheadNs > maxPacketAgeNs) {
      return ["too_old", { age_seconds: inSeconds(-aheadNs), max_age_seconds: inSeconds(maxPacketAgeNs) }];
    }
    if (!ips.has(destinationIp)) return ["destination", { destination: destinationIp, ips: shortList(ips) }];
    // A strict packet without a source address names none to compare with, and passes as in ruroco.
    if (fields.strict && sourceIp !== null && sourceIp !== peer) return ["source", { source: sourceIp }];
    return null;
  }

  #spend(known: JudgeKey, fields: KnockFields, peer: IpAddress): Spent {
    const nowMs = this.#clock.monotonicMs();
    this.#floors.raise(known.key.id, fields.counter);
    this.#budget.authenticated(known.key.id, peer, nowMs);
    const refusal = this.#spentRefusal(known, fields.commandHash, peer, nowMs);
    return {
      kind: "spent",
      refusal,
      key: known.stem,
      message: { commandHash: fields.commandHash, ip: fields.sourceIp ?? peer },
      counter: fields.counter,
      peer,
      ...(refusal === null ? {} : { facts: this.#spentFacts(refusal, known) }),
    };
  }

  #spentRefusal(
    known: JudgeKey,
    commandHash: bigint,
    peer: IpAddress,
    nowMs: number,
  ): "command_not_allowed" | RateRefusal | null {
    if (known.allow !== null && !known.allow.has(commandHash)) return "command_not_allowed";
    return this.#rates.admit(peer, known.key.id, nowMs);
  }

  #spentFacts(refusal: "command_not_allowed" | RateRefusal, known: JudgeKey): RefusalFacts {
    const { perPeer, perKey, global } = this.#policy.rates;
    switch (refusal) {
      case "command_not_allowed":
        return { allowed: shortList([...known.allow ?? []].map((hash) => `#${formatCommandHash(hash)}`)) };
      case "peer_rate":
        return { max_per_second: perPeer };
      case "key_rate":
        return { max_per_second: perKey };
      case "global_rate":
        return { max_per_second: global };
    }
  }
}

function packetFacts(known: JudgeKey, fields: KnockFields): RefusalFacts {
  return {
    key: known.stem,
    command: `#${formatCommandHash(fields.commandHash)}`,
    counter: fields.counter,
  };
}

/** Whole seconds, towards zero. */
function inSeconds(ns: bigint): number {
  return Number(ns / NS_PER_SECOND);
}

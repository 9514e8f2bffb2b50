/**
 * Request rates over AUTHENTICATED packets, each limit in a rolling window of one second.
 *
 * Counting before authentication would be the tempting place, being cheaper; but then whoever forges a victim's
 * source address uses up the victim's allowance. For the same reason a peer address is counted for each key by
 * itself: the holder of one key can send from, or forge, the address of another's holder, and each packet that this
 * refused would be spent.
 */
import type { IpAddress } from "./address.ts";

const WINDOW_MS = 1000;
const COMPACT_AT = 64;

/** How many packets each may bring in any second; whole numbers, 0 refuses all. */
export interface RateLimits {
  /** For one peer address with one key. */
  readonly perPeer: number;
  /** For one key from all its peers. */
  readonly perKey: number;
  readonly global: number;
}

/** The limit that a packet is over. */
export type RateRefusal = "peer_rate" | "key_rate" | "global_rate";

interface Admission {
  readonly atMs: number;
  readonly pair: string;
  readonly keyId: bigint;
}

/**
 * The admissions of the last second. Refused packets are not remembered, so memory is bounded by the global limit
 * and who keeps asking is served again as soon as its window allows.
 */
export class RequestRates {
  #limits: RateLimits;
  #admissions: Admission[] = []; // oldest first; those before #oldest have left the window
  #oldest = 0;
  #perPair = new Map<string, number>();
  #perKey = new Map<bigint, number>();

  constructor(limits: RateLimits) {
    this.#limits = limits;
  }

  /** Replaces the limits; what was admitted in the last second counts against the new ones. */
  setLimits(limits: RateLimits): void {
    this.#limits = limits;
  }

  /** Number of pairs of key and peer in the last second's admissions, as of the last call of `admit`. */
  get trackedPairs(): number {
    return this.#perPair.size;
  }

  /**
   * Admits a packet (null) and counts it, or names the first limit that it is over and counts nothing.
   * `nowMs` comes from a clock that does not go back.
   */
  admit(peer: IpAddress, keyId: bigint, nowMs: number): null | RateRefusal {
    this.#forgetUntil(nowMs - WINDOW_MS);
    const pair = `${keyId} ${peer}`;
    const ofPair = this.#perPair.get(pair) ?? 0;
    const ofKey = this.#perKey.get(keyId) ?? 0;
    if (ofPair >= this.#limits.perPeer) {
      return "peer_rate";
    }
    if (ofKey >= this.#limits.perKey) {
      return "key_rate";
    }
    if (this.#admissions.length - this.#oldest >= this.#limits.global) {
      return "global_rate";
    }
    this.#admissions.push({ atMs: nowMs, pair, keyId });
    this.#perPair.set(pair, ofPair + 1);
    this.#perKey.set(keyId, ofKey + 1);
    return null;
  }

  #forgetUntil(endMs: number): void {
    for (;;) {
      const admission = this.#admissions[this.#oldest];
      if (admission === undefined || admission.atMs > endMs) {
        break;
      }
      decrement(this.#perPair, admission.pair);
      decrement(this.#perKey, admission.keyId);
      this.#oldest++;
    }
    if (this.#oldest >= COMPACT_AT && this.#oldest * 2 >= this.#admissions.length) {
      this.#admissions.splice(0, this.#oldest);
      this.#oldest = 0;
    }
  }
}

function decrement<K>(counts: Map<K, number>, key: K): void {
  const count = counts.get(key) ?? 0;
  if (count > 1) {
    counts.set(key, count - 1);
  } else {
    counts.delete(key);
  }
}

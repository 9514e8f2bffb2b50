/**
 * Request rates over AUTHENTICATED packets, each limit in a rolling window of one second.
 *
 * Counting before authentication would be the tempting place, being cheaper; but then whoever forges a victim's
 * source address uses up the victim's allowance.
 */
import type { IpAddress } from "./address.ts";

const WINDOW_MS = 1000;
const COMPACT_AT = 64;

/** How many packets each may bring in any second; whole numbers, 0 refuses all. */
export interface RateLimits {
  readonly perPeer: number;
  readonly perKey: number;
  readonly global: number;
}

/** The limit that a packet is over. */
export type RateRefusal = "peer_rate" | "key_rate" | "global_rate";

interface Admission {
  readonly atMs: number;
  readonly peer: IpAddress;
  readonly keyId: bigint;
}

/**
 * The admissions of the last second. Refused packets are not remembered, so memory is bounded by the global limit
 * and a peer that keeps asking is served again as soon as its window allows.
 */
export class RequestRates {
  #limits: RateLimits;
  #admissions: Admission[] = []; // oldest first; those before #oldest have left the window
  #oldest = 0;
  #perPeer = new Map<IpAddress, number>();
  #perKey = new Map<bigint, number>();

  constructor(limits: RateLimits) {
    this.#limits = limits;
  }

  /** Replaces the limits; what was admitted in the last second counts against the new ones. */
  setLimits(limits: RateLimits): void {
    this.#limits = limits;
  }

  /** Number of peers that the last second's admissions came from, as of the last call of `admit`. */
  get trackedPeers(): number {
    return this.#perPeer.size;
  }

  /**
   * Admits a packet (null) and counts it, or names the first limit that it is over and counts nothing.
   * `nowMs` comes from a clock that does not go back.
   */
  admit(peer: IpAddress, keyId: bigint, nowMs: number): null | RateRefusal {
    this.#forgetUntil(nowMs - WINDOW_MS);
    const ofPeer = this.#perPeer.get(peer) ?? 0;
    const ofKey = this.#perKey.get(keyId) ?? 0;
    if (ofPeer >= this.#limits.perPeer) {
      return "peer_rate";
    }
    if (ofKey >= this.#limits.perKey) {
      return "key_rate";
    }
    if (this.#admissions.length - this.#oldest >= this.#limits.global) {
      return "global_rate";
    }
    this.#admissions.push({ atMs: nowMs, peer, keyId });
    this.#perPeer.set(peer, ofPeer + 1);
    this.#perKey.set(keyId, ofKey + 1);
    return null;
  }

  #forgetUntil(endMs: number): void {
    for (;;) {
      const admission = this.#admissions[this.#oldest];
      if (admission === undefined || admission.atMs > endMs) {
        break;
      }
      decrement(this.#perPeer, admission.peer);
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

/**
 * The networks from which one key was used of late: the addresses whose packets are worth opening first.
 */
import { type IpAddress, ipNetwork } from "./address.ts";

const REMEMBERED_MS = 24 * 60 * 60 * 1000;
const MAX_NETWORKS = 256;

/** At most 256 networks (/32, /64), each for 24 hours from its last genuine packet, the longest silent leaving first. */
export class KnownNetworks {
  #lastSeenMs = new Map<string, number>(); // in order of last use, which re-insertion keeps

  /** Number of networks remembered, counting those that expired unnoticed. */
  get size(): number {
    return this.#lastSeenMs.size;
  }

  /** Remembers the peer's network; O(1) amortised. */
  remember(peer: IpAddress, nowMs: number): void {
    const network = ipNetwork(peer);
    this.#lastSeenMs.delete(network);
    this.#lastSeenMs.set(network, nowMs);
    for (const [oldest, seenMs] of this.#lastSeenMs) {
      if (this.#lastSeenMs.size <= MAX_NETWORKS && !isOver(seenMs, nowMs)) {
        break;
      }
      this.#lastSeenMs.delete(oldest);
    }
  }

  /** Whether the peer's network brought a genuine packet within the last 24 hours. */
  has(peer: IpAddress, nowMs: number): boolean {
    if (this.#lastSeenMs.size === 0) {
      return false;
    }
    const seenMs = this.#lastSeenMs.get(ipNetwork(peer));
    return seenMs !== undefined && !isOver(seenMs, nowMs);
  }
}

function isOver(seenMs: number, nowMs: number): boolean {
  return nowMs - seenMs >= REMEMBERED_MS;
}

/**
 * What strangers can cost us. A key id is readable in any sniffed packet, and whoever has one can make us try to
 * open as many forged packets as he can send, at some 25 us each. So tries are rationed, before the decryption:
 *
 * ```
 *   total per second --+-- key A --+-- known:    networks that authenticated with A in the last 24 h
 *                      |           +-- stranger: all others
 *                      +-- key B --+-- known
 *                      |           +-- stranger
 *                      ...
 * ```
 *
 * Each key has its own share, so a flood with one key's id changes nothing for another key; half of it is for
 * networks known to hold the key, so forged addresses take nothing from them. A lane with more arrivals than its
 * share draws at random (see `decrypt_lane.ts`). Lending an idle lane's share to a busy one would be the tempting
 * improvement; it would let the flood decide how much is left for the knock that comes next.
 */
import type { IpAddress } from "./address.ts";
import { DecryptLane, type LaneAllowance } from "./decrypt_lane.ts";
import { KnownNetworks } from "./known_networks.ts";

const DEFAULT_TOTAL_PER_SECOND = 4000; // a tenth of one core
const MIN_PER_KEY_PER_SECOND = 20;
const MAX_PER_KEY_PER_SECOND = 1000;
const LANES_PER_KEY = 2;
const SLICE_MS = 20;

export interface DecryptBudgetOptions {
  /** The keys to share the budget out to; `setKeys` replaces them. Default none. */
  readonly keyIds?: Iterable<bigint>;
  /** Decryptions per second for all keys together, unless their minimum of 20 each is more. Default 4000. */
  readonly totalPerSecond?: number;
  /** Gives numbers in [0, 1) that a stranger cannot foresee. */
  readonly random: () => number;
}

/** What becomes of a packet: open it now, wait for {@link DecryptBudget.due}, or forget it. */
export type DecryptAdmission = "open" | "held" | "dropped";

/** What a lane holds: the caller's item with its place in the order of arrival. */
interface Arrival<T> {
  readonly sequence: number;
  readonly item: T;
}

interface KeyShare<T> {
  readonly known: DecryptLane<Arrival<T>>;
  readonly stranger: DecryptLane<Arrival<T>>;
  readonly networks: KnownNetworks;
}

/**
 * Rations decryptions per key. `T` is what the caller needs to open a packet later. Memory is bounded by keys
 * times (256 networks + 2 allowances of held items); each call is O(1) amortised.
 */
export class DecryptBudget<T> {
  readonly #totalPerSecond: number;
  readonly #random: () => number;
  #allowance: LaneAllowance = laneAllowance(MIN_PER_KEY_PER_SECOND);
  #shares = new Map<bigint, KeyShare<T>>();
  /** Lanes that hold items, by end of slice; only a reload that shortens slices can leave an older, longer one first. */
  #waiting: DecryptLane<Arrival<T>>[] = [];
  #arrivals = 0;
  #droppedCount = 0;

  constructor(options: DecryptBudgetOptions) {
    this.#totalPerSecond = options.totalPerSecond ?? DEFAULT_TOTAL_PER_SECOND;
    this.#random = options.random;
    this.setKeys(options.keyIds ?? []);
  }

  /**
   * Number of items that were held and then dropped, since a later arrival was drawn in their place or their key
   * went away. Arrivals that `admit` answered with "dropped" are not in it.
   */
  get droppedCount(): number {
    return this.#droppedCount;
  }

  /** Replaces the keys. A key that stays keeps its known networks and what it holds. */
  setKeys(keyIds: Iterable<bigint>): void {
    const before = this.#shares;
    this.#shares = new Map();
    for (const keyId of keyIds) {
      this.#shares.set(keyId, before.get(keyId) ?? newShare());
    }
    const fairShare = Math.floor(this.#totalPerSecond / Math.max(1, this.#shares.size));
    this.#allowance = laneAllowance(
      Math.min(Math.max(fairShare, MIN_PER_KEY_PER_SECOND), MAX_PER_KEY_PER_SECOND),
    );
    this.#dropLanesOfOtherKeys();
  }

  /**
   * Takes a packet that claims to be sealed with the given key. `makeItem` is called only if it is held, so that
   * a dropped packet costs no copy. A key id that is not among the keys is dropped.
   */
  admit(keyId: bigint, peer: IpAddress, makeItem: () => T, nowMs: number): DecryptAdmission {
    const share = this.#shares.get(keyId);
    if (share === undefined) {
      return "dropped";
    }
    const lane = share.networks.has(peer, nowMs) ? share.known : share.stranger;
    const makeArrival = (): Arrival<T> => ({ sequence: this.#arrivals++, item: makeItem() });
    const verdict = lane.admit(makeArrival, this.#allowance, nowMs, this.#random);
    if (verdict === "replaced") {
      this.#droppedCount++;
      return "held";
    }
    if (verdict === "held" && lane.heldCount === 1) {
      this.#waiting.push(lane);
    }
    return verdict;
  }

  /**
   * Gives the held items whose slice has ended; each has been drawn and is to be opened now.
   *
   * In the order of arrival, which neither the draw nor the lanes keep: of two packets of one key the later one has
   * the higher counter, and opened first it would make the earlier one a replay.
   */
  due(nowMs: number): T[] {
    const drawn: Arrival<T>[] = [];
    let lanes = 0;
    for (const lane of this.#waiting) {
      if (lane.endMs > nowMs) {
        break;
      }
      drawn.push(...lane.draw(this.#allowance, nowMs));
      lanes++;
    }
    this.#waiting.splice(0, lanes);
    return drawn.sort((a, b) => a.sequence - b.sequence).map(({ item }) => item);
  }

  /** When `due` will have something, or null while nothing is held. */
  nextDueMs(): number | null {
    return this.#waiting[0]?.endMs ?? null;
  }

  /**
   * Remembers the peer's network as one that holds the key. Only for a packet that was genuine AND fresh: a
   * replay from a forged address authenticates too, and 256 of them would push every real network out.
   */
  authenticated(keyId: bigint, peer: IpAddress, nowMs: number): void {
    this.#shares.get(keyId)?.networks.remember(peer, nowMs);
  }

  #dropLanesOfOtherKeys(): void {
    const lanes = new Set([...this.#shares.values()].flatMap((share) => [share.known, share.stranger]));
    for (const lane of this.#waiting) {
      this.#droppedCount += lanes.has(lane) ? 0 : lane.heldCount;
    }
    this.#waiting = this.#waiting.filter((lane) => lanes.has(lane));
  }
}

function newShare<T>(): KeyShare<T> {
  return { known: new DecryptLane(), stranger: new DecryptLane(), networks: new KnownNetworks() };
}

/** Half a key's budget, as a whole number of packets in a slice of 20 ms or, below 50 per second, a longer one. */
function laneAllowance(perKeyPerSecond: number): LaneAllowance {
  const perSecond = perKeyPerSecond / LANES_PER_KEY;
  const perSlice = Math.max(1, Math.floor(perSecond * SLICE_MS / 1000));
  return { perSlice, sliceMs: perSlice * 1000 / perSecond };
}

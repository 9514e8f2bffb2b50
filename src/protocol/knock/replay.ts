/**
 * Replay floors: for each key id the highest counter that was spent. What is not above it has been used, by
 * whomever, and never counts again.
 *
 * Only the newest value in memory is kept here. Making it durable before anything runs is the caller's part: he
 * takes {@link ReplayFloors.snapshot} and the {@link ReplayFloors.generation} it belongs to.
 */
import { requireUnsigned } from "./unsigned.ts";

const COUNTER_BYTES = 16;

/** What a counter is against its key's floor. */
export type CounterVerdict = "fresh" | "replayed" | "no_floor";

/** The floors of all keys, by key id (u64), as counters (u128). A floor never goes down. */
export class ReplayFloors {
  #floors: Map<bigint, bigint>;
  #generation = 0;

  constructor(initial: ReadonlyMap<bigint, bigint>) {
    this.#floors = new Map(initial);
  }

  /** Grows by one with each change, so that a caller can tell whether what he saved is still the newest. */
  get generation(): number {
    return this.#generation;
  }

  /**
   * Judges a counter. An equal one is a replay: the floor itself was spent. A key without a floor has nothing to
   * verify against, which means refused; taking it as fresh would open a hole for whoever deletes the file.
   */
  check(keyId: bigint, counter: bigint): CounterVerdict {
    const floor = this.#floors.get(keyId);
    if (floor === undefined) {
      return "no_floor";
    }
    return counter > floor ? "fresh" : "replayed";
  }

  /**
   * Spends a counter: from now on it and all below it are replays.
   *
   * @throws {RangeError} unless `check` calls it fresh and it is a u128
   */
  raise(keyId: bigint, counter: bigint): void {
    requireUnsigned("set floor", counter, COUNTER_BYTES);
    if (this.check(keyId, counter) !== "fresh") {
      throw new RangeError(
        `cannot raise floor: found counter ${counter}, accepted is one above ${
          this.get(keyId) ?? "a seeded floor"
        }`,
      );
    }
    this.#set(keyId, counter);
  }

  /** Gives a key its first floor; false, and no change, if it has one. */
  seedIfAbsent(keyId: bigint, counter: bigint): boolean {
    requireUnsigned("set floor", counter, COUNTER_BYTES);
    if (this.#floors.has(keyId)) {
      return false;
    }
    this.#set(keyId, counter);
    return true;
  }

  /** The key's floor, if it has one. */
  get(keyId: bigint): bigint | undefined {
    return this.#floors.get(keyId);
  }

  /** A copy of all floors as they are now. */
  snapshot(): Map<bigint, bigint> {
    return new Map(this.#floors);
  }

  #set(keyId: bigint, counter: bigint): void {
    this.#floors.set(keyId, counter);
    this.#generation++;
  }
}

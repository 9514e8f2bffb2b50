/** Seeded randomness for the fuzzer: the same seed gives the same inputs, whatever the machine. */

const INTERESTING_BYTES = [0x00, 0x01, 0x0f, 0x10, 0x7f, 0x80, 0x8f, 0x90, 0xcc, 0xde, 0xdf, 0xfe, 0xff];

export class FuzzRandom {
  #state: number;

  constructor(seed: number) {
    this.#state = seed | 0;
  }

  /** A number in [0, 1), by mulberry32: quick, and good enough to choose bytes with. */
  next(): number {
    this.#state = this.#state + 0x6d2b79f5 | 0;
    let mixed = Math.imul(this.#state ^ this.#state >>> 15, 1 | this.#state);
    mixed = mixed + Math.imul(mixed ^ mixed >>> 7, 61 | mixed) ^ mixed;
    return ((mixed ^ mixed >>> 14) >>> 0) / 2 ** 32;
  }

  /** A whole number from 0 to `limit` - 1. */
  below(limit: number): number {
    return Math.floor(this.next() * limit);
  }

  pick<T>(from: readonly T[]): T {
    const picked = from[this.below(from.length)];
    if (picked === undefined) {
      throw new RangeError("cannot pick: found an empty list, accepted is one with an element");
    }
    return picked;
  }

  bytes(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => this.below(256));
  }

  /** A copy with one to four small faults: bits, bytes, runs cut out, doubled or put in, an end cut off. */
  mutate(bytes: Uint8Array): Uint8Array {
    let mutated = bytes;
    for (let faults = 1 + this.below(4); faults > 0; faults--) {
      mutated = this.#mutateOnce(mutated);
    }
    return mutated;
  }

  #mutateOnce(bytes: Uint8Array): Uint8Array {
    const at = this.below(bytes.length + 1);
    const end = Math.min(bytes.length, at + 1 + this.below(8));
    const [before, run, after] = [bytes.subarray(0, at), bytes.subarray(at, end), bytes.subarray(end)];
    switch (this.below(7)) {
      case 0:
        return Uint8Array.from([...before, ...run.map((byte) => byte ^ 1 << this.below(8)), ...after]);
      case 1:
        return Uint8Array.from([...before, ...run.map(() => this.below(256)), ...after]);
      case 2:
        return Uint8Array.from([...before, ...run.map(() => this.pick(INTERESTING_BYTES)), ...after]);
      case 3:
        return Uint8Array.from([...before, ...after]);
      case 4:
        return Uint8Array.from([...before, ...run, ...run, ...after]);
      case 5:
        return Uint8Array.from([...before, ...this.bytes(1 + this.below(8)), ...run, ...after]);
      default:
        return before.slice();
    }
  }
}

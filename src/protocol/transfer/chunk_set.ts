/** Which chunks of a file are there. */

/** Consecutive chunks of the file. */
export interface ChunkRun {
  /** Number of the first one. */
  readonly first: number;
  /** How many, at least 1. */
  readonly count: number;
}

/** A message has 32 bits for the number of a chunk. */
const MAX_CHUNKS = 2 ** 32;

/** A set of the chunks of one file; one bit each, and none at all while it is empty or complete. */
export class ChunkSet {
  /** How many chunks the file has. */
  readonly count: number;
  #size = 0;
  /** Bit `chunk & 7` of byte `chunk >> 3`; null while every bit would be the same. */
  #bits: Uint8Array<ArrayBuffer> | null = null;

  /**
   * Makes an empty set.
   *
   * @param count how many chunks the file has, 0 for an empty one; at most 2^32, which is 4 PiB
   * @throws {RangeError} if it is no such number
   */
  constructor(count: number) {
    if (!Number.isInteger(count) || count < 0 || count > MAX_CHUNKS) {
      throw new RangeError(`cannot make a set of ${count} chunks: accepted are 0 to ${MAX_CHUNKS}`);
    }
    this.count = count;
  }

  /** How many chunks are in it. */
  get size(): number {
    return this.#size;
  }

  /** Whether all are in it; true for an empty file. */
  get isComplete(): boolean {
    return this.#size === this.count;
  }

  /**
   * Whether a chunk is in it.
   *
   * @throws {RangeError} if the file has no such chunk
   */
  has(chunk: number): boolean {
    this.#requireChunk(chunk);
    if (this.#bits === null) return this.#size > 0;
    return ((this.#bits[chunk >>> 3] ?? 0) & 1 << chunk % 8) !== 0;
  }

  /**
   * Puts a chunk into it.
   *
   * @returns whether it was not in it before
   * @throws {RangeError} if the file has no such chunk
   */
  add(chunk: number): boolean {
    if (this.has(chunk)) return false;
    const bits = this.#bits ??= new Uint8Array(Math.ceil(this.count / 8));
    const at = chunk >>> 3;
    bits[at] = (bits[at] ?? 0) | 1 << chunk % 8;
    this.#size++;
    if (this.isComplete) this.#bits = null;
    return true;
  }

  /** Takes all out of it. */
  clear(): void {
    this.#size = 0;
    this.#bits = null;
  }

  /** What is not in it, in ascending order, in as few runs as there are. */
  *missing(): Generator<ChunkRun> {
    for (let first = this.#next(0, false); first < this.count;) {
      const end = this.#next(first, true);
      yield { first, count: end - first };
      first = this.#next(end, false);
    }
  }

  /** The first chunk from `chunk` on that is in it, or is not; `count` if there is none. */
  #next(chunk: number, isIn: boolean): number {
    if (this.#bits === null) return (this.#size > 0) === isIn ? chunk : this.count;
    const skipped = isIn ? 0 : 0xff;
    let at = chunk;
    while (at < this.count) {
      if (at % 8 === 0 && this.#bits[at / 8] === skipped) at += 8;
      else if (this.has(at) === isIn) return at;
      else at++;
    }
    return this.count;
  }

  #requireChunk(chunk: number): void {
    if (!Number.isInteger(chunk) || chunk < 0 || chunk >= this.count) {
      throw new RangeError(`cannot look for chunk ${chunk}: the file has ${this.count}`);
    }
  }
}

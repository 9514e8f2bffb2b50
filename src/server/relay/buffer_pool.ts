/** How many buffers of one length there may be, and how many of them are kept while nobody has them. */
export interface PoolLimits {
  /** Length of each. */
  readonly bufferBytes: number;
  /** Lent at once. */
  readonly maxLent: number;
  /** Kept for the next; the garbage collector takes the others back, in its own time. */
  readonly maxKept: number;
}

/** Buffers that go from one direction to the next, so that connections which come and go leave no garbage behind. */
export class BufferPool {
  readonly #limits: PoolLimits;
  readonly #kept: Uint8Array<ArrayBuffer>[] = [];
  #lent = 0;

  constructor(limits: PoolLimits) {
    this.#limits = limits;
  }

  /** One of them, with whatever was in it; null if as many are lent as may be. */
  lend(): Uint8Array<ArrayBuffer> | null {
    if (this.#lent >= this.#limits.maxLent) return null;
    this.#lent++;
    return this.#kept.pop() ?? new Uint8Array(this.#limits.bufferBytes);
  }

  /** Takes one back that was lent and that nobody reads into any more. */
  takeBack(buffer: Uint8Array<ArrayBuffer>): void {
    this.#lent--;
    if (this.#kept.length < this.#limits.maxKept) this.#kept.push(buffer);
  }
}

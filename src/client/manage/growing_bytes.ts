/** Bytes that come in pieces of any size, and are kept as one run: a host that sends them one by one gains nothing by it. */

const FIRST_BYTES = 256;

/** A run of bytes that grows. */
export class GrowingBytes {
  #bytes = new Uint8Array(0);
  #length = 0;

  /** How many there are. */
  get length(): number {
    return this.#length;
  }

  /** All of them, as a view that is good for ever: what is added later lies behind it. */
  get bytes(): Uint8Array<ArrayBuffer> {
    return this.#bytes.subarray(0, this.#length);
  }

  /** Adds a copy. */
  add(bytes: Uint8Array): void {
    const needed = this.#length + bytes.length;
    if (needed > this.#bytes.length) {
      const longer = new Uint8Array(Math.max(needed, 2 * this.#bytes.length, FIRST_BYTES));
      longer.set(this.bytes);
      this.#bytes = longer;
    }
    this.#bytes.set(bytes, this.#length);
    this.#length = needed;
  }
}

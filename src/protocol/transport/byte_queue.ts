/** Bytes that arrived and wait to be read, in order. */

/** Shorter arrivals are put together, so that a flood of tiny ones costs little more than its bytes. */
const JOINED_BELOW_BYTES = 4096;
const BLOCK_BYTES = 16 * 1024;

/** A queue of bytes; what bounds it is up to its user. */
export class ByteQueue {
  readonly #blocks: Uint8Array[] = [];
  /** Where in the first block the next byte to be read lies. */
  #offset = 0;
  #length = 0;
  /** Room left at the end of the last block, which is one of ours; 0 if it is not. */
  #room = 0;

  /** Bytes in it. */
  get length(): number {
    return this.#length;
  }

  /** Puts bytes at the end; they belong to the queue from then on. */
  push(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    if (bytes.length < JOINED_BELOW_BYTES) this.#join(bytes);
    else {
      this.#blocks.push(bytes);
      this.#room = 0;
    }
    this.#length += bytes.length;
  }

  /** Moves as many bytes as there are and fit to the beginning of `target`; gives their number. */
  pull(target: Uint8Array): number {
    let filled = 0;
    while (filled < target.length) {
      const first = this.#blocks[0];
      if (first === undefined) break;
      const part = first.subarray(this.#offset, this.#offset + target.length - filled);
      target.set(part, filled);
      filled += part.length;
      this.#offset += part.length;
      if (this.#offset < first.length) break;
      this.#blocks.shift();
      this.#offset = 0;
    }
    this.#length -= filled;
    return filled;
  }

  /** Forgets everything. */
  clear(): void {
    this.#blocks.length = 0;
    this.#offset = 0;
    this.#length = 0;
    this.#room = 0;
  }

  #join(bytes: Uint8Array): void {
    const last = this.#blocks.at(-1);
    if (last === undefined || this.#room < bytes.length) {
      const block = new Uint8Array(BLOCK_BYTES);
      block.set(bytes);
      this.#blocks.push(block.subarray(0, bytes.length));
      this.#room = BLOCK_BYTES - bytes.length;
      return;
    }
    const grown = new Uint8Array(last.buffer, last.byteOffset, last.length + bytes.length);
    grown.set(bytes, last.length);
    this.#blocks[this.#blocks.length - 1] = grown;
    this.#room -= bytes.length;
  }
}

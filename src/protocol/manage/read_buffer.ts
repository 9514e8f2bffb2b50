/**
 * Memory that bytes are read into and written from. Thousands of idle links wait with a short buffer each; the long
 * ones are lent to whoever has much to read or write at the moment, and kept for all of them together.
 */

/** Of one read, and of one write. */
export const LONG_BUFFER_BYTES = 256 * 1024;
const SHORT_BUFFER_BYTES = 4 * 1024;
const MAX_SPARE_BUFFERS = 16;
const spareBuffers: Uint8Array<ArrayBuffer>[] = [];

/** Lends a long buffer; what lies in it may be anything. */
export function takeLongBuffer(): Uint8Array<ArrayBuffer> {
  return spareBuffers.pop() ?? new Uint8Array(LONG_BUFFER_BYTES);
}

/** Takes one back. Nobody may still read or write it: never call it after a failed read or write. */
export function giveBackLongBuffer(buffer: Uint8Array<ArrayBuffer>): void {
  if (spareBuffers.length < MAX_SPARE_BUFFERS) spareBuffers.push(buffer);
}

/** What one reader reads into: long after a read that filled it, short again after one of little. */
export class ReadBuffer {
  #bytes: Uint8Array<ArrayBuffer> = new Uint8Array(SHORT_BUFFER_BYTES);

  /** What to read into; another one after each `used`. */
  get bytes(): Uint8Array<ArrayBuffer> {
    return this.#bytes;
  }

  /** Whether it is a long one. */
  get isLong(): boolean {
    return this.#bytes.length === LONG_BUFFER_BYTES;
  }

  /** Instead of `used`, where somebody still needs what was read into a long one: gives it away, and takes another. */
  giveAway(): Uint8Array<ArrayBuffer> {
    const bytes = this.#bytes;
    this.#bytes = takeLongBuffer();
    return bytes;
  }

  /** The last read gave so many bytes, and nobody needs them any more. */
  used(count: number): void {
    if (!this.isLong) {
      if (count === SHORT_BUFFER_BYTES) this.#bytes = takeLongBuffer();
    } else if (count < SHORT_BUFFER_BYTES) this.release();
  }

  /** Nothing is read for now. */
  release(): void {
    if (!this.isLong) return;
    giveBackLongBuffer(this.#bytes);
    this.#bytes = new Uint8Array(SHORT_BUFFER_BYTES);
  }
}

/** The last bytes of an output that goes on and on, by their place in all of it. */

const FIRST_BUFFER_BYTES = 8 * 1024;

/** A ring that grows with need, up to its capacity, so that a quiet shell costs little. */
export class OutputRing {
  readonly #capacityBytes: number;
  #ring: Uint8Array<ArrayBuffer> = new Uint8Array(0);
  #endBytes = 0;
  #heldBytes = 0;

  /** Holds `capacityBytes`, 1 or more, at most. */
  constructor(capacityBytes: number) {
    this.#capacityBytes = capacityBytes;
  }

  /** How many bytes ever went in. */
  get endBytes(): number {
    return this.#endBytes;
  }

  /** How many of them came before the oldest one that is still here. */
  get startBytes(): number {
    return this.#endBytes - this.#heldBytes;
  }

  /** Puts bytes in, at the cost of the oldest ones. */
  push(bytes: Uint8Array): void {
    if (bytes.length === 0) {
      return;
    }
    this.#makeRoom(this.#heldBytes + bytes.length);
    const size = this.#ring.length, kept = bytes.subarray(Math.max(0, bytes.length - size));
    const at = (this.#endBytes + bytes.length - kept.length) % size;
    const untilEnd = Math.min(kept.length, size - at);
    this.#ring.set(kept.subarray(0, untilEnd), at);
    this.#ring.set(kept.subarray(untilEnd), 0);
    this.#endBytes += bytes.length;
    this.#heldBytes = Math.min(size, this.#heldBytes + bytes.length);
  }

  /** A copy of at most `maxBytes` from a place on, which must not be before `startBytes`; empty at the end. */
  read(fromBytes: number, maxBytes: number): Uint8Array<ArrayBuffer> {
    const copy = new Uint8Array(Math.min(maxBytes, this.#endBytes - fromBytes));
    const size = this.#ring.length, at = size === 0 ? 0 : fromBytes % size;
    const untilEnd = Math.min(copy.length, size - at);
    copy.set(this.#ring.subarray(at, at + untilEnd));
    copy.set(this.#ring.subarray(0, copy.length - untilEnd), untilEnd);
    return copy;
  }

  #makeRoom(bytes: number): void {
    if (bytes <= this.#ring.length || this.#ring.length === this.#capacityBytes) {
      return;
    }
    let size = Math.max(FIRST_BUFFER_BYTES, this.#ring.length);
    while (size < bytes) {
      size *= 2;
    }
    const held = this.read(this.startBytes, this.#heldBytes);
    this.#ring = new Uint8Array(Math.min(size, this.#capacityBytes));
    // Places count from the beginning of all output, so what is held moves when the size does.
    const at = this.startBytes % this.#ring.length;
    const untilEnd = Math.min(held.length, this.#ring.length - at);
    this.#ring.set(held.subarray(0, untilEnd), at);
    this.#ring.set(held.subarray(untilEnd), 0);
  }
}

/**
 * Memory of bodies, used again: a new megabyte costs as much time as copying one, and detaching a used one costs
 * next to nothing.
 *
 * Blocks are kept by their exact size, so that the buffer of a body holds that body and nothing else: whoever looks
 * at `view.buffer` sees no byte of another call.
 */

import { isLent } from "./lent_memory.ts";

/** Bytes that a pool keeps for later at most. */
const MAX_KEPT_BYTES = 16 * 1024 * 1024;
/** Blocks that a pool keeps for later at most. */
const MAX_KEPT_BLOCKS = 4096;

/** Gives and takes back blocks of memory. */
export class BodyPool {
  /** By their size, none of the lists empty. */
  readonly #kept = new Map<number, ArrayBuffer[]>();
  #keptBytes = 0;
  #keptBlocks = 0;

  /** Bytes that are kept for later now. */
  get keptBytes(): number {
    return this.#keptBytes;
  }

  /** A block of that many bytes, 1 at least. What is in it is not defined: overwrite all of it before showing it. */
  take(bytes: number): Uint8Array<ArrayBuffer> {
    const sameSize = this.#kept.get(bytes);
    const buffer = sameSize?.pop();
    if (buffer === undefined) return new Uint8Array(bytes);
    // Whoever sends ever new sizes must not leave one list behind for each.
    if (sameSize?.length === 0) this.#kept.delete(bytes);
    this.#keptBytes -= bytes;
    this.#keptBlocks--;
    return new Uint8Array(buffer);
  }

  /**
   * Takes a block back. Every view of it is empty from now on, so nobody can see what it is used for next. One that is
   * still being written is left as it is.
   */
  give(block: ArrayBuffer): void {
    if (block.detached) return; // the program has sent it to a worker
    if (isLent(block)) return;
    const buffer = block.transfer();
    const bytes = buffer.byteLength;
    if (bytes > MAX_KEPT_BYTES) return;
    while (this.#keptBytes + bytes > MAX_KEPT_BYTES || this.#keptBlocks >= MAX_KEPT_BLOCKS) {
      this.#forgetOldest();
    }
    const sameSize = this.#kept.get(bytes);
    if (sameSize === undefined) this.#kept.set(bytes, [buffer]);
    else sameSize.push(buffer);
    this.#keptBytes += bytes;
    this.#keptBlocks++;
  }

  /** Lets all blocks of the size go that has been here longest. */
  #forgetOldest(): void {
    const [oldest] = this.#kept;
    if (oldest === undefined) return;
    const [bytes, buffers] = oldest;
    this.#keptBytes -= bytes * buffers.length;
    this.#keptBlocks -= buffers.length;
    this.#kept.delete(bytes);
  }
}

/** What all connections share, so that an idle one keeps nothing. */
export const sharedBodyPool: BodyPool = new BodyPool();

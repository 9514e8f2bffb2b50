/**
 * How chunks are made smaller for the way, and large again: zstd at its fastest useful level, in workers, a frame for
 * each chunk.
 *
 * What cannot become smaller must cost next to nothing, and most bytes that are sent are of that kind: pictures, films,
 * archives. So a chunk is asked first how often each byte is in it, at sixteen places, which takes 15 us; for one that
 * looks random no worker is even started.
 */
import type { Compression } from "../../protocol/transfer/source.ts";
import { TransferError } from "../../protocol/transfer/errors.ts";
import { systemTimers, type Timers } from "../../protocol/rpc/timers.ts";
import { CHUNK_BYTES } from "../../protocol/transfer/offer.ts";
import { looksRandom } from "./compression_sample.ts";
import { ZstdPool } from "./zstd_pool.ts";

/**
 * Workers that compress, at most: 250 MB/s each. A worker takes some 20 MB with what is on the way to it, so there is
 * none for the processor that hashes, encrypts and sends.
 */
const MAX_COMPRESSING = Math.min(2, Math.max(1, navigator.hardwareConcurrency - 1));
/** Workers that decompress, at most; one does 900 MB/s, more than can be decrypted. */
const MAX_DECOMPRESSING = 1;
/** Shorter chunks are sent as they are: there is little to save, and no telling whether they are random. */
const MIN_CHUNK_BYTES = 512;
/** A frame is worth the time of the other side if it is at most so much of its chunk. */
const MAX_FRAME_SHARE = 15 / 16;
/** After chunks that only looked as if, at most so many are left alone before the next is tried. */
const MAX_SKIPPED = 31;
/** Inputs that are kept to be used again; more than are under way at once are of no use. */
const MAX_SPARES = 4;

/** Settings of a `ZstdCompression`. */
export interface ZstdCompressionOptions {
  /** Most workers that compress. @default 2, or 1 on a machine of two processors */
  readonly maxCompressing?: number;
  /** Most workers that decompress. @default 1 */
  readonly maxDecompressing?: number;
  /** Time, for noticing a worker that ended without a word. @default systemTimers */
  readonly timers?: Timers;
  /** What the workers run. @default zstd_worker.js */
  readonly workerText?: () => Promise<string>;
}

/**
 * Compresses and decompresses chunks in workers, which are started at the first chunk that needs one. Needs no
 * permission. Used by all sessions of one process, and closed when they have ended.
 */
export class ZstdCompression implements Compression, Disposable {
  readonly #compressing: ZstdPool;
  readonly #decompressing: ZstdPool;
  readonly #spares: Uint8Array<ArrayBuffer>[] = [];
  /** Chunks in a row that did not become smaller although they looked as if. */
  #misses = 0;
  #toSkip = 0;

  /** Makes one; no worker is started yet. */
  constructor(options: ZstdCompressionOptions = {}) {
    const { maxCompressing = MAX_COMPRESSING, maxDecompressing = MAX_DECOMPRESSING } = options;
    const { timers = systemTimers, workerText = zstdWorkerText } = options;
    this.#compressing = new ZstdPool({ maxThreads: maxCompressing, timers, workerText });
    this.#decompressing = new ZstdPool({ maxThreads: maxDecompressing, timers, workerText });
  }

  /** How many workers there are now. */
  get threads(): number {
    return this.#compressing.threads + this.#decompressing.threads;
  }

  /**
   * One zstd frame that is at most 15/16 of the chunk; null if there is none or it is not worth trying.
   *
   * @param chunk at most 1 MiB; stays the caller's, not to be changed until the promise settles
   * @throws {TransferError} `storage` if a worker failed, `cancelled` after `close`
   */
  async compress(chunk: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer> | null> {
    if (chunk.length < MIN_CHUNK_BYTES || this.#isSkipped()) return null;
    if (looksRandom(chunk)) return null;
    const maxBytes = Math.floor(chunk.length * MAX_FRAME_SHARE);
    const { bytes, spare } = await this.#compressing.run({
      kind: "compress",
      maxBytes,
      input: () => this.#copyOf(chunk),
    });
    this.#keep(spare);
    this.#learn(bytes !== null);
    return bytes;
  }

  /**
   * The chunk of a frame.
   *
   * @param compressed taken: its memory goes to a worker, and the array is empty afterwards
   * @throws {TransferError} `malformed` if it is no frame of exactly `sizeBytes`, `storage` if a worker failed,
   * `cancelled` after `close`
   */
  async decompress(
    compressed: Uint8Array<ArrayBuffer>,
    sizeBytes: number,
  ): Promise<Uint8Array<ArrayBuffer>> {
    const input = (): Uint8Array<ArrayBuffer> => ownMemory(compressed);
    const { bytes } = await this.#decompressing.run({ kind: "decompress", maxBytes: sizeBytes, input });
    // A frame that was cut off gives fewer bytes and no error.
    if (bytes !== null && bytes.length === sizeBytes) return bytes;
    throw new TransferError(
      "malformed",
      `could not decompress a chunk: what came is no zstd frame of ${sizeBytes} bytes`,
    );
  }

  /** Ends the workers; what is under way gets `cancelled`. Does nothing the second time. */
  close(): void {
    this.#compressing.close();
    this.#decompressing.close();
    this.#spares.length = 0;
  }

  /** The same as `close`. */
  [Symbol.dispose](): void {
    this.close();
  }

  #isSkipped(): boolean {
    if (this.#toSkip === 0) return false;
    this.#toSkip--;
    return true;
  }

  #learn(hasPaid: boolean): void {
    this.#misses = hasPaid ? 0 : this.#misses + 1;
    this.#toSkip = Math.min(2 ** this.#misses - 1, MAX_SKIPPED);
  }

  /** In memory that was used before, as a rule: to set aside a MiB takes as long as to fill it. */
  #copyOf(chunk: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
    if (chunk.length < CHUNK_BYTES) return chunk.slice();
    const copy = this.#spares.pop() ?? new Uint8Array(chunk.length);
    copy.set(chunk);
    return copy;
  }

  #keep(spare: Uint8Array<ArrayBuffer> | null): void {
    if (spare?.length === CHUNK_BYTES && this.#spares.length < MAX_SPARES) this.#spares.push(spare);
    else spare?.buffer.transfer(0);
  }
}

async function zstdWorkerText(): Promise<string> {
  const { default: text } = await import("./zstd_worker.js", { with: { type: "text" } });
  return text;
}

/** The array itself if nothing else lies in its memory, else a copy. */
function ownMemory(bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  return bytes.length === bytes.buffer.byteLength ? bytes : bytes.slice();
}

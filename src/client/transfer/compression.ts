/**
 * How chunks are made smaller for the way, and large again: zstd at its fastest useful level, a frame for each chunk.
 * They are made smaller in workers, which takes 4 ms each, and large again right here: that takes 1 ms, and no more than
 * a chunk comes out whatever is in the frame, while a worker would take 15 MB.
 *
 * What cannot become smaller must cost next to nothing, and most bytes that are sent are of that kind: pictures, films,
 * archives. So a chunk is asked first how often each byte is in it, at sixteen places, which takes 15 us; for one that
 * looks random no worker is even started.
 */
import type { Compression } from "../../protocol/transfer/source.ts";
import { TransferError } from "../../protocol/transfer/errors.ts";
import { systemTimers, type Timers } from "../../protocol/rpc/timers.ts";
import { looksRandom } from "./compression_sample.ts";
import { ZstdPool } from "./zstd_pool.ts";

/**
 * Workers that compress, at most: 250 MB/s each. A worker takes some 20 MB with what is on the way to it, so there is
 * none for the processor that hashes, encrypts and sends.
 */
const MAX_COMPRESSING = Math.min(2, Math.max(1, navigator.hardwareConcurrency - 1));
/** Shorter chunks are sent as they are: there is little to save, and no telling whether they are random. */
const MIN_CHUNK_BYTES = 512;
/** A frame is worth the time of the other side if it is at most so much of its chunk. */
const MAX_FRAME_SHARE = 15 / 16;
/** After chunks that only looked as if, at most so many are left alone before the next is tried. */
const MAX_SKIPPED = 31;
/** As far as every decoder should be able to look back (RFC 8878, section 3.1.1.1.2); more is there to take memory. */
const MAX_WINDOW_LOG = 23;
/** The library sets memory aside once more when its output fills it to the last byte. */
const SLACK_BYTES = 64;
/** What is shorter may be cut from memory that the library shares out, which must not be freed with it. */
const MIN_OWN_BYTES = 16_384;

type Zlib = typeof import("node:zlib");

/** What `info` makes of the answer, which the types of the library do not know. */
interface Decompressed {
  readonly buffer: Uint8Array<ArrayBuffer>;
  /** With how much of the input was read. */
  readonly engine: { readonly bytesWritten: number };
}

/** Settings of a `ZstdCompression`. */
export interface ZstdCompressionOptions {
  /** Most workers that compress. @default 2, or 1 on a machine of two processors */
  readonly maxCompressing?: number;
  /** Time, for noticing a worker that ended without a word. @default systemTimers */
  readonly timers?: Timers;
  /** What the workers run. @default zstd_worker.js */
  readonly workerText?: () => Promise<string>;
}

/**
 * Compresses chunks in workers, which are started at the first one that may become smaller, and decompresses them.
 * Needs no permission. Used by all sessions of one process, and closed when they have ended.
 */
export class ZstdCompression implements Compression, Disposable {
  readonly #pool: ZstdPool;
  #zlib: Promise<Zlib> | null = null;
  /** Chunks in a row that did not become smaller although they looked as if. */
  #misses = 0;
  #toSkip = 0;

  /** Makes one; no worker is started yet. */
  constructor(options: ZstdCompressionOptions = {}) {
    const { maxCompressing = MAX_COMPRESSING, timers = systemTimers, workerText = zstdWorkerText } = options;
    this.#pool = new ZstdPool({ maxThreads: maxCompressing, timers, workerText });
  }

  /** How many workers there are now. */
  get threads(): number {
    return this.#pool.threads;
  }

  /**
   * One zstd frame that is at most 15/16 of the chunk; the chunk if there is none or it is not worth trying.
   *
   * @param chunk at most 1 MiB; taken: its memory goes to a worker if it is the whole of it, and comes back as another
   * array
   * @throws {TransferError} `storage` if a worker failed, `cancelled` after `close`
   */
  async compress(chunk: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
    const { length } = chunk;
    if (length < MIN_CHUNK_BYTES || this.#isSkipped() || looksRandom(chunk)) return chunk;
    const maxBytes = Math.floor(length * MAX_FRAME_SHARE);
    const body = await this.#pool.compress(ownMemory(chunk), maxBytes);
    this.#learn(body.length < length);
    return body;
  }

  /**
   * The chunk of a frame, in memory of its own.
   *
   * @throws {TransferError} `malformed` if it is no frame of exactly `sizeBytes`
   */
  async decompress(
    compressed: Uint8Array<ArrayBuffer>,
    sizeBytes: number,
  ): Promise<Uint8Array<ArrayBuffer>> {
    const zlib = await (this.#zlib ??= import("node:zlib"));
    const bytes = decompressed(zlib, compressed, sizeBytes);
    // A frame that was cut off gives fewer bytes and no error.
    if (bytes?.length === sizeBytes) return bytes;
    bytes?.buffer.transfer(0);
    throw new TransferError(
      "malformed",
      `could not decompress a chunk: what came is no zstd frame of ${sizeBytes} bytes`,
    );
  }

  /** Ends the workers; what is under way gets `cancelled`. Does nothing the second time. */
  close(): void {
    this.#pool.close();
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
}

async function zstdWorkerText(): Promise<string> {
  const { default: text } = await import("./zstd_worker.js", { with: { type: "text" } });
  return text;
}

/** The array itself if nothing else lies in its memory, else a copy. */
function ownMemory(bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  return bytes.length === bytes.buffer.byteLength ? bytes : bytes.slice();
}

/** At most so many bytes; null if what is there is not one frame of that and nothing behind it. */
function decompressed(
  { constants, zstdDecompressSync }: Zlib,
  frame: Uint8Array<ArrayBuffer>,
  maxBytes: number,
): Uint8Array<ArrayBuffer> | null {
  const params = { [constants.ZSTD_d_windowLogMax]: MAX_WINDOW_LOG };
  const chunkSize = Math.max(maxBytes + SLACK_BYTES, MIN_OWN_BYTES);
  try {
    const found = zstdDecompressSync(frame, { params, info: true, maxOutputLength: maxBytes, chunkSize });
    const { buffer, engine } = found as unknown as Decompressed;
    // Behind the frame there may be something else, which the library does not look at.
    if (engine.bytesWritten !== frame.length) return null;
    // A Buffer of Node's is no plain array.
    return new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.length);
  } catch {
    return null;
  }
}

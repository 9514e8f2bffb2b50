/**
 * How chunks are made smaller for the way, and large again: zstd at its fastest useful level, a frame for each chunk.
 * Both right here: small takes 4 ms, for which a session asks only while its link is slower than that
 * (compression_pace.ts), and large again 1 ms. A worker would take 18 MB, a fifth of what a side may have.
 *
 * What cannot become smaller must cost next to nothing, and most bytes that are sent are of that kind: pictures, films,
 * archives. So a chunk is asked first how often each byte is in it, at sixteen places, which takes 15 us; for one that
 * looks random the library is not even loaded.
 */
import type { Compression } from "../../protocol/transfer/source.ts";
import { TransferError } from "../../protocol/transfer/errors.ts";
import { nextTurn } from "../../protocol/transport/ring/next_turn.ts";
import { looksRandom } from "./compression_sample.ts";

const LEVEL = 1;
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
/** No frame is longer than its chunk by more than this and a 256th of it. */
const MAX_OVERHEAD_BYTES = 64;
/** What is shorter may be cut from memory that the library shares out, which must not be freed with it. */
const MIN_OWN_BYTES = 16_384;

type Zlib = typeof import("node:zlib");

/** What `info` makes of the answer, which the types of the library do not know. */
interface Decompressed {
  readonly buffer: Uint8Array<ArrayBuffer>;
  /** With how much of the input was read. */
  readonly engine: { readonly bytesWritten: number };
}

/**
 * Compresses and decompresses chunks, all sessions of one process with the same one. Needs no permission, and loads the
 * library with the first chunk that may become smaller or larger.
 */
export class ZstdCompression implements Compression {
  #zlib: Promise<Zlib> | null = null;
  /** Settles when the next chunk may be made smaller. */
  #turn: Promise<unknown> = Promise.resolve();
  /** Chunks in a row that did not become smaller although they looked as if. */
  #misses = 0;
  #toSkip = 0;

  /**
   * One zstd frame that is at most 15/16 of the chunk; the chunk if there is none or it is not worth trying.
   *
   * @param chunk at most 1 MiB; taken: its memory is freed with its frame there, if it is the whole of it
   */
  async compress(chunk: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
    if (chunk.length < MIN_CHUNK_BYTES || this.#isSkipped() || looksRandom(chunk)) return chunk;
    const zlib = await this.#library();
    // However many are asked for at once, the link, the timers and the user have their turn between two of them.
    await (this.#turn = this.#turn.then(nextTurn));
    const frame = compressed(zlib, chunk), hasPaid = frame.length <= chunk.length * MAX_FRAME_SHARE;
    this.#learn(hasPaid);
    // Given back at once: a collector does not see how much memory it would free, and lets it pile up.
    free(hasPaid ? chunk : frame);
    return hasPaid ? frame : chunk;
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
    const bytes = decompressed(await this.#library(), compressed, sizeBytes);
    // A frame that was cut off gives fewer bytes and no error.
    if (bytes?.length === sizeBytes) return bytes;
    bytes?.buffer.transfer(0);
    throw new TransferError(
      "malformed",
      `could not decompress a chunk: what came is no zstd frame of ${sizeBytes} bytes`,
    );
  }

  #library(): Promise<Zlib> {
    return this.#zlib ??= import("node:zlib");
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

/** Frees memory at once; does nothing if something else lies in it too. */
function free(bytes: Uint8Array<ArrayBuffer>): void {
  if (bytes.length === bytes.buffer.byteLength) bytes.buffer.transfer(0);
}

/** A frame that is the whole of its memory: it may wait for the link for long. */
function compressed(
  { constants, zstdCompressSync }: Zlib,
  chunk: Uint8Array<ArrayBuffer>,
): Uint8Array<ArrayBuffer> {
  const { length: pledgedSrcSize } = chunk;
  const params = { [constants.ZSTD_c_compressionLevel]: LEVEL, [constants.ZSTD_c_checksumFlag]: 0 };
  // Room for any frame: one that stops for want of it throws, and leaves its memory to the collector.
  const chunkSize = pledgedSrcSize + Math.ceil(pledgedSrcSize / 256) + MAX_OVERHEAD_BYTES + SLACK_BYTES;
  // Told how much will come, it looks back no further than that, and frames of small chunks are smaller.
  const options = { params, pledgedSrcSize, chunkSize };
  const frame = zstdCompressSync(chunk, options);
  if (chunkSize < MIN_OWN_BYTES) return new Uint8Array(frame);
  return new Uint8Array((frame.buffer as ArrayBuffer).transfer(frame.length));
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

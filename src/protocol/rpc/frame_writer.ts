/**
 * Frames to bytes, in batches: short frames are laid one behind the other into blocks that are used again, long
 * bodies are handed on as they are.
 */
import type { EncodedBody } from "./codec.ts";
import { FRAME_ALIGNMENT_BYTES, FrameError, HEADER_BYTES, paddedBytes } from "./frame.ts";
import { LONG_BODY_BYTES } from "./codec.ts";
import { frameBodyLimit } from "./frame_rules.ts";
import { lend, takeBack } from "./lent_memory.ts";
import { writeText } from "./utf8.ts";

const BLOCK_BYTES = 64 * 1024;
/**
 * Of a part, copied behind its header: a write of the header alone would wake the other side for nothing, which costs
 * more than copying this.
 */
const JOINED_BYTES = 16 * 1024;
/** A part of this length and above is not copied beyond that: more than a write of its own costs, without records. */
const UNCOPIED_PART_BYTES = 32 * 1024;
/** A code unit of a string is at most this many bytes of UTF-8. */
const UTF8_BYTES_PER_UNIT = 3;
/** Of blocks of writers that have nothing to write, kept for all of them together. */
const MAX_SPARE_BYTES = 2 * 1024 * 1024;

interface Block {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly view: DataView;
}

/** By their size. */
const spareBlocks = new Map<number, Block[]>();
const encoder = new TextEncoder();

/** What a writer keeps to. */
export interface FrameWriterOptions {
  /** Longest body that the other side takes; those kinds that have a limit of their own keep to that. */
  readonly maxBodyBytes: number;
  /**
   * Length of the blocks. With a longer one, parts up to half of it are copied: where each write makes a record, which
   * costs more than that.
   *
   * @default 64 KiB
   */
  readonly blockBytes?: number | undefined;
}

/** Collects frames and gives them out as runs of bytes for `Connection.write`. */
export class FrameWriter {
  readonly #maxBodyBytes: number;
  readonly #blockBytes: number;
  /** Parts of this length and above are not copied. */
  readonly #uncopiedBytes: number;
  /** Finished runs of bytes of this batch. */
  #chunks: Uint8Array[] = [];
  #chunkBytes = 0;
  /** The block being filled, also the last of `#blocks`; `#begin` to `#end` of it is the run that is not finished. */
  #block: Block | null = null;
  #begin = 0;
  #end = 0;
  #blocks: Block[] = [];
  #takenBlocks: Block[] = [];
  #takenBytes = 0;
  /** Memory of long parts that are not released; the first `#takenLoans` of them were taken. */
  #loans: ArrayBufferLike[] = [];
  #takenLoans = 0;

  /** Makes one for a connection. */
  constructor(options: FrameWriterOptions) {
    this.#maxBodyBytes = options.maxBodyBytes;
    this.#blockBytes = options.blockBytes ?? BLOCK_BYTES;
    this.#uncopiedBytes = this.#blockBytes > BLOCK_BYTES ? this.#blockBytes / 2 : UNCOPIED_PART_BYTES;
  }

  /** Bytes that were added and not taken. */
  get queuedBytes(): number {
    return this.#chunkBytes + this.#end - this.#begin;
  }

  /** Bytes that were added and are not yet released: those queued and those being written. */
  get unwrittenBytes(): number {
    return this.queuedBytes + this.#takenBytes;
  }

  /**
   * Adds a frame. A body of bytes is copied now in every part that is shorter than `LONG_BODY_BYTES`; longer parts
   * must stay as they are until they are written, and where they are not copied all the same, their memory is lent
   * (lent_memory.ts) until then.
   *
   * @param method, id, value whole numbers of 16, 32 and 32 bits
   * @returns how many bytes the body has, without padding
   * @throws {FrameError} "too_large" if that is more than the other side takes; nothing was added then
   */
  add(kind: number, method: number, id: number, value: number, body: EncodedBody | null): number {
    if (body === null) {
      const block = this.#reserve(HEADER_BYTES);
      writeHeader(block.view, this.#end, 0, kind, method, id, value);
      this.#end += HEADER_BYTES;
      return 0;
    }
    if (typeof body === "string") {
      if (body.length < LONG_BODY_BYTES) return this.#addText(kind, method, id, value, body);
      this.#requireAllowed(kind, body.length); // before the whole of it is written for nothing
      body = encoder.encode(body);
    }
    if (body instanceof Uint8Array) {
      this.#beginBody(kind, method, id, value, body.length);
      this.#addPart(body);
      this.#addPadding(body.length);
      return body.length;
    }
    return this.#addParts(kind, method, id, value, body);
  }

  /**
   * Gives all frames of this batch, in order; the next batch uses other memory.
   *
   * @returns runs of bytes, none of them empty
   */
  take(): readonly Uint8Array[] {
    this.#finishRun();
    const chunks = this.#chunks;
    this.#takenBytes += this.#chunkBytes;
    for (const block of this.#blocks) this.#takenBlocks.push(block);
    this.#takenLoans = this.#loans.length;
    this.#chunks = [];
    this.#chunkBytes = 0;
    this.#blocks = [];
    this.#block = null;
    this.#begin = this.#end = 0;
    return chunks;
  }

  /** Says that everything taken so far was written: its memory is used again. Never call it after a failed write. */
  release(): void {
    this.#takenBytes = 0;
    const spare = sparesOf(this.#blockBytes);
    for (const block of this.#takenBlocks) {
      if (spare.length * this.#blockBytes < MAX_SPARE_BYTES) spare.push(block);
    }
    this.#takenBlocks.length = 0;
    for (const buffer of this.#loans.splice(0, this.#takenLoans)) takeBack(buffer);
    this.#takenLoans = 0;
  }

  /**
   * Forgets everything that is not released, written or not: the connection has gone. Its memory is left to whoever
   * may still be writing it.
   */
  abandon(): void {
    this.take();
    this.#takenBlocks = [];
    this.#takenBytes = 0;
    this.#loans = [];
    this.#takenLoans = 0;
  }

  #addText(kind: number, method: number, id: number, value: number, text: string): number {
    const block = this.#reserve(HEADER_BYTES + text.length * UTF8_BYTES_PER_UNIT + FRAME_ALIGNMENT_BYTES);
    const at = this.#end;
    const bytes = writeText(text, block.bytes, at + HEADER_BYTES);
    this.#requireAllowed(kind, bytes); // what was written lies beyond the end and so does not count
    writeHeader(block.view, at, bytes, kind, method, id, value);
    this.#end = at + HEADER_BYTES + bytes;
    this.#addPadding(bytes);
    return bytes;
  }

  #addParts(kind: number, method: number, id: number, value: number, parts: readonly Uint8Array[]): number {
    let bytes = 0;
    for (const part of parts) bytes += part.length;
    this.#beginBody(kind, method, id, value, bytes);
    for (const part of parts) this.#addPart(part);
    this.#addPadding(bytes);
    return bytes;
  }

  #beginBody(kind: number, method: number, id: number, value: number, bytes: number): void {
    this.#requireAllowed(kind, bytes);
    const inBlock = bytes < LONG_BODY_BYTES ? bytes + FRAME_ALIGNMENT_BYTES : 0;
    const block = this.#reserve(HEADER_BYTES + inBlock);
    writeHeader(block.view, this.#end, bytes, kind, method, id, value);
    this.#end += HEADER_BYTES;
  }

  #addPart(part: Uint8Array): void {
    if (part.length >= this.#uncopiedBytes) {
      const rest = part.subarray(this.#join(part));
      this.#finishRun();
      this.#chunks.push(rest);
      this.#chunkBytes += rest.length;
      this.#loans.push(part.buffer);
      lend(part.buffer);
    } else if (part.length > 0) {
      this.#reserve(part.length).bytes.set(part, this.#end);
      this.#end += part.length;
    }
  }

  /**
   * Copies the beginning of a long part behind what is in the block.
   *
   * @returns how many bytes of it
   */
  #join(part: Uint8Array): number {
    if (this.#block === null) return 0;
    const bytes = Math.min(JOINED_BYTES, this.#blockBytes - this.#end);
    this.#block.bytes.set(part.subarray(0, bytes), this.#end);
    this.#end += bytes;
    return bytes;
  }

  /** Blocks are used again: the zeros have to be written. */
  #addPadding(bodyBytes: number): void {
    const padding = paddedBytes(bodyBytes) - bodyBytes;
    if (padding === 0) return;
    const { bytes } = this.#reserve(padding);
    for (let i = 0; i < padding; i++) bytes[this.#end++] = 0;
  }

  /** An `error` or `close` fits always: a side that takes no bodies at all must still be told why. */
  #requireAllowed(kind: number, bytes: number): void {
    const limit = frameBodyLimit(kind, this.#maxBodyBytes);
    if (bytes > limit) {
      throw new FrameError(
        "too_large",
        `cannot send a body: found ${bytes} bytes, accepted are ${limit} (maxBodyBytes of the other side)`,
      );
    }
  }

  /** The block to write into; there is room for that many bytes, at most its length, from `#end` on. */
  #reserve(bytes: number): Block {
    if (this.#block !== null && this.#end + bytes <= this.#blockBytes) return this.#block;
    this.#finishRun();
    const block = sparesOf(this.#blockBytes).pop() ?? newBlock(this.#blockBytes);
    this.#blocks.push(block);
    this.#block = block;
    this.#begin = this.#end = 0;
    return block;
  }

  #finishRun(): void {
    if (this.#block === null || this.#begin === this.#end) return;
    this.#chunks.push(this.#block.bytes.subarray(this.#begin, this.#end));
    this.#chunkBytes += this.#end - this.#begin;
    this.#begin = this.#end;
  }
}

function sparesOf(blockBytes: number): Block[] {
  const spare = spareBlocks.get(blockBytes) ?? [];
  spareBlocks.set(blockBytes, spare);
  return spare;
}

function newBlock(length: number): Block {
  const bytes = new Uint8Array(length);
  return { bytes, view: new DataView(bytes.buffer) };
}

/** Kind, flags (zero) and method are one number of 32 bits: half the stores. */
function writeHeader(
  view: DataView,
  at: number,
  bodyBytes: number,
  kind: number,
  method: number,
  id: number,
  value: number,
): void {
  view.setUint32(at, bodyBytes);
  view.setUint32(at + 4, kind << 24 | method);
  view.setUint32(at + 8, id);
  view.setUint32(at + 12, value);
}

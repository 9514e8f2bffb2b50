/**
 * Bytes to frames, however they are cut into reads. Nothing that a header announces is buffered before the header
 * was found to be allowed.
 *
 * Short frames lie in one block that is filled again and again and that no program ever sees. A long body gets memory
 * of its own, and is read into it directly.
 */
import { type BodyPool, sharedBodyPool } from "./body_pool.ts";
import { LONG_BODY_BYTES } from "./codec.ts";
import { type Frame, FrameError, HEADER_BYTES, paddedBytes } from "./frame.ts";
import { frameBodyLimit, frameFields, HAS_ID, HAS_METHOD, HAS_VALUE } from "./frame_rules.ts";
import { type HeldBody, heldCopy, holdBlock } from "./held_body.ts";

export type { HeldBody } from "./held_body.ts";

/** Enough for a connection on which little happens; there may be thousands. */
const SMALL_BLOCK_BYTES = 16 * 1024;
/** After the first read that filled the small one. */
const BLOCK_BYTES = 64 * 1024;

const NO_BODY = new Uint8Array(0);

/** What a reader keeps to. */
export interface FrameReaderOptions {
  /** Longest body that this side takes; messages of `error` and `close` and bodies of the handshake have their own. */
  readonly maxBodyBytes: number;
  /** Kinds that may come; without it, all there are. */
  readonly allowed?: readonly number[];
  /** Asks for no byte beyond the frame that is being received: whoever reads the connection next finds it untouched. */
  readonly exactly?: boolean;
  /** Where memory of bodies comes from and goes back to. */
  readonly pool?: BodyPool;
}

/**
 * Takes frames out of a stream of bytes:
 *
 *   loop: read into space(), filled(how many came), next() until it gives null
 */
export class FrameReader {
  readonly #maxBodyBytes: number;
  readonly #allowed: ReadonlySet<number> | null;
  readonly #exactly: boolean;
  readonly #pool: BodyPool;
  #block = new Uint8Array(SMALL_BLOCK_BYTES);
  #view = new DataView(this.#block.buffer);
  /** What was received and not given out: `#start` to `#end` of the block. */
  #start = 0;
  #end = 0;
  /** A frame whose body, with padding, is being received into memory of its own. */
  #long: Uint8Array<ArrayBuffer> | null = null;
  #longFilled = 0;
  #longFrame: Frame | null = null;
  /** What was given out last. */
  #lastBody: Uint8Array<ArrayBuffer> = NO_BODY;
  #lastBlock: ArrayBuffer | null = null;
  #failure: FrameError | null = null;

  /** Makes one that expects the first byte of a frame. */
  constructor(options: FrameReaderOptions) {
    this.#maxBodyBytes = options.maxBodyBytes;
    this.#allowed = options.allowed === undefined ? null : new Set(options.allowed);
    this.#exactly = options.exactly === true;
    this.#pool = options.pool ?? sharedBodyPool;
  }

  /** Bytes of a frame that has begun to arrive. */
  get pendingBytes(): number {
    return this.#long === null ? this.#end - this.#start : HEADER_BYTES + this.#longFilled;
  }

  /**
   * Where the next bytes go; one at least. Ask after `next` has given null: the body of the last frame may be
   * overwritten from now on.
   */
  space(): Uint8Array<ArrayBuffer> {
    if (this.#long !== null) return this.#long.subarray(this.#longFilled);
    this.#makeRoom();
    return this.#exactly
      ? this.#block.subarray(this.#end, this.#start + this.#wantedBytes())
      : this.#block.subarray(this.#end);
  }

  /** Says how many bytes were put at the beginning of what `space` gave. */
  filled(bytes: number): void {
    if (this.#long !== null) this.#longFilled += bytes;
    else this.#end += bytes;
  }

  /**
   * The next frame; null if more bytes are needed. Its body is valid until `next` or `space` is called again, unless
   * it is held.
   *
   * @throws {FrameError} if what arrived is no frame or a body is too long; and again at every further call
   */
  next(): Frame | null {
    if (this.#failure !== null) throw this.#failure;
    this.#recycleLast();
    try {
      return this.#long === null ? this.#nextShort() : this.#nextLong(this.#long);
    } catch (error) {
      if (error instanceof FrameError) this.#failure = error;
      throw error;
    }
  }

  /** Holds the body of the frame that `next` gave last. Once a frame, before the next `next` or `space`. */
  hold(): HeldBody {
    const body = this.#lastBody, block = this.#lastBlock;
    this.#lastBody = NO_BODY;
    this.#lastBlock = null;
    return block === null ? heldCopy(body, this.#pool) : holdBlock(body, this.#pool);
  }

  #nextShort(): Frame | null {
    const available = this.#end - this.#start;
    if (available < HEADER_BYTES) return null;
    const bodyBytes = this.#checkHeader(this.#start);
    const frameBytes = HEADER_BYTES + paddedBytes(bodyBytes);
    if (available < frameBytes) {
      if (bodyBytes >= LONG_BODY_BYTES) this.#beginLong(bodyBytes);
      return null;
    }
    const bodyStart = this.#start + HEADER_BYTES;
    const body = bodyBytes === 0 ? NO_BODY : this.#block.subarray(bodyStart, bodyStart + bodyBytes);
    requireZeros(this.#block, bodyStart + bodyBytes, this.#start + frameBytes);
    const frame = this.#frame(this.#start, body);
    this.#start += frameBytes;
    this.#lastBody = body;
    return frame;
  }

  #nextLong(block: Uint8Array<ArrayBuffer>): Frame | null {
    const frame = this.#longFrame;
    if (this.#longFilled < block.length || frame === null) return null;
    requireZeros(block, frame.body.length, block.length);
    this.#long = this.#longFrame = null;
    this.#lastBody = frame.body;
    this.#lastBlock = block.buffer;
    return frame;
  }

  /** The header at the block's `#start` is in order, and all behind it in the block belongs to its body. */
  #beginLong(bodyBytes: number): void {
    const long = this.#pool.take(paddedBytes(bodyBytes));
    const arrived = this.#block.subarray(this.#start + HEADER_BYTES, this.#end);
    long.set(arrived);
    this.#long = long;
    this.#longFilled = arrived.length;
    this.#longFrame = this.#frame(this.#start, long.subarray(0, bodyBytes));
    this.#start = this.#end = 0;
  }

  /**
   * Looks at a whole header at once, so that the reason of a refusal does not depend on how the bytes were cut.
   *
   * @returns length of the body
   */
  #checkHeader(at: number): number {
    const view = this.#view;
    const kind = view.getUint8(at + 4);
    const fields = frameFields(kind);
    if (fields < 0 || (this.#allowed !== null && !this.#allowed.has(kind))) {
      throw new FrameError(
        "malformed",
        `cannot read a frame: found kind ${kind}, which is not expected here`,
      );
    }
    const hasUnused = view.getUint8(at + 5) !== 0 ||
      (!(fields & HAS_METHOD) && view.getUint16(at + 6) !== 0) ||
      (!(fields & HAS_ID) && view.getUint32(at + 8) !== 0) ||
      (!(fields & HAS_VALUE) && view.getUint32(at + 12) !== 0);
    if (hasUnused) {
      throw new FrameError(
        "malformed",
        `cannot read a frame of kind ${kind}: found a field that must be zero`,
      );
    }
    const bodyBytes = view.getUint32(at);
    const limit = frameBodyLimit(kind, this.#maxBodyBytes);
    if (bodyBytes > limit) {
      throw new FrameError(
        limit === 0 ? "malformed" : "too_large",
        `cannot read a frame of kind ${kind}: found a body of ${bodyBytes} bytes, accepted are ${limit}`,
      );
    }
    return bodyBytes;
  }

  #frame(at: number, body: Uint8Array<ArrayBuffer>): Frame {
    const view = this.#view;
    return {
      kind: view.getUint8(at + 4),
      method: view.getUint16(at + 6),
      id: view.getUint32(at + 8),
      value: view.getUint32(at + 12),
      body,
    };
  }

  /** A long body that nobody held goes back; views of it are empty from now on. */
  #recycleLast(): void {
    if (this.#lastBlock !== null) this.#pool.give(this.#lastBlock);
    this.#lastBlock = null;
    this.#lastBody = NO_BODY;
  }

  /** Moves the frame that has begun to the front of the block, of a larger one if this one was filled by a read. */
  #makeRoom(): void {
    const wasFilled = this.#end === this.#block.length;
    if (wasFilled && this.#block.length < BLOCK_BYTES) {
      const block = new Uint8Array(BLOCK_BYTES);
      block.set(this.#block.subarray(this.#start, this.#end));
      this.#block = block;
      this.#view = new DataView(block.buffer);
    } else if (this.#start > 0 && this.#start < this.#end) {
      this.#block.copyWithin(0, this.#start, this.#end);
    }
    this.#end -= this.#start;
    this.#start = 0;
  }

  /** Length of the frame being received, as far as it is known. */
  #wantedBytes(): number {
    return this.#end - this.#start < HEADER_BYTES
      ? HEADER_BYTES
      : HEADER_BYTES + paddedBytes(this.#view.getUint32(this.#start));
  }
}

/** One spelling for each frame, and no place to hide anything. */
function requireZeros(bytes: Uint8Array, from: number, to: number): void {
  for (let i = from; i < to; i++) {
    if (bytes[i] !== 0) {
      throw new FrameError("malformed", "cannot read a frame: found padding that is not zero");
    }
  }
}

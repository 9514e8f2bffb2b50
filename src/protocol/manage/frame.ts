/**
 * The frames of a link, between a host or an administrator's program and the server:
 *
 *   | version u8 = 1 | type u8 | flow u8 | length u16 | data, `length` bytes |
 *
 * Numbers are big-endian. What a type allows is checked as soon as its header is there: nothing is kept for a frame
 * that would be refused.
 */

/** The only version of a frame. */
export const FRAME_VERSION = 1;

/** The number of each type. */
export const FRAME_TYPES = {
  /** Flow 0, empty: is anybody there, and the answer to it. */
  heartbeat: 0x00,
  /** purpose u8 | window u32 | parameters: begins a flow. */
  open: 0x01,
  /** window u32 | parameters: takes it. */
  opened: 0x02,
  /** Bytes of a flow, at least one, within its credit. */
  data: 0x03,
  /** u32, not 0: so many bytes more may come. */
  credit: 0x04,
  /** Empty: the sender writes no more. */
  end: 0x05,
  /** code u16 | text, UTF-8: the flow is over at once, or, on flow 0, the link. */
  reset: 0x06,
  /** Flow 0, empty, of the dialling side alone: it has heard what came, see link.ts. Nothing answers it. */
  heard: 0x07,
  /** Flow 0: who wants to prove what, see link_hello.ts. */
  hello: 0x10,
  /** Flow 0: the proof, see link_handshake.ts. */
  prove: 0x11,
} as const;

/** A type that there is. */
export type FrameType = (typeof FRAME_TYPES)[keyof typeof FRAME_TYPES];

/** version 1 | type 1 | flow 1 | length 2. */
export const FRAME_HEADER_BYTES = 1 + 1 + 1 + 2;
/** What a u16 can say. */
export const MAX_FRAME_DATA_BYTES = 0xffff;
/** Longest parameters of an open or opened. */
export const MAX_PARAMETER_BYTES = 4096;
/** Longest text of a reset. */
export const MAX_RESET_TEXT_BYTES = 512;
/** purpose 1 | window 4. */
export const OPEN_HEAD_BYTES = 1 + 4;
/** window 4. */
export const OPENED_HEAD_BYTES = 4;
/** u32. */
export const CREDIT_BYTES = 4;
/** code 2. */
export const RESET_HEAD_BYTES = 2;
/** More than any hello or proof has; their own readers are exact. */
const MAX_HANDSHAKE_BYTES = 256;

/** One frame. */
export interface Frame {
  readonly type: FrameType;
  /** 0 to 255. */
  readonly flow: number;
  /** A view on what the reader was given; good until it is given more. */
  readonly data: Uint8Array;
}

/** What the other side did, as the code of the reset that tells it so. */
export type LinkErrorReason =
  /** A frame of a version that is not known here. */
  | "version"
  /** A frame that is not what the protocol allows at this place. */
  | "malformed";

/** The other side broke the rules; nothing it sends can be believed to mean what it says, and the link is closed. */
export class LinkError extends Error {
  /** What kind of rule. */
  readonly reason: LinkErrorReason;

  /** Makes one; the message says what was found and what is accepted. */
  constructor(reason: LinkErrorReason, message: string) {
    super(message);
    this.name = "LinkError";
    this.reason = reason;
  }
}

interface TypeRule {
  readonly name: string;
  readonly leastBytes: number;
  readonly mostBytes: number;
  /** Where it may be: flow 0 is the link's own. */
  readonly place: "link" | "flow" | "both";
}

const RULES: readonly (TypeRule | undefined)[] = rulesByType({
  heartbeat: [0, 0, "link"],
  open: [OPEN_HEAD_BYTES, OPEN_HEAD_BYTES + MAX_PARAMETER_BYTES, "flow"],
  opened: [OPENED_HEAD_BYTES, OPENED_HEAD_BYTES + MAX_PARAMETER_BYTES, "flow"],
  data: [1, MAX_FRAME_DATA_BYTES, "flow"],
  credit: [CREDIT_BYTES, CREDIT_BYTES, "flow"],
  end: [0, 0, "flow"],
  reset: [RESET_HEAD_BYTES, RESET_HEAD_BYTES + MAX_RESET_TEXT_BYTES, "both"],
  heard: [0, 0, "link"],
  hello: [1, MAX_HANDSHAKE_BYTES, "link"],
  prove: [1, MAX_HANDSHAKE_BYTES, "link"],
});

function rulesByType(
  rules: Record<keyof typeof FRAME_TYPES, readonly [number, number, TypeRule["place"]]>,
): (TypeRule | undefined)[] {
  const byType: (TypeRule | undefined)[] = new Array(0x100).fill(undefined);
  for (const [name, number] of Object.entries(FRAME_TYPES)) {
    const [leastBytes, mostBytes, place] = rules[name as keyof typeof FRAME_TYPES];
    byType[number] = { name, leastBytes, mostBytes, place };
  }
  return byType;
}

/** Writes a header. */
export function writeFrameHeader(
  target: Uint8Array,
  at: number,
  type: FrameType,
  flow: number,
  dataBytes: number,
): void {
  target[at] = FRAME_VERSION;
  target[at + 1] = type;
  target[at + 2] = flow;
  target[at + 3] = dataBytes >>> 8;
  target[at + 4] = dataBytes;
}

/**
 * Writes a frame, without a look at whether its type allows this data.
 *
 * @throws {RangeError} if the data is longer than `MAX_FRAME_DATA_BYTES` or the flow is no byte
 */
export function encodeFrame(type: FrameType, flow: number, data: Uint8Array): Uint8Array<ArrayBuffer> {
  if (data.length > MAX_FRAME_DATA_BYTES) {
    throw new RangeError(
      `cannot write a frame: found ${data.length} bytes of data, accepted are ${MAX_FRAME_DATA_BYTES}`,
    );
  }
  if (!Number.isInteger(flow) || flow < 0 || flow > 0xff) {
    throw new RangeError(`cannot write a frame: found the flow ${flow}, accepted are 0 to 255`);
  }
  const frame = new Uint8Array(FRAME_HEADER_BYTES + data.length);
  writeFrameHeader(frame, 0, type, flow, data.length);
  frame.set(data, FRAME_HEADER_BYTES);
  return frame;
}

const NOTHING = new Uint8Array(0);

/** What a reader keeps to. */
export interface FrameReaderOptions {
  /** Longest data of any frame, where that is to be less than what the type allows: before a proof, for example. */
  readonly maxDataBytes?: number;
}

/** Cuts a stream of bytes into frames, however it arrives. */
export class FrameReader {
  readonly #maxDataBytes: number;
  /** Given and not read: from `#at` on. */
  #bytes: Uint8Array = NOTHING;
  #at = 0;
  /** The beginning of a frame that arrives in parts, `#heldBytes` of it; as long as the frame once its header is there. */
  #held: Uint8Array<ArrayBuffer> = NOTHING;
  #heldBytes = 0;

  /** Makes one for a stream. */
  constructor(options: FrameReaderOptions = {}) {
    this.#maxDataBytes = options.maxDataBytes ?? MAX_FRAME_DATA_BYTES;
  }

  /**
   * Takes the next bytes and gives what is complete.
   *
   * @param maxFrames how many at most; the bytes behind them wait for the next call, or for `rest`
   * @throws {LinkError} if the first thing that comes is no frame; where frames came before it, they are given, and
   * the next call throws
   */
  push(bytes: Uint8Array, maxFrames = Infinity): Frame[] {
    this.feed(bytes);
    const frames: Frame[] = [];
    try {
      while (frames.length < maxFrames) {
        const frame = this.next();
        if (frame === null) break;
        frames.push(frame);
      }
    } catch (error) {
      if (frames.length === 0) throw error;
    }
    return frames;
  }

  /** Takes the next bytes; they are looked at until `next` gives null. */
  feed(bytes: Uint8Array): void {
    this.#bytes = this.#at < this.#bytes.length ? joined(this.#bytes.subarray(this.#at), bytes) : bytes;
    this.#at = 0;
  }

  /**
   * Gives the next frame; null when there is no complete one.
   *
   * @throws {LinkError} if what comes is no frame; again with each further call
   */
  next(): Frame | null {
    if (this.#heldBytes > 0) return this.#nextHeld();
    const bytes = this.#bytes, at = this.#at;
    const waiting = bytes.length - at;
    if (waiting < FRAME_HEADER_BYTES) return this.#hold(FRAME_HEADER_BYTES);
    const frameBytes = this.#frameBytes(bytes, at);
    if (waiting < frameBytes) return this.#hold(frameBytes);
    this.#at = at + frameBytes;
    return frameOf(bytes, at, frameBytes);
  }

  /** What was given and belongs to no frame that came out, for whoever reads on. */
  rest(): Uint8Array<ArrayBuffer> {
    return joined(this.#held.subarray(0, this.#heldBytes), this.#bytes.subarray(this.#at));
  }

  /** Keeps what is there, with room for so many bytes. */
  #hold(frameBytes: number): null {
    const part = this.#bytes.subarray(this.#at);
    if (part.length > 0) {
      this.#held = new Uint8Array(frameBytes);
      this.#held.set(part);
      this.#heldBytes = part.length;
    }
    this.#bytes = NOTHING;
    this.#at = 0;
    return null;
  }

  #nextHeld(): Frame | null {
    if (!this.#fillHeld(FRAME_HEADER_BYTES)) return null;
    const frameBytes = this.#frameBytes(this.#held, 0);
    if (!this.#fillHeld(frameBytes)) return null;
    const frame = frameOf(this.#held, 0, frameBytes);
    this.#held = NOTHING;
    this.#heldBytes = 0;
    return frame;
  }

  /** Moves bytes over until the frame that is held has so many; whether it has. */
  #fillHeld(untilBytes: number): boolean {
    if (this.#held.length < untilBytes) {
      const longer = new Uint8Array(untilBytes);
      longer.set(this.#held.subarray(0, this.#heldBytes));
      this.#held = longer;
    }
    const missing = untilBytes - this.#heldBytes;
    if (missing <= 0) return true;
    const part = this.#bytes.subarray(this.#at, this.#at + missing);
    this.#held.set(part, this.#heldBytes);
    this.#heldBytes += part.length;
    this.#at += part.length;
    return part.length === missing;
  }

  /** Length of the frame that begins there, after a look at its header. */
  #frameBytes(bytes: Uint8Array, at: number): number {
    const version = bytes[at] ?? 0, type = bytes[at + 1] ?? 0, flow = bytes[at + 2] ?? 0;
    const dataBytes = (bytes[at + 3] ?? 0) << 8 | (bytes[at + 4] ?? 0);
    if (version !== FRAME_VERSION) {
      throw new LinkError(
        "version",
        `cannot read a frame: found version ${version}, accepted is ${FRAME_VERSION}`,
      );
    }
    const rule = RULES[type];
    if (rule === undefined) throw malformed(`found type ${type}, which there is not`);
    if (rule.place !== "both" && (rule.place === "link") !== (flow === 0)) {
      throw malformed(
        `found ${rule.name} on flow ${flow}, accepted is ${rule.place === "link" ? "0" : "1 to 255"}`,
      );
    }
    const mostBytes = Math.min(rule.mostBytes, this.#maxDataBytes);
    if (dataBytes < rule.leastBytes || dataBytes > mostBytes) {
      throw malformed(
        `found ${rule.name} with ${dataBytes} bytes of data, accepted are ${rule.leastBytes} to ${mostBytes}`,
      );
    }
    return FRAME_HEADER_BYTES + dataBytes;
  }
}

function frameOf(bytes: Uint8Array, at: number, frameBytes: number): Frame {
  return {
    // Looked up before.
    type: bytes[at + 1] as FrameType,
    flow: bytes[at + 2] ?? 0,
    data: bytes.subarray(at + FRAME_HEADER_BYTES, at + frameBytes),
  };
}

function malformed(found: string): LinkError {
  return new LinkError("malformed", `cannot read a frame: ${found}`);
}

function joined(first: Uint8Array, second: Uint8Array): Uint8Array<ArrayBuffer> {
  const both = new Uint8Array(first.length + second.length);
  both.set(first);
  both.set(second, first.length);
  return both;
}

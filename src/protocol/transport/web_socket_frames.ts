/**
 * The frames of RFC 6455 as a server reads and writes them. Binary messages are bytes of a stream, so they are given
 * on as they come and never put together; text messages are control of at most `MAX_CONTROL_BYTES`.
 */
import { MAX_CONTROL_BYTES, WINDOW_BYTES } from "./message_connection.ts";

const OPCODES = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;

/** RFC 6455 section 7.4.1: why the server closes. */
export const CLOSE_NORMAL = 1000,
  CLOSE_PROTOCOL_ERROR = 1002;

const FINAL = 0x80, RESERVED = 0x70, OPCODE = 0x0f, MASKED = 0x80, SHORT_LENGTH = 0x7f;
const LENGTH_IN_16_BITS = 126, LENGTH_IN_64_BITS = 127;
const MASK_BYTES = 4;
const MAX_CONTROL_FRAME_BYTES = 125;
/** First two bytes, a length of 64 bits, the mask. */
const MAX_HEADER_BYTES = 2 + 8 + MASK_BYTES;

/** What arrives. What is handed over is valid only until the call returns. */
export interface FrameEvents {
  /** A part of a binary message. */
  bytes(part: Uint8Array): void;
  /** A text message; the characters of bytes that are not ASCII are of no meaning here. */
  text(message: string): void;
  ping(payload: Uint8Array): void;
  /** The client ends the connection; nothing is read after it. */
  close(): void;
  /** These are not frames of a client that keeps the rules; nothing is read after it. */
  violation(what: string): void;
}

/** Reads what a client sends, in parts of any size. */
export class ClientFrameReader {
  readonly #events: FrameEvents;
  readonly #header = new Uint8Array(MAX_HEADER_BYTES);
  #headerBytes = 0;
  readonly #mask = new Uint8Array(MASK_BYTES);
  /** Of the frame whose payload is being read: its first byte, and how much is there and missing. */
  #first = 0;
  #payloadBytes = 0;
  #missingBytes = 0;
  /** Kind of the message that goes on in the next frame. */
  #message: "none" | "text" | "binary" = "none";
  /** Whether that message had no payload yet. */
  #isEmpty = true;
  /** Payloads that are put together: a text message over all its frames, a ping. */
  readonly #text = new Uint8Array(MAX_CONTROL_BYTES);
  #textBytes = 0;
  readonly #ping = new Uint8Array(MAX_CONTROL_FRAME_BYTES);
  #isOver = false;

  /** Makes a reader at the beginning of the first frame. */
  constructor(events: FrameEvents) {
    this.#events = events;
  }

  /** Whether a header has come, and nothing yet of the payload it promises. */
  get awaitsPayload(): boolean {
    return this.#missingBytes > 0 && this.#missingBytes === this.#payloadBytes;
  }

  /** Reads a part, and unmasks payloads where they lie. */
  read(part: Uint8Array): void {
    let offset = 0;
    while (offset < part.length && !this.#isOver) {
      if (this.#missingBytes === 0) offset = this.#readHeader(part, offset);
      else {
        const end = Math.min(part.length, offset + this.#missingBytes);
        this.#readPayload(part.subarray(offset, end));
        offset = end;
      }
    }
  }

  #readHeader(part: Uint8Array, offset: number): number {
    while (offset < part.length) {
      this.#header[this.#headerBytes++] = part[offset++] ?? 0;
      if (this.#headerBytes < 2 || this.#headerBytes < headerLength(this.#header)) continue;
      this.#headerBytes = 0;
      this.#begin();
      break;
    }
    return offset;
  }

  #begin(): void {
    const header = this.#header, view = new DataView(header.buffer);
    const [first = 0, second = 0] = header;
    const short = second & SHORT_LENGTH;
    let length = short;
    if (short === LENGTH_IN_16_BITS) length = view.getUint16(2);
    if (short === LENGTH_IN_64_BITS) length = Number(view.getBigUint64(2));
    this.#mask.set(header.subarray(headerLength(header) - MASK_BYTES, headerLength(header)));

    const opcode = first & OPCODE;
    const isControl = opcode >= OPCODES.close;
    if ((second & MASKED) === 0) return this.#violated("a frame without mask");
    if ((first & RESERVED) !== 0) return this.#violated("a frame with reserved bits");
    if (isControl && (length > MAX_CONTROL_FRAME_BYTES || (first & FINAL) === 0)) {
      return this.#violated("a control frame that is long or in parts");
    }
    if (isControl ? opcode > OPCODES.pong : !this.#continues(opcode)) {
      return this.#violated("a frame of no kind or out of order");
    }
    // Refused before its bytes come: the window is no longer.
    if (length > WINDOW_BYTES) return this.#violated("a frame longer than it was allowed to send");
    if (this.#message === "text" && !isControl && this.#textBytes + length > MAX_CONTROL_BYTES) {
      return this.#violated("a text that is no control");
    }
    this.#first = first;
    this.#payloadBytes = this.#missingBytes = length;
    if (length === 0) this.#finish();
  }

  /** Whether a data frame of that kind may come now; if so, its message is the one under way. */
  #continues(opcode: number): boolean {
    if (opcode === OPCODES.continuation) return this.#message !== "none";
    if (this.#message !== "none") return false;
    if (opcode !== OPCODES.text && opcode !== OPCODES.binary) return false;
    this.#message = opcode === OPCODES.text ? "text" : "binary";
    this.#isEmpty = true;
    return true;
  }

  #readPayload(part: Uint8Array): void {
    const before = this.#payloadBytes - this.#missingBytes;
    unmask(part, this.#mask, before);
    this.#missingBytes -= part.length;
    const opcode = this.#first & OPCODE;
    if (opcode === OPCODES.ping) this.#ping.set(part, before);
    else if (opcode < OPCODES.close) {
      this.#isEmpty = false;
      if (this.#message === "binary") this.#events.bytes(part);
      else {
        this.#text.set(part, this.#textBytes);
        this.#textBytes += part.length;
      }
    }
    if (this.#missingBytes === 0) this.#finish();
  }

  #finish(): void {
    switch (this.#first & OPCODE) {
      case OPCODES.close:
        this.#isOver = true;
        return this.#events.close();
      case OPCODES.ping:
        return this.#events.ping(this.#ping.subarray(0, this.#payloadBytes));
      case OPCODES.pong:
        return;
    }
    if ((this.#first & FINAL) === 0) return;
    const message = this.#message;
    this.#message = "none";
    if (message === "binary") return this.#isEmpty ? this.#violated("an empty message") : undefined;
    const text = String.fromCharCode(...this.#text.subarray(0, this.#textBytes));
    this.#textBytes = 0;
    this.#events.text(text);
  }

  #violated(what: string): void {
    this.#isOver = true;
    this.#events.violation(what);
  }
}

/** Length of a header whose first two bytes are there. */
function headerLength(header: Uint8Array): number {
  const second = header[1] ?? 0;
  const short = second & SHORT_LENGTH;
  const lengthBytes = short === LENGTH_IN_16_BITS ? 2 : short === LENGTH_IN_64_BITS ? 8 : 0;
  return 2 + lengthBytes + ((second & MASKED) === 0 ? 0 : MASK_BYTES);
}

/** Takes the mask off, in place. `before` payload bytes came before these. */
function unmask(part: Uint8Array, mask: Uint8Array, before: number): void {
  let index = 0;
  const single = (end: number): void => {
    for (; index < end; index++) part[index] = (part[index] ?? 0) ^ (mask[(before + index) & 3] ?? 0);
  };
  // Four bytes at once from the first that is aligned in memory; the mask is turned to begin there.
  single(Math.min(part.length, -part.byteOffset & 3));
  const words = (part.length - index) >> 2;
  // A view of nothing, too, would have to be aligned.
  if (words === 0) return single(part.length);
  const turned = Uint8Array.from(mask, (_, byte) => mask[(before + index + byte) & 3] ?? 0);
  const [word = 0] = new Int32Array(turned.buffer);
  const view = new Int32Array(part.buffer, part.byteOffset + index, words);
  for (let each = 0; each < words; each++) view[each] = (view[each] ?? 0) ^ word;
  index += words * 4;
  single(part.length);
}

/** A header of the server's: one frame is one message, and has no mask. */
function serverHeader(opcode: number, length: number): Uint8Array<ArrayBuffer> {
  if (length < LENGTH_IN_16_BITS) return Uint8Array.of(FINAL | opcode, length);
  const isShort = length < 2 ** 16;
  const header = new Uint8Array(2 + (isShort ? 2 : 8));
  const view = new DataView(header.buffer);
  header[0] = FINAL | opcode;
  header[1] = isShort ? LENGTH_IN_16_BITS : LENGTH_IN_64_BITS;
  if (isShort) view.setUint16(2, length);
  else view.setBigUint64(2, BigInt(length));
  return header;
}

function serverFrame(opcode: number, payload: Uint8Array): Uint8Array<ArrayBuffer> {
  const header = serverHeader(opcode, payload.length);
  const frame = new Uint8Array(header.length + payload.length);
  frame.set(header);
  frame.set(payload, header.length);
  return frame;
}

/** What stands before the bytes of a binary message. */
export function binaryHeader(length: number): Uint8Array<ArrayBuffer> {
  return serverHeader(OPCODES.binary, length);
}

/** A text message. */
export function textFrame(text: string): Uint8Array<ArrayBuffer> {
  return serverFrame(OPCODES.text, new TextEncoder().encode(text));
}

/** The answer to a ping. */
export function pongFrame(payload: Uint8Array): Uint8Array<ArrayBuffer> {
  return serverFrame(OPCODES.pong, payload);
}

/** The server's last frame. */
export function closeFrame(code: number): Uint8Array<ArrayBuffer> {
  return serverFrame(OPCODES.close, Uint8Array.of(code >> 8, code & 0xff));
}

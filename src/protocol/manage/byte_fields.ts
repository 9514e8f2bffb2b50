/** Runs of bytes put one behind the other and taken apart again: what every message of this protocol is made of. */
import { ResetError } from "./reset_code.ts";

const encoder = new TextEncoder();
const ASCII = /^[\x20-\x7e]*$/;
const MAX_U8 = 0xff;

/** Text of ASCII as bytes. */
export function ascii(text: string): Uint8Array<ArrayBuffer> {
  return encoder.encode(text);
}

/** A number below 256 as 1 byte. */
export function u8(number: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.of(number);
}

/** As 2 bytes, big-endian. */
export function u16(number: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(2);
  new DataView(bytes.buffer).setUint16(0, number);
  return bytes;
}

/** As 4 bytes, big-endian. */
export function u32(number: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, number);
  return bytes;
}

/** A whole number from 0 on as 8 bytes, big-endian. */
export function u64(number: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(number));
  return bytes;
}

/**
 * Text of ASCII behind its length in 1 byte.
 *
 * @throws {TypeError} if it is not ASCII that can be printed, or longer than 255 characters
 */
export function shortText(text: string): Uint8Array<ArrayBuffer> {
  if (text.length > MAX_U8 || !ASCII.test(text)) {
    throw new TypeError(`cannot write a text: accepted are at most ${MAX_U8} characters of printable ASCII`);
  }
  return joinBytes(u8(text.length), ascii(text));
}

/** All of them, one behind the other, in memory of their own. */
export function joinBytes(...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** Takes bytes apart, from the first to the last. Every way to fail is one `ResetError` "malformed". */
export class FieldReader {
  readonly #bytes: Uint8Array;
  readonly #what: string;
  #at = 0;

  /**
   * Begins at the first byte.
   *
   * @param what names it in errors, such as "an open"
   */
  constructor(bytes: Uint8Array, what: string) {
    this.#bytes = bytes;
    this.#what = what;
  }

  /** How many were taken. */
  get at(): number {
    return this.#at;
  }

  /** The next bytes; a copy. */
  take(length: number): Uint8Array<ArrayBuffer> {
    if (length > this.#bytes.length - this.#at) throw this.malformed("it ends too early");
    const taken = new Uint8Array(this.#bytes.subarray(this.#at, this.#at + length));
    this.#at += length;
    return taken;
  }

  /** The next byte. */
  u8(): number {
    return this.take(1)[0] ?? 0;
  }

  /** The next 2 bytes. */
  u16(): number {
    return new DataView(this.take(2).buffer).getUint16(0);
  }

  /** The next 4 bytes. */
  u32(): number {
    return new DataView(this.take(4).buffer).getUint32(0);
  }

  /** The next 8 bytes; a number that is exact. */
  u64(): number {
    const number = new DataView(this.take(8).buffer).getBigUint64(0);
    if (number > BigInt(Number.MAX_SAFE_INTEGER)) throw this.malformed("a number in it is too large");
    return Number(number);
  }

  /** Text of printable ASCII behind its length in 1 byte. */
  shortText(): string {
    const text = String.fromCharCode(...this.take(this.u8()));
    if (!ASCII.test(text)) throw this.malformed("a text in it is not printable ASCII");
    return text;
  }

  /** Everything that is left; a copy. */
  rest(): Uint8Array<ArrayBuffer> {
    return this.take(this.#bytes.length - this.#at);
  }

  /** @throws {ResetError} "malformed" if something is left */
  requireEnd(): void {
    if (this.#at !== this.#bytes.length) throw this.malformed("bytes are left behind it");
  }

  /** What is thrown; for what only the caller can find wrong. */
  malformed(found: string): ResetError {
    return new ResetError("malformed", "here", `cannot read ${this.#what}: ${found}`);
  }
}

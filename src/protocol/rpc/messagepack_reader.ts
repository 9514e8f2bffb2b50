/**
 * MessagePack to values; see messagepack_codec.ts for what is read. Ours because a body may be hostile: the usual
 * library goes to any depth, sets memory aside for as many elements as a head of five bytes claims, and gives out
 * binary data that lies in the receive buffer.
 */
import { CodecError, MAX_DEPTH } from "./codec.ts";
import { ShortTexts } from "./short_texts.ts";
import { readText } from "./utf8.ts";

const TIMESTAMP_TYPE = -1;
const MAX_NANOSECONDS = 999_999_999;

/** Keys come again and again, of the same few; all bodies share it. */
const keyTexts = new ShortTexts();

/** Reads one value. */
export class MessagePackReader {
  readonly #bytes: Uint8Array<ArrayBuffer>;
  readonly #view: DataView;
  #at = 0;

  /** Begins at the first byte. */
  constructor(bytes: Uint8Array<ArrayBuffer>) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  /**
   * Reads a value.
   *
   * @param depth of arrays and maps around it
   * @throws {CodecError} if there is none, it is too deep or not complete
   */
  value(depth: number): unknown {
    const head = this.#uint(1);
    if (head < 0x80) return head;
    if (head >= 0xe0) return head - 0x100;
    if (head < 0x90) return this.#map(head & 0x0f, depth);
    if (head < 0xa0) return this.#array(head & 0x0f, depth);
    if (head < 0xc0) return this.#text(head & 0x1f);
    switch (head) {
      case 0xc0:
        return null;
      case 0xc2:
        return false;
      case 0xc3:
        return true;
      case 0xc4:
      case 0xc5:
      case 0xc6:
        return this.#take(this.#uint(1 << head - 0xc4)).slice();
      case 0xc7:
        return this.#date(this.#uint(1));
      case 0xca:
        return this.#number(4, (at) => this.#view.getFloat32(at));
      case 0xcb:
        return this.#number(8, (at) => this.#view.getFloat64(at));
      case 0xcc:
      case 0xcd:
      case 0xce:
        return this.#uint(1 << head - 0xcc);
      case 0xcf:
        return this.#number(8, (at) => this.#view.getBigUint64(at));
      case 0xd0:
        return this.#number(1, (at) => this.#view.getInt8(at));
      case 0xd1:
        return this.#number(2, (at) => this.#view.getInt16(at));
      case 0xd2:
        return this.#number(4, (at) => this.#view.getInt32(at));
      case 0xd3:
        return this.#number(8, (at) => this.#view.getBigInt64(at));
      case 0xd6:
        return this.#date(4);
      case 0xd7:
        return this.#date(8);
      case 0xd9:
      case 0xda:
      case 0xdb:
        return this.#text(this.#uint(1 << head - 0xd9));
      case 0xdc:
      case 0xdd:
        return this.#array(this.#uint(head === 0xdc ? 2 : 4), depth);
      case 0xde:
      case 0xdf:
        return this.#map(this.#uint(head === 0xde ? 2 : 4), depth);
      default:
        throw new CodecError(
          `cannot read MessagePack: found a head 0x${head.toString(16)} that is not supported`,
        );
    }
  }

  /** @throws {CodecError} if something follows what was read */
  requireEnd(): void {
    if (this.#at !== this.#bytes.length) {
      throw new CodecError("cannot read MessagePack: found more than one value");
    }
  }

  #array(length: number, depth: number): unknown[] {
    requireDepth(depth);
    const array: unknown[] = []; // grows with what is really there, whatever the length says
    for (let i = 0; i < length; i++) array.push(this.value(depth + 1));
    return array;
  }

  #map(length: number, depth: number): Record<string, unknown> {
    requireDepth(depth);
    const map: Record<string, unknown> = {};
    for (let i = 0; i < length; i++) {
      const key = this.#key();
      if (key === "__proto__") throw new CodecError('cannot read MessagePack: found a key "__proto__"');
      map[key] = this.value(depth + 1);
    }
    return map;
  }

  #key(): string {
    const head = this.#uint(1);
    if (head >= 0xa0 && head < 0xc0) return this.#text(head & 0x1f, keyTexts);
    if (head < 0xd9 || head > 0xdb) {
      throw new CodecError("cannot read MessagePack: found a key that is no text");
    }
    return this.#text(this.#uint(1 << head - 0xd9));
  }

  #text(length: number, known: ShortTexts | null = null): string {
    const at = this.#advance(length);
    try {
      return known === null
        ? readText(this.#bytes.subarray(at, at + length))
        : known.text(this.#bytes, at, length);
    } catch (cause) {
      throw new CodecError("cannot read MessagePack: found a text that is no UTF-8", { cause });
    }
  }

  #date(length: number): Date {
    if (this.#number(1, (at) => this.#view.getInt8(at)) !== TIMESTAMP_TYPE) {
      throw new CodecError("cannot read MessagePack: found an extension that is no timestamp");
    }
    let seconds: number, nanoseconds = 0;
    if (length === 4) {
      seconds = this.#uint(4);
    } else if (length === 8) {
      const bits = this.#number(8, (at) => this.#view.getBigUint64(at));
      seconds = Number(bits & 0x3ffffffffn);
      nanoseconds = Number(bits >> 34n);
    } else if (length === 12) {
      nanoseconds = this.#uint(4);
      seconds = Number(this.#number(8, (at) => this.#view.getBigInt64(at)));
    } else {
      throw new CodecError(
        `cannot read MessagePack: found a timestamp of ${length} bytes, accepted are 4, 8 and 12`,
      );
    }
    const date = new Date(seconds * 1000 + Math.floor(nanoseconds / 1_000_000));
    if (nanoseconds > MAX_NANOSECONDS || Number.isNaN(date.getTime())) {
      throw new CodecError("cannot read MessagePack: found a timestamp that no Date can hold");
    }
    return date;
  }

  /** An unsigned number of 1, 2 or 4 bytes. */
  #uint(bytes: number): number {
    const at = this.#advance(bytes);
    return bytes === 1
      ? this.#view.getUint8(at)
      : bytes === 2
      ? this.#view.getUint16(at)
      : this.#view.getUint32(at);
  }

  #number<T>(bytes: number, read: (at: number) => T): T {
    return read(this.#advance(bytes));
  }

  #take(bytes: number): Uint8Array<ArrayBuffer> {
    const at = this.#advance(bytes);
    return this.#bytes.subarray(at, at + bytes);
  }

  #advance(bytes: number): number {
    const at = this.#at;
    if (bytes > this.#bytes.length - at) throw incomplete();
    this.#at = at + bytes;
    return at;
  }
}

function requireDepth(depth: number): void {
  if (depth >= MAX_DEPTH) {
    throw new CodecError(`cannot read MessagePack: found a depth of more than ${MAX_DEPTH}`);
  }
}

function incomplete(): CodecError {
  return new CodecError("cannot read MessagePack: it is not complete");
}

/** Values to MessagePack; see messagepack_codec.ts for what has a form. */
import { CodecError, LONG_BODY_BYTES, MAX_DEPTH } from "./codec.ts";
import { writeText } from "./utf8.ts";

/** Head byte and the longest number. */
const MAX_HEAD_BYTES = 1 + 8;
const UTF8_BYTES_PER_UNIT = 3;
const TIMESTAMP_TYPE = -1;
const MIN_INT32 = -0x80000000, MAX_UINT32 = 0xffffffff;
const MIN_INT64 = -(2n ** 63n), MAX_UINT64 = 2n ** 64n - 1n;

const encoder = new TextEncoder();

/** Writes one value. */
export class MessagePackWriter {
  #bytes: Uint8Array<ArrayBuffer>;
  #view: DataView;
  #at = 0;

  /** Writes into the given memory as long as it suffices. */
  constructor(memory: Uint8Array<ArrayBuffer>) {
    this.#bytes = memory;
    this.#view = new DataView(memory.buffer);
  }

  /** What was written. */
  written(): Uint8Array<ArrayBuffer> {
    return this.#bytes.subarray(0, this.#at);
  }

  /**
   * Writes a value.
   *
   * @param depth of arrays and maps around it
   * @throws {CodecError} if it has no form, or is too deep
   */
  value(value: unknown, depth: number): void {
    this.#reserve(MAX_HEAD_BYTES);
    switch (typeof value) {
      case "string":
        return this.#text(value);
      case "number":
        return this.#number(value);
      case "boolean":
        return this.#u8(value ? 0xc3 : 0xc2);
      case "bigint":
        return this.#bigint(value);
      case "undefined": // an element of an array: as in JSON
        return this.#u8(0xc0);
      case "object":
        return value === null ? this.#u8(0xc0) : this.#object(value, depth);
      default:
        throw new CodecError(`cannot write a value as MessagePack: found a ${typeof value}`);
    }
  }

  #object(value: object, depth: number): void {
    if (value instanceof Uint8Array) return this.#binary(value);
    if (value instanceof Date) return this.#date(value);
    if (depth >= MAX_DEPTH) {
      throw new CodecError(`cannot write a value as MessagePack: found a depth of more than ${MAX_DEPTH}`);
    }
    if (Array.isArray(value)) {
      this.#length(value.length, 0x90, 16, 0, 0xdc);
      for (let i = 0; i < value.length; i++) this.value(value[i], depth + 1);
      return;
    }
    const prototype = Object.getPrototypeOf(value);
    if (prototype !== Object.prototype && prototype !== null) {
      throw new CodecError(
        "cannot write a value as MessagePack: found an object of a class, accepted are plain objects, arrays, Uint8Array and Date",
      );
    }
    this.#map(value as Record<string, unknown>, depth);
  }

  #map(value: Record<string, unknown>, depth: number): void {
    const keys = Object.keys(value), items = keys.map((key) => value[key]); // each is asked for once
    let defined = 0;
    for (const item of items) defined += item === undefined ? 0 : 1;
    this.#length(defined, 0x80, 16, 0, 0xde);
    for (let i = 0; i < keys.length; i++) {
      const key = keys[i], item = items[i];
      if (key === undefined || item === undefined) continue;
      if (key === "__proto__") {
        throw new CodecError('cannot write a value as MessagePack: found a key "__proto__"');
      }
      this.#reserve(MAX_HEAD_BYTES);
      this.#text(key);
      this.value(item, depth + 1);
    }
  }

  #text(text: string): void {
    if (text.length >= LONG_BODY_BYTES) return this.#longText(encoder.encode(text));
    const most = text.length * UTF8_BYTES_PER_UNIT;
    this.#reserve(MAX_HEAD_BYTES + most);
    // The head lies before the text but its length depends on it: written where a head for the longest would end.
    const headAt = this.#at, bodyAt = headAt + MAX_HEAD_BYTES;
    const bytes = writeText(text, this.#bytes, bodyAt);
    this.#length(bytes, 0xa0, 32, 0xd9, 0xda);
    this.#bytes.copyWithin(this.#at, bodyAt, bodyAt + bytes);
    this.#at += bytes;
  }

  /** Three bytes for each of so many units would be too much to set aside. */
  #longText(bytes: Uint8Array): void {
    this.#reserve(MAX_HEAD_BYTES + bytes.length);
    this.#length(bytes.length, 0xa0, 32, 0xd9, 0xda);
    this.#bytes.set(bytes, this.#at);
    this.#at += bytes.length;
  }

  #binary(value: Uint8Array): void {
    this.#reserve(MAX_HEAD_BYTES + value.length);
    this.#length(value.length, 0, 0, 0xc4, 0xc5);
    this.#bytes.set(value, this.#at);
    this.#at += value.length;
  }

  /**
   * Writes a head with a length, in the shortest form.
   *
   * @param shortHead plus the length is the head where that is below `shortLimit`
   * @param head8 with a byte behind it; 0: there is no such form
   * @param head16 with two; the next number is the head with four
   */
  #length(length: number, shortHead: number, shortLimit: number, head8: number, head16: number): void {
    if (length < shortLimit) return this.#u8(shortHead + length);
    if (length <= 0xff && head8 !== 0) {
      this.#u8(head8);
      this.#u8(length);
    } else if (length <= 0xffff) {
      this.#u8(head16);
      this.#view.setUint16(this.#at, length);
      this.#at += 2;
    } else {
      this.#u8(head16 + 1);
      this.#u32(length);
    }
  }

  #number(value: number): void {
    if (!Number.isInteger(value) || value < MIN_INT32 || value > MAX_UINT32 || Object.is(value, -0)) {
      this.#u8(0xcb);
      this.#view.setFloat64(this.#at, value);
      this.#at += 8;
    } else if (value >= 0) {
      if (value > 0x7f && value <= 0xff) this.#u8(0xcc);
      this.#integer(value, 0x7f, 0xff, 0xffff, 0xcd);
    } else {
      if (value < -0x20 && value >= -0x80) this.#u8(0xd0);
      this.#integer(value, -0x20, -0x80, -0x8000, 0xd1);
    }
  }

  /** Writes the bits of a number; negative and positive ones alike, as `setUint` takes them modulo. */
  #integer(value: number, fixLimit: number, limit8: number, limit16: number, head16: number): void {
    const size = Math.abs(value);
    if (size <= Math.abs(fixLimit) || size <= Math.abs(limit8)) return this.#u8(value);
    if (size <= Math.abs(limit16)) {
      this.#u8(head16);
      this.#view.setUint16(this.#at, value);
      this.#at += 2;
    } else {
      this.#u8(head16 + 1);
      this.#u32(value);
    }
  }

  #bigint(value: bigint): void {
    if (value < MIN_INT64 || value > MAX_UINT64) {
      throw new CodecError("cannot write a value as MessagePack: found a bigint of more than 64 bits");
    }
    this.#u8(value < 0n ? 0xd3 : 0xcf);
    this.#view.setBigUint64(this.#at, value);
    this.#at += 8;
  }

  /** Seconds and nanoseconds in the shortest of the three forms. */
  #date(value: Date): void {
    const ms = value.getTime();
    if (Number.isNaN(ms)) throw new CodecError("cannot write a value as MessagePack: found an invalid Date");
    const seconds = Math.floor(ms / 1000), nanoseconds = (ms - seconds * 1000) * 1_000_000;
    this.#reserve(16);
    if (seconds >= 0 && seconds <= MAX_UINT32 && nanoseconds === 0) {
      this.#u8(0xd6);
      this.#u8(TIMESTAMP_TYPE);
      this.#u32(seconds);
    } else if (seconds >= 0 && seconds < 2 ** 34) {
      this.#u8(0xd7);
      this.#u8(TIMESTAMP_TYPE);
      this.#view.setBigUint64(this.#at, BigInt(nanoseconds) << 34n | BigInt(seconds));
      this.#at += 8;
    } else {
      this.#u8(0xc7);
      this.#u8(12);
      this.#u8(TIMESTAMP_TYPE);
      this.#u32(nanoseconds);
      this.#view.setBigInt64(this.#at, BigInt(seconds));
      this.#at += 8;
    }
  }

  #u8(value: number): void {
    this.#bytes[this.#at++] = value;
  }

  #u32(value: number): void {
    this.#view.setUint32(this.#at, value);
    this.#at += 4;
  }

  #reserve(bytes: number): void {
    const needed = this.#at + bytes;
    if (needed <= this.#bytes.length) return;
    const larger = new Uint8Array(Math.max(needed, 2 * this.#bytes.length));
    larger.set(this.written());
    this.#bytes = larger;
    this.#view = new DataView(larger.buffer);
  }
}

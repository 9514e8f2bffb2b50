/**
 * The floors file, byte for byte as ruroco writes its `blocklist.msgpck`, so that an upgrade in either direction
 * keeps its replay floors (`docs/wire-formats.md`). It is MessagePack, but of one shape only:
 *
 * ```
 * 91                      array of 1: the struct
 *   8n | de nnnn | df nnnnnnnn           map of n entries, shortest form
 *     98 b b b b b b b b  key id: array of 8 numbers, each 00..7f, or cc and 80..ff
 *     c4 10 <16 bytes>    floor: u128, big-endian
 * ```
 *
 * Reader and writer are ours because the shape is too strict for a library: a library would accept a second
 * spelling of a number or a second entry for one key id, and a floor read wrongly is a packet that runs twice.
 * What this reader accepts, the writer gives back byte for byte.
 */
import { requireUnsigned } from "./unsigned.ts";

const STRUCT_HEAD = 0x91;
const KEY_ID_HEAD = 0x98;
const FLOOR_HEAD = 0xc4;
const UINT8_HEAD = 0xcc;
const FIXMAP_HEAD = 0x80;
const MAP16_HEAD = 0xde;
const MAP32_HEAD = 0xdf;

const FIXMAP_MAX = 0x0f;
const MAP16_MAX = 0xffff;
const FIXINT_MAX = 0x7f;
const KEY_ID_BYTES = 8;
const FLOOR_BYTES = 16;
const FLOOR_ENTRY_BYTES = 1 + 1 + FLOOR_BYTES;
const LARGEST_ENTRY_BYTES = 1 + 2 * KEY_ID_BYTES + FLOOR_ENTRY_BYTES;
const LARGEST_HEAD_BYTES = 1 + 1 + 4;
const U64_BITS = 64;

/** Bytes that are not a floors file of the one accepted shape. */
export class FloorsCodecError extends Error {
  override name = "FloorsCodecError";
}

/**
 * Gives the file for floors (key id, u64 -> counter, u128), in the map's own order.
 *
 * @throws {FloorsCodecError} if an id is no u64 or a floor no u128
 */
export function encodeFloors(floors: ReadonlyMap<bigint, bigint>): Uint8Array {
  const writer = new Writer(LARGEST_HEAD_BYTES + floors.size * LARGEST_ENTRY_BYTES);
  writer.uint8(STRUCT_HEAD);
  writeMapHead(writer, floors.size);
  for (const [keyId, floor] of floors) {
    requireUnsigned("write key id", keyId, KEY_ID_BYTES, FloorsCodecError);
    requireUnsigned("write floor", floor, FLOOR_BYTES, FloorsCodecError);
    writeKeyId(writer, keyId);
    writer.uint8(FLOOR_HEAD);
    writer.uint8(FLOOR_BYTES);
    writer.uint64(floor >> BigInt(U64_BITS));
    writer.uint64(BigInt.asUintN(U64_BITS, floor));
  }
  return writer.written();
}

/**
 * Reads a floors file into key id -> counter, in the file's own order.
 *
 * @throws {FloorsCodecError} at the first byte that the shape above does not allow there, with its offset
 */
export function decodeFloors(bytes: Uint8Array): Map<bigint, bigint> {
  const reader = new Reader(bytes);
  reader.expect(STRUCT_HEAD, "the file's head");
  const entries = readMapHead(reader);
  const floors = new Map<bigint, bigint>();
  for (let i = 0; i < entries; i++) {
    const keyId = readKeyId(reader);
    if (floors.has(keyId)) {
      throw reader.error("a second floor for one key id", "one floor for each");
    }
    reader.expect(FLOOR_HEAD, "a floor's head");
    reader.expect(FLOOR_BYTES, "a floor's length");
    const high = reader.uint64("a floor");
    floors.set(keyId, high << BigInt(U64_BITS) | reader.uint64("a floor"));
  }
  if (reader.remaining > 0) {
    throw reader.error(`${reader.remaining} bytes after the last entry`, "none");
  }
  return floors;
}

function writeMapHead(writer: Writer, entries: number): void {
  if (entries <= FIXMAP_MAX) {
    writer.uint8(FIXMAP_HEAD | entries);
  } else if (entries <= MAP16_MAX) {
    writer.uint8(MAP16_HEAD);
    writer.uint16(entries);
  } else {
    writer.uint8(MAP32_HEAD);
    writer.uint32(entries);
  }
}

function readMapHead(reader: Reader): number {
  const head = reader.uint8("the map's head");
  if ((head & ~FIXMAP_MAX) === FIXMAP_HEAD) {
    return head & FIXMAP_MAX;
  }
  if (head !== MAP16_HEAD && head !== MAP32_HEAD) {
    throw reader.error(`byte ${hex(head)}`, "a map");
  }
  const entries = head === MAP16_HEAD ? reader.uint16("the map's size") : reader.uint32("the map's size");
  if (entries <= (head === MAP16_HEAD ? FIXMAP_MAX : MAP16_MAX)) {
    throw reader.error(`a map of ${entries} in a longer form than it needs`, "the shortest form");
  }
  return entries;
}

function writeKeyId(writer: Writer, keyId: bigint): void {
  writer.uint8(KEY_ID_HEAD);
  for (let shift = U64_BITS - 8; shift >= 0; shift -= 8) {
    const byte = Number(keyId >> BigInt(shift) & 0xffn);
    if (byte > FIXINT_MAX) {
      writer.uint8(UINT8_HEAD);
    }
    writer.uint8(byte);
  }
}

function readKeyId(reader: Reader): bigint {
  reader.expect(KEY_ID_HEAD, "a key id's head");
  let keyId = 0n;
  for (let i = 0; i < KEY_ID_BYTES; i++) {
    let byte = reader.uint8("a key id");
    if (byte === UINT8_HEAD) {
      byte = reader.uint8("a key id");
      if (byte <= FIXINT_MAX) {
        throw reader.error(`the number ${byte} in a longer form than it needs`, "the shortest form");
      }
    } else if (byte > FIXINT_MAX) {
      throw reader.error(`byte ${hex(byte)}`, "a number from 0 to 255");
    }
    keyId = keyId << 8n | BigInt(byte);
  }
  return keyId;
}

function hex(byte: number): string {
  return byte.toString(16).padStart(2, "0");
}

class Writer {
  #view: DataView<ArrayBuffer>;
  #offset = 0;

  constructor(capacityBytes: number) {
    this.#view = new DataView(new ArrayBuffer(capacityBytes));
  }

  uint8(value: number): void {
    this.#view.setUint8(this.#offset, value);
    this.#offset += 1;
  }

  uint16(value: number): void {
    this.#view.setUint16(this.#offset, value);
    this.#offset += 2;
  }

  uint32(value: number): void {
    this.#view.setUint32(this.#offset, value);
    this.#offset += 4;
  }

  uint64(value: bigint): void {
    this.#view.setBigUint64(this.#offset, value);
    this.#offset += 8;
  }

  written(): Uint8Array {
    return new Uint8Array(this.#view.buffer, 0, this.#offset);
  }
}

class Reader {
  #view: DataView;
  #offset = 0;

  constructor(bytes: Uint8Array) {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get remaining(): number {
    return this.#view.byteLength - this.#offset;
  }

  error(found: string, accepted: string): FloorsCodecError {
    return new FloorsCodecError(
      `cannot read floors before byte ${this.#offset}: found ${found}, accepted is ${accepted}`,
    );
  }

  expect(byte: number, what: string): void {
    const found = this.uint8(what);
    if (found !== byte) {
      throw this.error(`byte ${hex(found)} as ${what}`, hex(byte));
    }
  }

  uint8(what: string): number {
    return this.#view.getUint8(this.#take(1, what));
  }

  uint16(what: string): number {
    return this.#view.getUint16(this.#take(2, what));
  }

  uint32(what: string): number {
    return this.#view.getUint32(this.#take(4, what));
  }

  uint64(what: string): bigint {
    return this.#view.getBigUint64(this.#take(8, what));
  }

  #take(bytes: number, what: string): number {
    if (this.remaining < bytes) {
      throw this.error(`the end of the file within ${what}`, "a whole file");
    }
    const offset = this.#offset;
    this.#offset += bytes;
    return offset;
  }
}

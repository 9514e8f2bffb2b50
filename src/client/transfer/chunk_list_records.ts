/**
 * What a receiver writes down in its working folder, in records of one length:
 *
 *   | kind 1 | zeros 3 | file u32 | chunk u32 | body 32 | check 4 |        big-endian
 *
 * | kind | record | body |
 * | --- | --- | --- |
 * | 1 | begun: the first one of each list, and no other | fingerprint of the offer |
 * | 2 | found: a folder of the offer that was there before | zeros |
 * | 3 | chunk: it is in the data file, durably | its SHA-256 |
 * | 4 | forgotten: what the list says of this file before counts for nothing | zeros |
 * | 5 | linking: the data file is complete, and about to be linked to its place | stamp |
 * | 6 | renaming: the same, but its place may be reserved by an empty file before | stamp |
 * | 7 | placed: the file is in its place, durably | stamp |
 *
 * A stamp is a size, u64, and a time of modification in milliseconds, i64, then zeros. The check is the begin of a
 * SHA-256 over the fingerprint, the number of the record and the record before the check: neither a record that was
 * torn by a crash nor one of another list, or of another place in it, passes for one of this list.
 */
import { sha256 } from "@noble/hashes/sha2.js";

const KIND_BYTES = 1;
const ZERO_BYTES = 3;
const NUMBER_BYTES = 4;
const BODY_BYTES = 32;
const CHECK_BYTES = 4;
const FILE_OFFSET = KIND_BYTES + ZERO_BYTES;
const CHUNK_OFFSET = FILE_OFFSET + NUMBER_BYTES;
const BODY_OFFSET = CHUNK_OFFSET + NUMBER_BYTES;
const CHECK_OFFSET = BODY_OFFSET + BODY_BYTES;
/** Length of a record. */
export const LIST_RECORD_BYTES: number = CHECK_OFFSET + CHECK_BYTES;

const SIZE_BYTES = 8;
const TIME_OFFSET = BODY_OFFSET + SIZE_BYTES;
const STAMP_BYTES = SIZE_BYTES + 8;
const LABEL = new TextEncoder().encode("postern chunk list 1");

/** By which a file is known again: what no one changes without changing the time too, unless he means to hide it. */
export interface FileStamp {
  readonly sizeBytes: number;
  /** As the file system keeps it; whole milliseconds since 1970. */
  readonly modifiedMs: number;
}

/** One record. `file` is the number of an entry of the offer. */
export type ListRecord =
  | { readonly kind: "begun"; readonly fingerprint: Uint8Array }
  | { readonly kind: "found" | "forgotten"; readonly file: number }
  | { readonly kind: "chunk"; readonly file: number; readonly chunk: number; readonly hash: Uint8Array }
  | { readonly kind: "linking" | "renaming" | "placed"; readonly file: number; readonly stamp: FileStamp };

const KINDS = ["begun", "found", "chunk", "forgotten", "linking", "renaming", "placed"] as const;

/** Writes and reads the records of the list for one offer. */
export class ListRecords {
  /** 32 bytes. */
  readonly fingerprint: Uint8Array;
  readonly #hashed;

  /** Makes one. */
  constructor(fingerprint: Uint8Array) {
    this.fingerprint = fingerprint;
    this.#hashed = sha256.create().update(LABEL).update(fingerprint);
  }

  /** Writes a record as the one of this number, counted from 0, into `bytes`, which are zeros and as long as it is. */
  write(record: ListRecord, number: number, bytes: Uint8Array): void {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    bytes[0] = KINDS.indexOf(record.kind) + 1;
    if (record.kind !== "begun") view.setUint32(FILE_OFFSET, record.file);
    if (record.kind === "begun") bytes.set(record.fingerprint, BODY_OFFSET);
    if (record.kind === "chunk") {
      view.setUint32(CHUNK_OFFSET, record.chunk);
      bytes.set(record.hash, BODY_OFFSET);
    }
    if ("stamp" in record) {
      view.setBigUint64(BODY_OFFSET, BigInt(record.stamp.sizeBytes));
      view.setBigInt64(TIME_OFFSET, BigInt(record.stamp.modifiedMs));
    }
    bytes.set(this.#check(number, bytes), CHECK_OFFSET);
  }

  /**
   * Reads a record.
   *
   * @returns null if it is not one of this list and this place in it
   */
  read(bytes: Uint8Array, number: number): ListRecord | null {
    const check = this.#check(number, bytes);
    if (!isEqual(check, bytes.subarray(CHECK_OFFSET))) return null;
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const kind = KINDS[view.getUint8(0) - 1];
    const file = view.getUint32(FILE_OFFSET);
    const body = bytes.subarray(BODY_OFFSET, CHECK_OFFSET);
    switch (kind) {
      case "begun":
        return number === 0 ? { kind, fingerprint: body.slice() } : null;
      case "chunk":
        return { kind, file, chunk: view.getUint32(CHUNK_OFFSET), hash: body.slice() };
      case "found":
      case "forgotten":
        return { kind, file };
      case "linking":
      case "renaming":
      case "placed": {
        const stamp = {
          sizeBytes: Number(view.getBigUint64(BODY_OFFSET)),
          modifiedMs: Number(view.getBigInt64(TIME_OFFSET)),
        };
        return isZero(body.subarray(STAMP_BYTES)) ? { kind, file, stamp } : null;
      }
      default:
        return null;
    }
  }

  #check(number: number, bytes: Uint8Array): Uint8Array {
    const place = new Uint8Array(8);
    new DataView(place.buffer).setBigUint64(0, BigInt(number));
    return this.#hashed.clone().update(place).update(bytes.subarray(0, CHECK_OFFSET)).digest()
      .subarray(0, CHECK_BYTES);
  }
}

/** The fingerprint that the first record of a list says; it is believed if the record then passes its check. */
export function claimedFingerprint(firstRecord: Uint8Array): Uint8Array {
  return firstRecord.slice(BODY_OFFSET, CHECK_OFFSET);
}

function isEqual(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, at) => byte === b[at]);
}

function isZero(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte === 0);
}

/**
 * The audit as a chain of hashes, and its newest row signed by the server. Whoever keeps a signed head can show later
 * whether rows up to it were changed or cut off.
 *
 *   hash of a row = SHA-256("postern manage 1 audit row" | hash of the row before 32 | number u64 | at_ms u64 |
 *                           length u32, event | length u32, body)                     event and body: UTF-8
 *   signed head   = | number u64 | hash 32 | Ed25519 by the server 64 |
 *                   over "postern manage 1 audit head" | number | hash
 */
import { sha256 } from "@noble/hashes/sha2.js";
import { ascii, FieldReader, joinBytes, u32, u64 } from "./byte_fields.ts";
import type { SignedHead } from "./control_contract.ts";
import { SIGNATURE_BYTES, type SigningKey, verifySignature } from "./signing_key.ts";

/** Length of a hash. */
export const HASH_BYTES = 32;
const NUMBER_BYTES = 8;
/** Length of a signed head: 104. */
export const HEAD_BYTES: number = NUMBER_BYTES + HASH_BYTES + SIGNATURE_BYTES;
/** What stands for the hash before the first row. */
export const NO_HASH: Uint8Array<ArrayBuffer> = new Uint8Array(HASH_BYTES);

const ROW = ascii("postern manage 1 audit row"),
  HEAD = ascii("postern manage 1 audit head");

/** A row of the audit as far as it is hashed. */
export interface AuditRow {
  /** 32 bytes: of the row before, or `NO_HASH`. */
  readonly previous: Uint8Array;
  /** From 1 on, without gaps. */
  readonly number: number;
  /** Milliseconds since 1970 by the server's clock. */
  readonly atMs: number;
  /** What has happened, such as "joined". */
  readonly event: string;
  /** JSON as it is stored: it is hashed as text, since no two programs write it alike. */
  readonly body: string;
}

/** Hash of a row: 32 bytes. */
export function rowHash({ previous, number, atMs, event, body }: AuditRow): Uint8Array<ArrayBuffer> {
  const encoder = new TextEncoder(), eventBytes = encoder.encode(event), bodyBytes = encoder.encode(body);
  const hashed = joinBytes(
    ROW,
    previous,
    u64(number),
    u64(atMs),
    u32(eventBytes.length),
    eventBytes,
    u32(bodyBytes.length),
    bodyBytes,
  );
  return new Uint8Array(sha256(hashed));
}

/** Signs the newest row. */
export async function signHead(
  { number, hash }: Pick<SignedHead, "number" | "hash">,
  serverKey: SigningKey,
): Promise<SignedHead> {
  return { number, hash, signature: await serverKey.sign(joinBytes(HEAD, u64(number), hash)) };
}

/** Whether the server has signed it. Of an empty audit only one head is right: number 0 and a hash of zeros. */
export async function verifyHead(head: SignedHead, serverKey: Uint8Array): Promise<boolean> {
  const { number, hash, signature } = head;
  if (hash.length !== HASH_BYTES || (number === 0 && hash.some((byte) => byte !== 0))) return false;
  return await verifySignature(serverKey, joinBytes(HEAD, u64(number), hash), signature);
}

/** Writes a head: 104 bytes. */
export function encodeHead({ number, hash, signature }: SignedHead): Uint8Array<ArrayBuffer> {
  return joinBytes(u64(number), hash, signature);
}

/**
 * Reads a head; who signed it is for `verifyHead` to say.
 *
 * @throws {ResetError} "malformed" if it is not 104 bytes long, or its number is beyond 2^53
 */
export function decodeHead(bytes: Uint8Array): SignedHead {
  const reader = new FieldReader(bytes, "the head of an audit");
  const head = {
    number: reader.u64(),
    hash: reader.take(HASH_BYTES),
    signature: reader.take(SIGNATURE_BYTES),
  };
  reader.requireEnd();
  return head;
}

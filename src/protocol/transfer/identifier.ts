/**
 * What a client tells the relay, and all that the relay learns of a transfer: 33 bytes by which two clients are
 * brought together. See docs/wire-formats.md.
 *
 *   | type u8 | BLAKE2s-256 (RFC 7693) of a label and what both clients know 32 |
 *
 * Of a code that is the nameplate alone: a relay can find the nameplate by trying, and learns nothing of the words.
 * (ruck hashes its whole password into it, which its relay can then guess without asking anybody.)
 */
import { blake2s } from "@noble/hashes/blake2.js";

const TYPE_BYTES = 1,
  HASH_BYTES = 32;
/** Length of an identifier: 33. */
export const IDENTIFIER_BYTES: number = TYPE_BYTES + HASH_BYTES;

/** A way to meet. The label is hashed first; it is of one length, so nothing that follows can be taken for its end. */
interface Kind {
  readonly type: number;
  readonly label: string;
}
const CODE: Kind = { type: 1, label: "postern transfer 1 code" };
const RESUME: Kind = { type: 2, label: "postern transfer 1 resume" };

/**
 * The identifier of those who have a code.
 *
 * @param nameplate its digits
 * @returns 33 bytes
 */
export function codeIdentifier(nameplate: string): Uint8Array<ArrayBuffer> {
  return identifierOf(CODE, new TextEncoder().encode(nameplate));
}

/**
 * The identifier of two that have paired before.
 *
 * @param secret 32 bytes that both of them kept; random, so that nobody finds it by trying
 * @returns 33 bytes
 */
export function resumeIdentifier(secret: Uint8Array): Uint8Array<ArrayBuffer> {
  return identifierOf(RESUME, secret);
}

function identifierOf({ type, label }: Kind, known: Uint8Array): Uint8Array<ArrayBuffer> {
  const hash = blake2s.create({ dkLen: HASH_BYTES }).update(new TextEncoder().encode(label)).update(known);
  const bytes = new Uint8Array(IDENTIFIER_BYTES);
  bytes[0] = type;
  bytes.set(hash.digest(), TYPE_BYTES);
  return bytes;
}

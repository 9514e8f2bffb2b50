/**
 * From what two sides agreed on to the keys of one connection; see docs/wire-formats.md. With
 *
 *   transcript = SHA-256("postern transfer 1 keys", identifier 33, sender's hello, receiver's hello)
 *   PRK        = HKDF-Extract(salt: transcript, material)                    RFC 5869, SHA-256
 *
 * each key is HKDF-Expand(PRK, its own words, 32). The transcript has everything that either side has said so far, as
 * it was sent and as it arrived: one changed bit, and the two have no key in common.
 */
import { expand, extract } from "@noble/hashes/hkdf.js";
import { sha256 } from "@noble/hashes/sha2.js";

const KEY_BYTES = 32;
const FOLDER_ID_BYTES = 8;
const TRANSCRIPT = ascii("postern transfer 1 keys");

/** What is derived for one connection, 32 bytes each. */
export interface PairingKeys {
  /** For the records of the sender. */
  readonly sender: Uint8Array<ArrayBuffer>;
  /** For the records of the receiver. */
  readonly receiver: Uint8Array<ArrayBuffer>;
  /** By which the sender proves that it has these keys. */
  readonly senderConfirmation: Uint8Array<ArrayBuffer>;
  /** By which the receiver proves it. */
  readonly receiverConfirmation: Uint8Array<ArrayBuffer>;
  /** By which the two meet again; of no use when they have one from before. */
  readonly resumeSecret: Uint8Array<ArrayBuffer>;
}

/**
 * SHA-256 over everything said before there are keys.
 *
 * @param identifier 33 bytes; known to both, also where no relay is told of it
 * @param senderHello as it travelled
 * @param receiverHello as it travelled
 */
export function transcriptHash(
  identifier: Uint8Array,
  senderHello: Uint8Array,
  receiverHello: Uint8Array,
): Uint8Array {
  return sha256.create().update(TRANSCRIPT).update(identifier).update(senderHello).update(receiverHello)
    .digest();
}

/**
 * The keys of one connection.
 *
 * @param transcript 32 bytes, of `transcriptHash`
 * @param material with a code: the key of SPAKE2, 32 bytes; resumed: resume secret and shared secret of X25519, 64
 */
export function pairingKeys(transcript: Uint8Array, material: Uint8Array): PairingKeys {
  const prk = extract(sha256, material, transcript);
  return {
    sender: expanded(prk, "sender key"),
    receiver: expanded(prk, "receiver key"),
    senderConfirmation: expanded(prk, "sender confirmation"),
    receiverConfirmation: expanded(prk, "receiver confirmation"),
    resumeSecret: expanded(prk, "resume secret"),
  };
}

/**
 * What a receiver calls the folder in which it works: derived, so that no sender can choose that of another transfer.
 *
 * @param resumeSecret 32 bytes
 * @returns 16 lower-case hex digits
 */
export function workingFolderId(resumeSecret: Uint8Array): string {
  return expanded(resumeSecret, "working folder").subarray(0, FOLDER_ID_BYTES).toHex();
}

function expanded(prk: Uint8Array, words: string): Uint8Array<ArrayBuffer> {
  return new Uint8Array(expand(sha256, prk, ascii(words), KEY_BYTES));
}

function ascii(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

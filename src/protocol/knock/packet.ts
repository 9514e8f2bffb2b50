/**
 * The knock packet: one datagram of exactly 94 bytes, big-endian (`docs/wire-formats.md`).
 *
 * ```
 *  packet      0        8              20             36                                   94
 *              | key id |    nonce     |     tag      |              ciphertext            |
 *
 *  plaintext   0   1              9           25   26          42               58
 *              | 1 | command hash |  counter  | s  |  source   |  destination   |
 *                version                       strict   IP            IP
 * ```
 *
 * The tag lies BEFORE the ciphertext; AES-GCM-SIV libraries give and take it after (RFC 8452 section 4). There is
 * no associated data: the key id is not authenticated by itself, but it chooses the key, so a changed one opens
 * nothing.
 */
import { gcmsiv } from "@noble/ciphers/aes.js";
import { IP_BYTES, type IpAddress, ipFromBytes, ipToBytes } from "./address.ts";
import { COMMAND_HASH_BYTES } from "./command_hash.ts";
import { type Key, KEY_ID_BYTES, SECRET_BYTES } from "./key.ts";
import { requireUnsigned } from "./unsigned.ts";

/** Bytes of the AES-GCM-SIV nonce. */
export const NONCE_BYTES = 12;
/** Bytes of the AES-GCM-SIV tag. */
export const TAG_BYTES = 16;

const VERSION = 1;
const VERSION_BYTES = 1;
const COUNTER_BYTES = 16;
const STRICT_BYTES = 1;

const COMMAND_HASH_OFFSET = VERSION_BYTES;
const COUNTER_OFFSET = COMMAND_HASH_OFFSET + COMMAND_HASH_BYTES;
const STRICT_OFFSET = COUNTER_OFFSET + COUNTER_BYTES;
const SOURCE_IP_OFFSET = STRICT_OFFSET + STRICT_BYTES;
const DESTINATION_IP_OFFSET = SOURCE_IP_OFFSET + IP_BYTES;

/** Bytes of a plaintext: 58. */
export const PLAINTEXT_BYTES = VERSION_BYTES + COMMAND_HASH_BYTES + COUNTER_BYTES + STRICT_BYTES +
  2 * IP_BYTES;
/** Bytes of a packet: 94. */
export const PACKET_BYTES = KEY_ID_BYTES + NONCE_BYTES + TAG_BYTES + PLAINTEXT_BYTES;

const NONCE_OFFSET = KEY_ID_BYTES;
const TAG_OFFSET = NONCE_OFFSET + NONCE_BYTES;
const CIPHERTEXT_OFFSET = TAG_OFFSET + TAG_BYTES;

const U64_BITS = 64;
const NO_SOURCE = "::"; // 16 zero bytes, which the wire reads as "no source address"

/** What a knock says. */
export interface KnockFields {
  /** Of the command's name, a u64; from `commandHash`. */
  readonly commandHash: bigint;
  /** Above every counter used with this key before, a u128; Postern's client takes nanoseconds since 1970. */
  readonly counter: bigint;
  /** Whether the server shall refuse the packet unless `sourceIp` is the address it came from. */
  readonly strict: boolean;
  /** The address to act for, or null for the one that the packet comes from. */
  readonly sourceIp: IpAddress | null;
  /** The server's address as the client sees it, so that a packet is good for one server only. */
  readonly destinationIp: IpAddress;
}

/** Why bytes are no packet under a key, in the order in which it is found out. */
export type PacketRefusal = "length" | "key_id" | "authentication" | "version";

/** Bytes that are no packet under the given key. */
export class PacketError extends Error {
  /** What the error is called when it is printed. */
  override name = "PacketError";
  /** What was found wrong first. */
  readonly refusal: PacketRefusal;

  /** Makes one; the message holds no part of the packet. */
  constructor(refusal: PacketRefusal, message: string) {
    super(message);
    this.refusal = refusal;
  }
}

/**
 * Gives the key id, a u64, that a packet claims to be sealed with.
 *
 * @throws {PacketError} `length` unless there are exactly 94 bytes
 */
export function packetKeyId(packet: Uint8Array): bigint {
  requirePacketLength(packet);
  return viewOf(packet).getBigUint64(0);
}

/**
 * Gives the 58 plaintext bytes of a knock.
 *
 * @throws {RangeError} if the hash is no u64, the counter no u128, or the source address is `::`, which the wire
 * cannot tell from none
 */
export function encodePlaintext(fields: KnockFields): Uint8Array {
  requireUnsigned("encode command hash", fields.commandHash, COMMAND_HASH_BYTES);
  requireUnsigned("encode counter", fields.counter, COUNTER_BYTES);
  if (fields.sourceIp === NO_SOURCE) {
    throw new RangeError(
      "cannot encode source address: found ::, accepted is any other address, or null for none",
    );
  }
  const plaintext = new Uint8Array(PLAINTEXT_BYTES);
  const view = viewOf(plaintext);
  plaintext[0] = VERSION;
  view.setBigUint64(COMMAND_HASH_OFFSET, fields.commandHash);
  view.setBigUint64(COUNTER_OFFSET, fields.counter >> BigInt(U64_BITS));
  view.setBigUint64(COUNTER_OFFSET + COUNTER_BYTES / 2, BigInt.asUintN(U64_BITS, fields.counter));
  plaintext[STRICT_OFFSET] = fields.strict ? 1 : 0;
  if (fields.sourceIp !== null) {
    plaintext.set(ipToBytes(fields.sourceIp), SOURCE_IP_OFFSET);
  }
  plaintext.set(ipToBytes(fields.destinationIp), DESTINATION_IP_OFFSET);
  return plaintext;
}

/**
 * Reads the 58 plaintext bytes of a knock. Nothing but length and version is refused: any non-zero strict byte is
 * true, as other writers of this format may mean it.
 *
 * @throws {PacketError} `length` or `version`
 */
export function decodePlaintext(plaintext: Uint8Array): KnockFields {
  if (plaintext.length !== PLAINTEXT_BYTES) {
    throw new PacketError(
      "length",
      `not a plaintext: found ${plaintext.length} bytes, accepted are ${PLAINTEXT_BYTES}`,
    );
  }
  if (plaintext[0] !== VERSION) {
    throw new PacketError(
      "version",
      `cannot read plaintext: found version ${plaintext[0]}, accepted is ${VERSION}`,
    );
  }
  const view = viewOf(plaintext);
  const sourceIp = ipFromBytes(plaintext.subarray(SOURCE_IP_OFFSET, DESTINATION_IP_OFFSET));
  return {
    commandHash: view.getBigUint64(COMMAND_HASH_OFFSET),
    counter: view.getBigUint64(COUNTER_OFFSET) << BigInt(U64_BITS) |
      view.getBigUint64(COUNTER_OFFSET + COUNTER_BYTES / 2),
    strict: plaintext[STRICT_OFFSET] !== 0,
    sourceIp: sourceIp === NO_SOURCE ? null : sourceIp,
    destinationIp: ipFromBytes(plaintext.subarray(DESTINATION_IP_OFFSET)),
  };
}

/**
 * Seals 58 plaintext bytes into a packet of 94. The nonce has 12 bytes and is fresh and random for each packet;
 * repeating one with AES-GCM-SIV shows only whether two plaintexts are equal (RFC 8452 section 9).
 *
 * @throws {RangeError} if plaintext, nonce or secret has another length
 */
export function sealPlaintext(key: Key, plaintext: Uint8Array, nonce: Uint8Array): Uint8Array {
  requireLength("plaintext", plaintext, PLAINTEXT_BYTES);
  requireLength("nonce", nonce, NONCE_BYTES);
  requireLength("secret", key.secret, SECRET_BYTES);
  const sealed = gcmsiv(key.secret, nonce).encrypt(plaintext);
  const packet = new Uint8Array(PACKET_BYTES);
  viewOf(packet).setBigUint64(0, key.id);
  packet.set(nonce, NONCE_OFFSET);
  packet.set(sealed.subarray(PLAINTEXT_BYTES), TAG_OFFSET);
  packet.set(sealed.subarray(0, PLAINTEXT_BYTES), CIPHERTEXT_OFFSET);
  return packet;
}

/**
 * Opens a packet into its 58 authentic plaintext bytes; their version is not looked at yet.
 *
 * @throws {PacketError} `length`, `key_id` or `authentication`
 */
export function openPacket(key: Key, packet: Uint8Array): Uint8Array {
  if (packetKeyId(packet) !== key.id) {
    throw new PacketError(
      "key_id",
      "cannot open packet: found another key id, accepted is that of the given key",
    );
  }
  const sealed = new Uint8Array(PLAINTEXT_BYTES + TAG_BYTES);
  sealed.set(packet.subarray(CIPHERTEXT_OFFSET));
  sealed.set(packet.subarray(TAG_OFFSET, CIPHERTEXT_OFFSET), PLAINTEXT_BYTES);
  try {
    return gcmsiv(key.secret, packet.subarray(NONCE_OFFSET, TAG_OFFSET)).decrypt(sealed);
  } catch {
    throw new PacketError(
      "authentication",
      "cannot open packet: found a tag that does not fit key and content",
    );
  }
}

/** {@link encodePlaintext}, then {@link sealPlaintext}. */
export function encodePacket(key: Key, fields: KnockFields, nonce: Uint8Array): Uint8Array {
  return sealPlaintext(key, encodePlaintext(fields), nonce);
}

/** {@link openPacket}, then {@link decodePlaintext}. */
export function decodePacket(key: Key, packet: Uint8Array): KnockFields {
  return decodePlaintext(openPacket(key, packet));
}

function requirePacketLength(packet: Uint8Array): void {
  if (packet.length !== PACKET_BYTES) {
    throw new PacketError(
      "length",
      `not a packet: found ${packet.length} bytes, accepted are ${PACKET_BYTES}`,
    );
  }
}

function requireLength(what: string, bytes: Uint8Array, expectedBytes: number): void {
  if (bytes.length !== expectedBytes) {
    throw new RangeError(
      `cannot seal packet: found a ${what} of ${bytes.length} bytes, accepted are ${expectedBytes}`,
    );
  }
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

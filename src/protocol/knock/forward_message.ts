/**
 * What the server tells the commander, and all it can tell: 24 bytes, big-endian, over the local socket. No
 * names, no shell text, no lengths; whatever an attacker makes of the server, this is what root reads.
 *
 * | bytes  | field        |
 * | ------ | ------------ |
 * | 0..8   | command hash |
 * | 8..24  | IP address   |
 */
import { IP_BYTES, type IpAddress, ipFromBytes, ipToBytes } from "./address.ts";
import { COMMAND_HASH_BYTES } from "./command_hash.ts";
import { requireUnsigned } from "./unsigned.ts";

/** Bytes of a forward message: 24. */
export const FORWARD_MESSAGE_BYTES = COMMAND_HASH_BYTES + IP_BYTES;

/** The command to run, a u64, and the address to run it for. */
export interface ForwardMessage {
  readonly commandHash: bigint;
  readonly ip: IpAddress;
}

/**
 * Gives the 24 bytes of a message.
 *
 * @throws {RangeError} if the hash is no u64
 */
export function encodeForwardMessage(message: ForwardMessage): Uint8Array {
  requireUnsigned("encode command hash", message.commandHash, COMMAND_HASH_BYTES);
  const bytes = new Uint8Array(FORWARD_MESSAGE_BYTES);
  new DataView(bytes.buffer).setBigUint64(0, message.commandHash);
  bytes.set(ipToBytes(message.ip), COMMAND_HASH_BYTES);
  return bytes;
}

/**
 * Reads the 24 bytes of a message; any 24 bytes are one.
 *
 * @throws {RangeError} for any other length
 */
export function decodeForwardMessage(bytes: Uint8Array): ForwardMessage {
  if (bytes.length !== FORWARD_MESSAGE_BYTES) {
    throw new RangeError(
      `not a forward message: found ${bytes.length} bytes, accepted are ${FORWARD_MESSAGE_BYTES}`,
    );
  }
  return {
    commandHash: new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0),
    ip: ipFromBytes(bytes.subarray(COMMAND_HASH_BYTES)),
  };
}

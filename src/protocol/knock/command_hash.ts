/**
 * A command's name on the wire: eight bytes of BLAKE2b, so that every packet has the same length and the server
 * never learns the names (`docs/wire-formats.md`). It is a name, not a secret: anyone can hash a guess.
 */
import { blake2b } from "@noble/hashes/blake2.js";

/** Bytes of a command hash. */
export const COMMAND_HASH_BYTES = 8;

/** A text that does not spell a command hash. */
export class CommandHashError extends Error {
  override name = "CommandHashError";
}

/**
 * Hashes a command's name, taken verbatim (no trim, no case fold) as UTF-8, into a u64.
 *
 * The digest length of 8 is BLAKE2b's own parameter (RFC 7693 section 2.5) and part of what is hashed: the first
 * 8 bytes of a 64-byte digest are a different value.
 */
export function commandHash(name: string): bigint {
  const digest = blake2b(new TextEncoder().encode(name), { dkLen: COMMAND_HASH_BYTES });
  return new DataView(digest.buffer, digest.byteOffset).getBigUint64(0);
}

/** Gives a command hash as 16 lower-case hex digits. */
export function formatCommandHash(hash: bigint): string {
  return hash.toString(16).padStart(COMMAND_HASH_BYTES * 2, "0");
}

/**
 * Reads a command hash as the configuration spells it, `#` and 16 hex digits.
 *
 * @throws {CommandHashError} for any other text
 */
export function parseCommandHash(text: string): bigint {
  if (!/^#[0-9a-fA-F]{16}$/.test(text)) {
    throw new CommandHashError(
      `not a command hash: found ${
        JSON.stringify(text.slice(0, 40))
      }, accepted is one like "#9b93083959d8550a"`,
    );
  }
  return BigInt(`0x${text.slice(1)}`);
}

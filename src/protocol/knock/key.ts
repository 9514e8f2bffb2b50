/**
 * The key that client and server share: a key id that travels in clear, and a secret that never does.
 *
 * | bytes  | field  |
 * | ------ | ------ |
 * | 0..8   | key id |
 * | 8..40  | secret |
 *
 * As text these 40 bytes are standard base64 with padding, always 56 characters (`docs/wire-formats.md`).
 */

/** Bytes of a key id. */
export const KEY_ID_BYTES = 8;
/** Bytes of a secret, an AES-256 key. */
export const SECRET_BYTES = 32;
/** Bytes of a whole key. */
export const KEY_BYTES = KEY_ID_BYTES + SECRET_BYTES;
/** Characters of a key's text. */
export const KEY_TEXT_CHARS = Math.ceil(KEY_BYTES / 3) * 4;

/** A shared key. */
export interface Key {
  /** By which the server finds it; a u64, in clear in every packet. */
  readonly id: bigint;
  /** 32 bytes. */
  readonly secret: Uint8Array;
}

/** A text or value that is no key. Its message never holds any part of what was found. */
export class KeyError extends Error {
  /** What the error is called when it is printed. */
  override name = "KeyError";
}

const ACCEPTED = `accepted are the ${KEY_TEXT_CHARS} characters that "client gen" prints`;

/** Makes a new key; `random` fills a buffer and is `crypto.getRandomValues` unless a test replaces it. */
export function generateKey(random: (bytes: Uint8Array) => void = fillRandom): Key {
  const bytes = new Uint8Array(KEY_BYTES);
  random(bytes);
  return keyFromBytes(bytes);
}

/**
 * Reads a key's text. White space at both ends is cut off, since a key file often ends in a newline.
 *
 * @throws {KeyError} if it is empty, not strict base64 (padding, alphabet, trailing bits), too short or too long
 */
export function parseKey(text: string): Key {
  const bytes = decodeBase64(text.trim());
  if (bytes === null) {
    throw new KeyError(`cannot read key: found text that is not base64, ${ACCEPTED}`);
  }
  if (bytes.length !== KEY_BYTES) {
    const found = bytes.length === 0 ? "nothing" : `${bytes.length} bytes`;
    const problem = bytes.length < KEY_BYTES ? "too short" : "wrong length";
    throw new KeyError(
      `cannot read key: ${problem}, found ${found} where a key has ${KEY_BYTES}, ${ACCEPTED}`,
    );
  }
  return keyFromBytes(bytes);
}

/**
 * Gives a key's text, 56 characters.
 *
 * @throws {KeyError} if the id is no u64 or the secret has not 32 bytes
 */
export function formatKey(key: Key): string {
  if (key.id !== BigInt.asUintN(64, key.id) || key.secret.length !== SECRET_BYTES) {
    throw new KeyError(
      `cannot write key: found ${key.secret.length} bytes of secret, or an id outside of 64 bits, ` +
        `accepted are ${SECRET_BYTES} bytes and an unsigned id`,
    );
  }
  const bytes = new Uint8Array(KEY_BYTES);
  new DataView(bytes.buffer).setBigUint64(0, key.id);
  bytes.set(key.secret, KEY_ID_BYTES);
  return bytes.toBase64();
}

/** Gives a key id as 16 lower-case hex digits, for logs: an id is no secret, every packet shows it. */
export function formatKeyId(id: bigint): string {
  return id.toString(16).padStart(KEY_ID_BYTES * 2, "0");
}

function keyFromBytes(bytes: Uint8Array): Key {
  return {
    id: new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0),
    secret: bytes.slice(KEY_ID_BYTES),
  };
}

/** RFC 4648 section 4 with one accepted encoding; without the first line, white space inside would pass. */
function decodeBase64(text: string): Uint8Array | null {
  if (/\s/.test(text)) {
    return null;
  }
  try {
    return Uint8Array.fromBase64(text, { lastChunkHandling: "strict" });
  } catch {
    return null; // not kept as a cause: its message may quote the key
  }
}

function fillRandom(bytes: Uint8Array): void {
  crypto.getRandomValues(bytes as Uint8Array<ArrayBuffer>);
}

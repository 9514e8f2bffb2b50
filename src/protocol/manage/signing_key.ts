/**
 * Ed25519 (RFC 8032), by which the server, hosts and administrators are known: a key is an identity, a name is only
 * what the registry calls it.
 *
 * Public keys of small order are refused everywhere. There are a few points for which a signature can be made up
 * without any private key, since what is verified does not depend on the key; some verifiers, WebCrypto's among them,
 * take them. Nobody would own such an identity, so everybody could sign in its name.
 */
import { sha256 } from "@noble/hashes/sha2.js";
import type { RandomBytes } from "../rpc/timers.ts";

/** Length of a public key. */
export const PUBLIC_KEY_BYTES = 32;
/** Length of a signature. */
export const SIGNATURE_BYTES = 64;
/** Length of what a private key is made from. */
export const SEED_BYTES = 32;
/** What a public key looks like as text, for messages. */
export const PUBLIC_KEY_FORM = "43 characters of base64url";

const PUBLIC_KEY_CHARACTERS = 43;
/** What stands before the 32 bytes of a private key in PKCS #8 (RFC 8410, 7), the form that WebCrypto takes. */
const PKCS8_HEAD = Uint8Array.fromHex("302e020100300506032b657004220420");
/** The bit of a public key that says the sign of x; the other 255 are y, little-endian. */
const SIGN_BIT = 0x80;
/** p = 2^255 - 19, from which on y is written in a way that it must not be. */
const FIELD = Uint8Array.fromHex("edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f");
/** y of the eight points of small order: 0 (order 4), 1 (1), -1 (2), and two more (8). */
const SMALL_ORDER: readonly Uint8Array[] = [
  "0000000000000000000000000000000000000000000000000000000000000000",
  "0100000000000000000000000000000000000000000000000000000000000000",
  "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
  "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
].map((hex) => Uint8Array.fromHex(hex));

/** A private key with its public one. It shows itself to nobody who prints it. */
export class SigningKey {
  /** 32 bytes. */
  readonly publicKey: Uint8Array<ArrayBuffer>;
  readonly #seed: Uint8Array<ArrayBuffer>;
  readonly #key: CryptoKey;

  private constructor(seed: Uint8Array<ArrayBuffer>, key: CryptoKey, publicKey: Uint8Array<ArrayBuffer>) {
    this.#seed = seed;
    this.#key = key;
    this.publicKey = publicKey;
  }

  /** Makes a new one. */
  static generate(random: RandomBytes): Promise<SigningKey> {
    return SigningKey.fromSeed(random(SEED_BYTES));
  }

  /**
   * Makes the one of a seed (RFC 8032, 5.1.5).
   *
   * @param seed 32 bytes; copied
   * @throws {TypeError} if it has another length
   */
  static async fromSeed(seed: Uint8Array): Promise<SigningKey> {
    if (seed.length !== SEED_BYTES) {
      throw new TypeError(
        `cannot make a key: found a seed of ${seed.length} bytes, accepted are ${SEED_BYTES}`,
      );
    }
    const pkcs8 = new Uint8Array(PKCS8_HEAD.length + SEED_BYTES);
    pkcs8.set(PKCS8_HEAD);
    pkcs8.set(seed, PKCS8_HEAD.length);
    // Extractable, since only an export tells the public key that belongs to it.
    const key = await crypto.subtle.importKey("pkcs8", pkcs8, "Ed25519", true, ["sign"]);
    const { x = "" } = await crypto.subtle.exportKey("jwk", key);
    return new SigningKey(new Uint8Array(seed), key, Uint8Array.fromBase64(x, { alphabet: "base64url" }));
  }

  /** A copy of the 32 bytes by which the key can be made again; secret. */
  get seed(): Uint8Array<ArrayBuffer> {
    return this.#seed.slice();
  }

  /** Signs; 64 bytes, the same each time (RFC 8032, 5.1.6). */
  async sign(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
    return new Uint8Array(await crypto.subtle.sign("Ed25519", this.#key, bytes));
  }
}

/** Whether 32 bytes can be somebody's identity: not a point of small order, and not a second spelling of a key. */
export function isPublicKey(key: Uint8Array): boolean {
  if (key.length !== PUBLIC_KEY_BYTES) return false;
  const y = Uint8Array.from(key);
  y[PUBLIC_KEY_BYTES - 1] = (y[PUBLIC_KEY_BYTES - 1] ?? 0) & ~SIGN_BIT;
  return isBelow(y, FIELD) && !SMALL_ORDER.some((small) => isSameBytes(small, y));
}

/**
 * Whether somebody who has the private key has signed these bytes. Never throws: a key or a signature of another
 * length, or a key that nobody can have, has signed nothing.
 */
export async function verifySignature(
  publicKey: Uint8Array,
  bytes: Uint8Array<ArrayBuffer>,
  signature: Uint8Array<ArrayBuffer>,
): Promise<boolean> {
  if (!isPublicKey(publicKey) || signature.length !== SIGNATURE_BYTES) return false;
  try {
    const key = await crypto.subtle.importKey("raw", publicKey.slice(), "Ed25519", false, ["verify"]);
    return await crypto.subtle.verify("Ed25519", key, signature, bytes);
  } catch {
    return false;
  }
}

/** A public key as text: base64url (RFC 4648, 5) without padding, 43 characters. */
export function formatPublicKey(key: Uint8Array): string {
  return key.toBase64({ alphabet: "base64url", omitPadding: true });
}

/**
 * Reads a public key.
 *
 * @returns 32 bytes
 * @throws {TypeError} if it is none, or not in its one spelling; nothing of it is repeated
 */
export function parsePublicKey(text: string): Uint8Array<ArrayBuffer> {
  const key = text.length === PUBLIC_KEY_CHARACTERS ? fromBase64url(text) : null;
  if (key === null || formatPublicKey(key) !== text) {
    throw new TypeError(
      `cannot read a public key: found ${text.length} characters, accepted are ${PUBLIC_KEY_FORM}`,
    );
  }
  if (!isPublicKey(key)) throw new TypeError("cannot use a public key: found one that is nobody's");
  return key;
}

/** A key as people compare it: `SHA256:` and SHA-256 of it in base64 without padding, 43 characters. */
export function fingerprint(key: Uint8Array): string {
  return `SHA256:${sha256(key).toBase64({ omitPadding: true })}`;
}

/** Whether two runs of public bytes are the same; not for secrets, since it takes longer where more is the same. */
export function isSameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, at) => byte === b[at]);
}

function fromBase64url(text: string): Uint8Array<ArrayBuffer> | null {
  try {
    return Uint8Array.fromBase64(text, { alphabet: "base64url" });
  } catch {
    return null;
  }
}

/** Of two numbers of the same length, little-endian. */
function isBelow(number: Uint8Array, limit: Uint8Array): boolean {
  for (let at = limit.length - 1; at >= 0; at--) {
    const a = number[at] ?? 0, b = limit[at] ?? 0;
    if (a !== b) return a < b;
  }
  return false;
}

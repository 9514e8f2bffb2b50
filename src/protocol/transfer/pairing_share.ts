/**
 * What each side puts into a pairing, and what both make of it. With a code that is SPAKE2. Two that have paired
 * before have a secret that nobody can guess; they need fresh keys only, for which each sends
 *
 *   | nonce 32 | public key of X25519 (RFC 7748) 32 |
 *
 * so that whoever gets to know the secret later cannot read what was recorded before.
 */
import type { RandomBytes } from "../rpc/timers.ts";
import type { TransferCode } from "./code.ts";
import { PairingError } from "./pairing_error.ts";
import { Spake2, Spake2Error } from "./spake2.ts";

const NONCE_BYTES = 32,
  KEY_BYTES = 32,
  BITS_PER_BYTE = 8;
const ID_LABEL = new TextEncoder().encode("postern transfer 1");
/** What stands before the 32 bytes of a private key in PKCS #8 (RFC 8410, 7), the form that WebCrypto takes. */
const PKCS8_HEAD = Uint8Array.fromHex("302e020100300506032b656e04220420");
/** The u-coordinate whose multiple by a private key is the public one. */
const BASE_POINT: Uint8Array<ArrayBuffer> = Uint8Array.from(
  { length: KEY_BYTES },
  (_, at) => at === 0 ? 9 : 0,
);

/** Our part of a pairing, for one other side. */
export interface Share {
  /** What is sent. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /**
   * What both sides have in common, if both know the same; the material of `pairingKeys`.
   *
   * @param theirs as long as ours
   * @throws {PairingError} "reflected" or "malformed"
   */
  agree(theirs: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>>;
}

/** Our part for a code: password is its words with "-" between them. */
export function codeShare({ words }: TransferCode, identifier: Uint8Array, random: RandomBytes): Share {
  const spake2 = new Spake2(new TextEncoder().encode(words.join("-")), joined(ID_LABEL, identifier), random);
  return {
    bytes: spake2.message,
    // deno-lint-ignore require-await -- what it throws is to be the promise's
    async agree(theirs): Promise<Uint8Array<ArrayBuffer>> {
      try {
        return spake2.finish(theirs);
      } catch (error) {
        if (!(error instanceof Spake2Error)) throw error;
        throw new PairingError(error.refusal, "found a share that is refused", { cause: error });
      }
    },
  };
}

/** Our part for a secret of 32 bytes that both sides kept. */
export async function resumeShare(
  secret: Uint8Array<ArrayBuffer>,
  random: RandomBytes,
): Promise<Share> {
  const nonce = random(NONCE_BYTES);
  const key = await privateKey(random(KEY_BYTES));
  const publicKey = await multiplied(key, BASE_POINT);
  return {
    bytes: joined(nonce, publicKey),
    async agree(theirs): Promise<Uint8Array<ArrayBuffer>> {
      const theirKey = theirs.subarray(NONCE_BYTES);
      if (isEqual(theirs.subarray(0, NONCE_BYTES), nonce) || isEqual(theirKey, publicKey)) {
        throw new PairingError("reflected", "found our own nonce or key");
      }
      return joined(secret, await multiplied(key, theirKey));
    },
  };
}

function privateKey(bytes: Uint8Array): Promise<CryptoKey> {
  return crypto.subtle.importKey("pkcs8", joined(PKCS8_HEAD, bytes), "X25519", false, ["deriveBits"]);
}

/**
 * X25519 of a private key and a point.
 *
 * @throws {PairingError} "malformed" if nothing but zeros comes out, whatever the private key
 */
async function multiplied(key: CryptoKey, point: Uint8Array<ArrayBuffer>): Promise<Uint8Array> {
  const theirs = await crypto.subtle.importKey("raw", point, "X25519", false, []);
  let shared: Uint8Array;
  try {
    const algorithm = { name: "X25519", public: theirs };
    shared = new Uint8Array(await crypto.subtle.deriveBits(algorithm, key, KEY_BYTES * BITS_PER_BYTE));
  } catch (error) {
    throw noKey({ cause: error });
  }
  // Some runtimes refuse such a point themselves and some do not.
  if (shared.every((byte) => byte === 0)) throw noKey();
  return shared;
}

function noKey(options: ErrorOptions = {}): PairingError {
  return new PairingError("malformed", "found a key that everybody has the shared secret of", options);
}

function isEqual(a: Uint8Array, b: Uint8Array): boolean {
  return a.every((byte, at) => byte === b[at]);
}

function joined(...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

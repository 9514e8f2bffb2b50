/**
 * The keys of one session, known to the administrator and the host only:
 *
 *   shared = X25519(own private key, their public key)                                  RFC 7748, 6.1
 *   PRK    = HKDF-Extract(salt: SHA-256("postern manage 1 session" | open | answer), shared)   RFC 5869, SHA-256
 *   key of a direction = HKDF-Expand(PRK, "administrator key" or "host key", 32)
 *
 * Both private keys are made for the one session and forgotten: whoever steals an identity later reads nothing of what
 * was recorded before.
 */
import { expand, extract } from "@noble/hashes/hkdf.js";
import { sha256 } from "@noble/hashes/sha2.js";
import type { RandomBytes } from "../rpc/timers.ts";
import { ascii, joinBytes } from "./byte_fields.ts";
import { ResetError } from "./reset_code.ts";
import { isSameBytes } from "./signing_key.ts";

const KEY_BYTES = 32,
  BITS_PER_BYTE = 8;
const SALT = ascii("postern manage 1 session");
/** What stands before the 32 bytes of a private key in PKCS #8 (RFC 8410, 7), the form that WebCrypto takes. */
const PKCS8_HEAD = Uint8Array.fromHex("302e020100300506032b656e04220420");
/** The u-coordinate whose multiple by a private key is the public one. */
const BASE_POINT: Uint8Array<ArrayBuffer> = Uint8Array.from(
  { length: KEY_BYTES },
  (_, at) => at === 0 ? 9 : 0,
);

/** 32 bytes each: for what that side writes. */
export interface SessionKeys {
  readonly administrator: Uint8Array<ArrayBuffer>;
  readonly host: Uint8Array<ArrayBuffer>;
}

/** Our part of the agreement on one session. */
export class SessionExchange {
  /** What the other side gets: 32 bytes. */
  readonly publicKey: Uint8Array<ArrayBuffer>;
  readonly #key: CryptoKey;

  private constructor(key: CryptoKey, publicKey: Uint8Array<ArrayBuffer>) {
    this.#key = key;
    this.publicKey = publicKey;
  }

  /** Makes one, for one session. */
  static async create(random: RandomBytes): Promise<SessionExchange> {
    const pkcs8 = joinBytes(PKCS8_HEAD, random(KEY_BYTES));
    const key = await crypto.subtle.importKey("pkcs8", pkcs8, "X25519", false, ["deriveBits"]);
    return new SessionExchange(key, await multiplied(key, BASE_POINT));
  }

  /**
   * The secret that both sides have.
   *
   * @param theirs 32 bytes, signed by the other side together with all else that matters
   * @returns 32 bytes
   * @throws {ResetError} "malformed" if everybody would have it, or the key is our own
   */
  async agree(theirs: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
    if (isSameBytes(theirs, this.publicKey)) throw refused("found our own key");
    return await multiplied(this.#key, theirs);
  }
}

/**
 * The keys of a session.
 *
 * @param shared of `SessionExchange.agree`, 32 bytes
 * @param open as it travelled
 * @param answer as it travelled, 97 bytes
 */
export function sessionKeys(shared: Uint8Array, open: Uint8Array, answer: Uint8Array): SessionKeys {
  const prk = extract(sha256, shared, sha256(joinBytes(SALT, open, answer)));
  return {
    administrator: new Uint8Array(expand(sha256, prk, ascii("administrator key"), KEY_BYTES)),
    host: new Uint8Array(expand(sha256, prk, ascii("host key"), KEY_BYTES)),
  };
}

async function multiplied(key: CryptoKey, point: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  let shared: Uint8Array<ArrayBuffer>;
  try {
    const theirs = await crypto.subtle.importKey("raw", point, "X25519", false, []);
    const algorithm = { name: "X25519", public: theirs };
    shared = new Uint8Array(await crypto.subtle.deriveBits(algorithm, key, KEY_BYTES * BITS_PER_BYTE));
  } catch (cause) {
    throw refused("found a key that is none", { cause });
  }
  // RFC 7748, 6.1. Some runtimes refuse such a key themselves and some do not.
  if (shared.every((byte) => byte === 0)) throw refused("found a key that everybody has the secret of");
  return shared;
}

function refused(found: string, options: ErrorOptions = {}): ResetError {
  return new ResetError("malformed", "here", `cannot agree on keys: ${found}`, options);
}

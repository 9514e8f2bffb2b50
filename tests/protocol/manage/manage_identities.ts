/** Identities and bytes that tests of the manage protocol use, the same in each run. */
import { SigningKey } from "../../../src/protocol/manage/signing_key.ts";
import vectors from "../../vectors/manage-link.json" with { type: "json" };

export type Bytes = Uint8Array<ArrayBuffer>;
export const hex: (text: string) => Bytes = Uint8Array.fromHex;

export const serverKey: SigningKey = await SigningKey.fromSeed(hex(vectors.keys.server.seed));
export const hostKey: SigningKey = await SigningKey.fromSeed(hex(vectors.keys.host.seed));
export const adminKey: SigningKey = await SigningKey.fromSeed(hex(vectors.keys.administrator.seed));
/** Somebody else's. */
export const strangerKey: SigningKey = await SigningKey.fromSeed(new Uint8Array(32).fill(77));

/** Points of small order in Ed25519, and other spellings of them: signatures in their name need no private key. */
export const KEYS_OF_NOBODY: readonly string[] = [
  "0100000000000000000000000000000000000000000000000000000000000000",
  "0100000000000000000000000000000000000000000000000000000000000080",
  "0000000000000000000000000000000000000000000000000000000000000000",
  "0000000000000000000000000000000000000000000000000000000000000080",
  "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
  "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
  "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
  "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
  "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
  // p and p + 1: 0 and 1 once more; p + 2 is no point of small order, but a second spelling as well.
  "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
  "efffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
];

/** Public keys of X25519 whose shared secret is zero with any private key (RFC 7748, 6.1; https://cr.yp.to/ecdh.html). */
export const POINTS_OF_EVERYBODY: readonly string[] = [
  "0000000000000000000000000000000000000000000000000000000000000000",
  "0100000000000000000000000000000000000000000000000000000000000000",
  "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
  "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
  "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
];

/** The bytes with one bit changed. */
export function flipped(bytes: Uint8Array, bit: number): Bytes {
  const changed = new Uint8Array(bytes);
  changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
  return changed;
}

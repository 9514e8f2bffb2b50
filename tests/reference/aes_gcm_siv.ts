/**
 * AES-256-GCM-SIV once more, slow and obvious: AES from `node:crypto`, one block at a time, and POLYVAL with
 * BigInt, written from RFC 8452 alone. The tests hold the library that we ship against it.
 *
 * Not constant-time and never to be used outside of tests.
 */
import { createCipheriv } from "node:crypto";

const BLOCK_BYTES = 16;
const TAG_BYTES = 16;

/** Ciphertext followed by the 16-byte tag (RFC 8452 section 4). Key 32 bytes, nonce 12 bytes. */
export function referenceSeal(
  key: Uint8Array,
  nonce: Uint8Array,
  plaintext: Uint8Array,
  aad: Uint8Array = new Uint8Array(0),
): Uint8Array {
  const keys = deriveKeys(key, nonce);
  const tag = computeTag(keys, nonce, plaintext, aad);
  return concat(aesCtr(keys.encryption, tag, plaintext), tag);
}

/** The plaintext, or null if the tag does not fit (RFC 8452 section 5). */
export function referenceOpen(
  key: Uint8Array,
  nonce: Uint8Array,
  sealed: Uint8Array,
  aad: Uint8Array = new Uint8Array(0),
): Uint8Array | null {
  if (sealed.length < TAG_BYTES) {
    return null;
  }
  const keys = deriveKeys(key, nonce);
  const tag = sealed.subarray(sealed.length - TAG_BYTES);
  const plaintext = aesCtr(keys.encryption, tag, sealed.subarray(0, sealed.length - TAG_BYTES));
  return toInteger(computeTag(keys, nonce, plaintext, aad)) === toInteger(tag) ? plaintext : null;
}

export interface DerivedKeys {
  readonly authentication: Uint8Array;
  readonly encryption: Uint8Array;
}

/** RFC 8452 section 4, `derive_keys`: the first half of each of six encrypted blocks. */
export function deriveKeys(key: Uint8Array, nonce: Uint8Array): DerivedKeys {
  const halves = [0, 1, 2, 3, 4, 5].map((i) =>
    aesBlock(key, concat(littleEndian(BigInt(i), 4), nonce)).subarray(0, 8)
  );
  return { authentication: concat(...halves.slice(0, 2)), encryption: concat(...halves.slice(2)) };
}

/** RFC 8452 section 3: S_j = dot(S_{j-1} + X_j, H), where dot(a, b) = a * b * x^-128. */
export function polyval(h: Uint8Array, input: Uint8Array): Uint8Array {
  let sum = 0n;
  for (let i = 0; i < input.length; i += BLOCK_BYTES) {
    sum = dot(sum ^ toInteger(input.subarray(i, i + BLOCK_BYTES)), toInteger(h));
  }
  return littleEndian(sum, BLOCK_BYTES);
}

/** x^128 + x^127 + x^126 + x^121 + 1, bit i standing for x^i. */
const FIELD = 1n << 128n | 1n << 127n | 1n << 126n | 1n << 121n | 1n;

function dot(a: bigint, b: bigint): bigint {
  let product = 0n;
  for (let i = 0n; i < 128n; i++) {
    if (a >> i & 1n) {
      product ^= b;
    }
    if (product & 1n) {
      product ^= FIELD; // adds zero, and makes it divisible by x
    }
    product >>= 1n;
  }
  return product;
}

function computeTag(
  keys: DerivedKeys,
  nonce: Uint8Array,
  plaintext: Uint8Array,
  aad: Uint8Array,
): Uint8Array {
  const lengths = concat(
    littleEndian(BigInt(aad.length) * 8n, 8),
    littleEndian(BigInt(plaintext.length) * 8n, 8),
  );
  const sum = polyval(keys.authentication, concat(padded(aad), padded(plaintext), lengths));
  const masked = sum.map((byte, i) => byte ^ (nonce[i] ?? 0));
  masked.set([masked.slice(-1).map((byte) => byte & 0x7f)[0] ?? 0], BLOCK_BYTES - 1);
  return aesBlock(keys.encryption, masked);
}

function aesCtr(key: Uint8Array, tag: Uint8Array, input: Uint8Array): Uint8Array {
  const start = toInteger(tag) | 1n << 127n;
  const out = new Uint8Array(input.length);
  for (let i = 0; i < input.length; i++) {
    const block = BigInt(Math.floor(i / BLOCK_BYTES));
    const counter = start >> 32n << 32n | BigInt.asUintN(32, start + block); // 32 bits count and wrap around
    const keyStream = aesBlock(key, littleEndian(counter, BLOCK_BYTES));
    out.set([(input[i] ?? 0) ^ (keyStream[i % BLOCK_BYTES] ?? 0)], i);
  }
  return out;
}

function aesBlock(key: Uint8Array, block: Uint8Array): Uint8Array {
  const cipher = createCipheriv("aes-256-ecb", key, null);
  cipher.setAutoPadding(false);
  return concat(cipher.update(block), cipher.final()); // without final() the cipher counts as leaked
}

function padded(bytes: Uint8Array): Uint8Array {
  return concat(bytes, new Uint8Array((BLOCK_BYTES - bytes.length % BLOCK_BYTES) % BLOCK_BYTES));
}

function toInteger(bytes: Uint8Array): bigint {
  return bytes.reduce((value, byte, i) => value | BigInt(byte) << BigInt(8 * i), 0n);
}

function littleEndian(value: bigint, bytes: number): Uint8Array {
  return Uint8Array.from({ length: bytes }, (_, i) => Number(value >> BigInt(8 * i) & 0xffn));
}

function concat(...parts: Uint8Array[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

import assert from "node:assert/strict";
import { gcmsiv } from "@noble/ciphers/aes.js";
import fc from "fast-check";
import vectors from "../vectors/aes-256-gcm-siv.json" with { type: "json" };
import { holds } from "../property.ts";
import { deriveKeys, polyval, referenceOpen, referenceSeal } from "./aes_gcm_siv.ts";

const hex = Uint8Array.fromHex;

Deno.test("polyval() gives the answer of RFC 8452 appendix A", () => {
  const input = "4f4f95668c83dfb6401762bb2d01a262" + "d1a24ddd2721d006bbe45f20d3c9f362";
  const sum = polyval(hex("25629347589242761d31f826ba4b757b"), hex(input));
  assert.equal(sum.toHex(), "f7a3b47b846119fae5b7866cf5e5b77e");
});

Deno.test("deriveKeys() gives the record keys of RFC 8452 appendix C.2", () => {
  const keys = deriveKeys(hex("01" + "00".repeat(31)), hex("03" + "00".repeat(11)));
  assert.equal(keys.authentication.toHex(), "b5d3c529dfafac43136d2d11be284d7f");
  assert.equal(keys.encryption.toHex(), "b914f4742be9e1d7a2f84addbf96dec3456e3c6c05ecc157cdbf0700fedad222");
});

Deno.test("the reference and the library seal and open the vectors of RFC 8452", () => {
  assert(vectors.vectors.length >= 18);
  for (const vector of vectors.vectors) {
    const [key, nonce, aad] = [hex(vector.key), hex(vector.nonce), hex(vector.aad)];
    assert.equal(referenceSeal(key, nonce, hex(vector.plaintext), aad).toHex(), vector.result);
    assert.equal(referenceOpen(key, nonce, hex(vector.result), aad)?.toHex(), vector.plaintext);
    assert.equal(gcmsiv(key, nonce, aad).encrypt(hex(vector.plaintext)).toHex(), vector.result);
    assert.equal(gcmsiv(key, nonce, aad).decrypt(hex(vector.result)).toHex(), vector.plaintext);
  }
});

Deno.test("the reference and the library agree on any input", () => {
  const bytes = (minLength: number, maxLength = minLength): fc.Arbitrary<Uint8Array> =>
    fc.uint8Array({ minLength, maxLength }) as fc.Arbitrary<Uint8Array>;
  holds(fc.property(bytes(32), bytes(12), bytes(0, 80), bytes(0, 40), (key, nonce, plaintext, aad) => {
    const sealed = gcmsiv(key, nonce, aad).encrypt(plaintext);
    assert.deepEqual(sealed, referenceSeal(key, nonce, plaintext, aad));
    assert.deepEqual(referenceOpen(key, nonce, sealed, aad), plaintext);
  }));
});

Deno.test("referenceOpen() refuses each flipped bit and each shorter input", () => {
  const [key, nonce] = [new Uint8Array(32).fill(1), new Uint8Array(12).fill(2)];
  const sealed = referenceSeal(key, nonce, new Uint8Array(20).fill(3));
  for (let bit = 0; bit < sealed.length * 8; bit++) {
    const flipped = sealed.slice();
    flipped.set([(flipped[bit >> 3] ?? 0) ^ 1 << (bit & 7)], bit >> 3);
    assert.equal(referenceOpen(key, nonce, flipped), null);
  }
  for (let length = 0; length < sealed.length; length++) {
    assert.equal(referenceOpen(key, nonce, sealed.subarray(0, length)), null);
  }
});

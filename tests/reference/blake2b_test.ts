import assert from "node:assert/strict";
import { blake2b } from "@noble/hashes/blake2.js";
import fc from "fast-check";
import { holds } from "../property.ts";
import { referenceBlake2b } from "./blake2b.ts";

const hex = Uint8Array.fromHex;

Deno.test("referenceBlake2b() gives the answer of RFC 7693 appendix A", () => {
  assert.equal(
    referenceBlake2b(new TextEncoder().encode("abc"), 64).toHex(),
    "ba80a53f981c4d0d6a2797b69f12f6e94c212f14685ac4b74b12bb6fdbffa2d1" +
      "7d87c5392aab792dc252d5de4533cc9518d38aa8dbf1925ab92386edd4009923",
  );
});

/** RFC 7693 appendix E: digests of many lengths, with and without key, hashed together. */
Deno.test("referenceBlake2b() passes the self-test of RFC 7693 appendix E", () => {
  const parts: number[] = [];
  for (const digestBytes of [20, 32, 48, 64]) {
    for (const inputBytes of [0, 3, 128, 129, 255, 1024]) {
      const input = selfTestSequence(inputBytes, inputBytes);
      parts.push(...referenceBlake2b(input, digestBytes));
      parts.push(...referenceBlake2b(input, digestBytes, selfTestSequence(digestBytes, digestBytes)));
    }
  }
  assert.deepEqual(
    referenceBlake2b(Uint8Array.from(parts), 32),
    hex("c23a7800d98123bd10f506c61e29da5603d763b8bbad2e737f5e765a7bccd475"),
  );
});

Deno.test("the reference and the library agree on any input, digest length and key", () => {
  const input = fc.uint8Array({ maxLength: 400 });
  const key = fc.uint8Array({ maxLength: 64 });
  holds(
    fc.property(input, fc.integer({ min: 1, max: 64 }), key, (bytes, digestBytes, keyBytes) => {
      const options = keyBytes.length > 0 ? { dkLen: digestBytes, key: keyBytes } : { dkLen: digestBytes };
      assert.deepEqual(blake2b(bytes, options), referenceBlake2b(bytes, digestBytes, keyBytes));
    }),
    { numRuns: 60 },
  );
});

/** The deterministic input of appendix E, a Fibonacci generator in 32 bits. */
function selfTestSequence(bytes: number, seed: number): Uint8Array {
  let a = BigInt.asUintN(32, 0xdead4badn * BigInt(seed));
  let b = 1n;
  return Uint8Array.from({ length: bytes }, () => {
    const next = BigInt.asUintN(32, a + b);
    a = b;
    b = next;
    return Number(next >> 24n);
  });
}

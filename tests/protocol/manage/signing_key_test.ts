import assert from "node:assert/strict";
import {
  fingerprint,
  formatPublicKey,
  isPublicKey,
  parsePublicKey,
  SigningKey,
  verifySignature,
} from "../../../src/protocol/manage/signing_key.ts";
import { systemRandomBytes } from "../../../src/protocol/rpc/timers.ts";
import vectors from "../../vectors/manage-link.json" with { type: "json" };
import { type Bytes, flipped, hex, KEYS_OF_NOBODY } from "./manage_identities.ts";

const text = new TextEncoder().encode("what was signed");

for (const [name, vector] of Object.entries(vectors.keys)) {
  Deno.test(`SigningKey of the vector "${name}" has its public key, text and fingerprint`, async () => {
    const key = await SigningKey.fromSeed(hex(vector.seed));
    assert.equal(key.publicKey.toHex(), vector.publicKey);
    assert.equal(key.seed.toHex(), vector.seed);
    assert.equal(formatPublicKey(key.publicKey), vector.text);
    assert.equal(parsePublicKey(vector.text).toHex(), vector.publicKey);
    assert.equal(fingerprint(key.publicKey), vector.fingerprint);
  });
}

Deno.test("SigningKey signs as RFC 8032, 7.1, tests 1 to 3", async () => {
  const tests: readonly (readonly [string, string, string, string])[] = [
    [
      "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
      "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
      "",
      "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ],
    [
      "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
      "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
      "72",
      "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ],
    [
      "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
      "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
      "af82",
      "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ],
  ];
  for (const [seed, publicKey, message, signature] of tests) {
    const key = await SigningKey.fromSeed(hex(seed));
    assert.equal(key.publicKey.toHex(), publicKey);
    assert.equal((await key.sign(hex(message))).toHex(), signature);
    assert(await verifySignature(hex(publicKey), hex(message), hex(signature)));
  }
});

Deno.test("verifySignature() refuses any changed bit of signature, key or text", async () => {
  const key = await SigningKey.generate(systemRandomBytes);
  const signature = await key.sign(text);
  assert(await verifySignature(key.publicKey, text, signature));
  for (let bit = 0; bit < 512; bit += 3) {
    assert.equal(await verifySignature(key.publicKey, text, flipped(signature, bit)), false);
  }
  for (let bit = 0; bit < 256; bit += 3) {
    assert.equal(await verifySignature(flipped(key.publicKey, bit), text, signature), false);
  }
  for (let bit = 0; bit < text.length * 8; bit++) {
    assert.equal(await verifySignature(key.publicKey, flipped(text, bit), signature), false);
  }
});

Deno.test("verifySignature() is false, and does not throw, for keys and signatures of other lengths", async () => {
  const key = await SigningKey.generate(systemRandomBytes), signature = await key.sign(text);
  for (const length of [0, 1, 31, 33]) {
    assert.equal(await verifySignature(new Uint8Array(length).fill(9), text, signature), false);
  }
  for (const length of [0, 63, 65]) {
    assert.equal(await verifySignature(key.publicKey, text, new Uint8Array(length)), false);
  }
});

/** Whether a made-up signature, R one of these points and S zero, fits one of some texts. */
async function isForgeable(
  key: Bytes,
  verify: (key: Bytes, text: Bytes, signature: Bytes) => Promise<boolean>,
): Promise<boolean> {
  for (const point of KEYS_OF_NOBODY) {
    const signature = new Uint8Array(64);
    signature.set(hex(point));
    for (let number = 0; number < 32; number++) {
      if (await verify(key, Uint8Array.of(number), signature)) return true;
    }
  }
  return false;
}

async function verifyByWebCrypto(key: Bytes, bytes: Bytes, signature: Bytes): Promise<boolean> {
  const imported = await crypto.subtle.importKey("raw", key, "Ed25519", false, ["verify"]);
  return await crypto.subtle.verify("Ed25519", imported, signature, bytes);
}

Deno.test("verifySignature() takes nothing in the name of a key of small order, where WebCrypto takes forgeries", async () => {
  let forged = 0;
  for (const point of KEYS_OF_NOBODY) {
    assert.equal(isPublicKey(hex(point)), false, point);
    assert.equal(await isForgeable(hex(point), verifySignature), false, point);
    if (await isForgeable(hex(point), verifyByWebCrypto)) forged++;
  }
  // What the check is for: should a runtime refuse them itself one day, it is still no harm.
  assert(forged > 0, "WebCrypto refuses these keys itself now");
});

Deno.test("isPublicKey() takes keys next to those it refuses", () => {
  for (const key of KEYS_OF_NOBODY.slice(0, 10)) {
    const next = hex(key);
    next[1] = (next[1] ?? 0) ^ 1;
    // p - 1 with a smaller second byte is still below p.
    assert(isPublicKey(next), key);
  }
  assert.equal(isPublicKey(new Uint8Array(31).fill(3)), false);
  assert.equal(isPublicKey(new Uint8Array(33).fill(3)), false);
});

Deno.test("parsePublicKey() refuses what is no key without repeating it", () => {
  const good = vectors.keys.host.text;
  const lastOther = good.slice(0, -1) + (good.endsWith("A") ? "B" : "A");
  const refused = [
    "",
    good.slice(1),
    `${good}A`,
    `${good}=`,
    good.replace(/.$/, "="),
    ` ${good.slice(1)}`,
    `${good.slice(0, 20)}\n${good.slice(21)}`,
    `${good.slice(0, 20)}+${good.slice(21)}`,
    "_".repeat(43),
    formatPublicKey(hex(KEYS_OF_NOBODY[0] ?? "")),
  ];
  for (const each of refused) {
    assert.throws(() => parsePublicKey(each), (error: unknown) => {
      assert(error instanceof TypeError);
      assert(each.length < 8 || !error.message.includes(each.trim().slice(0, 8)), error.message);
      return true;
    }, each);
  }
  // Another last character is another key, or bits that no key has to spare.
  assert.notEqual(spellingOf(lastOther), good);
});

function spellingOf(key: string): string | null {
  try {
    return formatPublicKey(parsePublicKey(key));
  } catch {
    return null;
  }
}

Deno.test("parsePublicKey() takes each key in one spelling only", () => {
  const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  const start = vectors.keys.host.text.slice(0, -1);
  const taken = [...alphabet].filter((last) => spellingOf(start + last) !== null);
  // 43 characters have 2 bits more than 32 bytes.
  assert.equal(taken.length, alphabet.length / 4);
  for (const last of taken) assert.equal(spellingOf(start + last), start + last);
});

Deno.test("SigningKey shows no seed to whoever prints it", async () => {
  const key = await SigningKey.fromSeed(new Uint8Array(32).fill(0xab));
  for (const shown of [Deno.inspect(key), JSON.stringify(key), String(key)]) {
    assert(!/abab|171/.test(shown.replace(/"publicKey".*|publicKey: Uint8Array[^\]]*\]/s, "")), shown);
  }
  key.seed.fill(0);
  assert.equal(key.seed[0], 0xab);
});

Deno.test("SigningKey.fromSeed() refuses seeds of other lengths", async () => {
  for (const length of [0, 31, 33, 64]) {
    await assert.rejects(SigningKey.fromSeed(new Uint8Array(length)), TypeError);
  }
});

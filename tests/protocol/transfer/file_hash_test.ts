import { sha256 } from "@noble/hashes/sha2.js";
import assert from "node:assert/strict";
import { fileHash, HASH_BYTES } from "../../../src/protocol/transfer/file_hash.ts";

const hex = Uint8Array.fromHex;

Deno.test("fileHash() is SHA-256 over the size in 8 bytes and the hashes of the chunks", async () => {
  const hashes = new Uint8Array([...sha256(Uint8Array.of(1)), ...sha256(Uint8Array.of(2))]);
  assert.equal(hashes.length, 2 * HASH_BYTES);
  const expected = sha256(new Uint8Array([...hex("0000000000100001"), ...hashes]));
  assert.equal((await fileHash(1024 * 1024 + 1, hashes)).toHex(), expected.toHex());
  // Of an empty file: SHA-256 of eight zeros.
  assert.equal(
    (await fileHash(0, new Uint8Array(0))).toHex(),
    "af5570f5a1810b7af78caf4bc70a660f0df51e42baf91d4de5b2328de0e83dfc",
  );
  const largest = sha256(hex("001fffffffffffff"));
  assert.equal((await fileHash(2 ** 53 - 1, new Uint8Array(0))).toHex(), largest.toHex());
});

Deno.test("fileHash() tells files apart by size and by the order of their chunks", async () => {
  const [a, b] = [sha256(Uint8Array.of(1)), sha256(Uint8Array.of(2))];
  const hashes = await Promise.all([
    fileHash(2, new Uint8Array([...a, ...b])),
    fileHash(3, new Uint8Array([...a, ...b])),
    fileHash(2, new Uint8Array([...b, ...a])),
    fileHash(2, new Uint8Array(a)),
  ]);
  assert.equal(new Set(hashes.map((hash) => hash.toHex())).size, hashes.length);
});

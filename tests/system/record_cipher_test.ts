import { gcm } from "@noble/ciphers/aes.js";
import assert from "node:assert/strict";
import { RecordError, RecordOpener, RecordSealer } from "../../src/protocol/record/record.ts";
import { SHORT_RECORD_BYTES } from "../../src/protocol/record/record.ts";
import { loadRecordCipher } from "../../src/system/record_cipher.ts";

const TAG_BYTES = 16;
const key = Uint8Array.from({ length: 32 }, (_, at) => at);
const nonce = Uint8Array.from({ length: 12 }, (_, at) => 100 + at);
const head = Uint8Array.of(0, 0, 1, 2);
const cipher = await loadRecordCipher();

function bytesOf(length: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length }, (_, at) => at * 7);
}

Deno.test("RecordCipher seals as AES-256-GCM does elsewhere, and opens it, whatever the length", () => {
  for (const length of [0, 1, 15, 16, 17, 40, 1000, SHORT_RECORD_BYTES]) {
    const body = cipher.seal(key, nonce, head, bytesOf(length));
    assert.deepEqual(body, gcm(key, nonce, head).encrypt(bytesOf(length)));
    assert.deepEqual(cipher.open(key, nonce, head, body), bytesOf(length));
  }
});

Deno.test("RecordCipher.open() gives nothing where one bit of anything is another one", () => {
  const body = cipher.seal(key, nonce, head, bytesOf(40));
  for (let at = 0; at < body.length; at++) {
    const changed = body.slice();
    changed[at] = (changed[at] ?? 0) ^ 1;
    assert.equal(cipher.open(key, nonce, head, changed), null, `byte ${at}`);
  }
  for (const length of [TAG_BYTES, body.length - 1]) {
    assert.equal(cipher.open(key, nonce, head, body.subarray(0, length)), null, `${length} bytes`);
  }
  assert.equal(cipher.open(key, nonce, Uint8Array.of(0, 0, 1, 3), body), null, "the head");
  assert.equal(cipher.open(key, new Uint8Array(12), head, body), null, "the nonce");
  assert.equal(cipher.open(new Uint8Array(32), nonce, head, body), null, "the key");
});

Deno.test("RecordCipher.open() gives memory of its own", () => {
  const body = cipher.seal(key, nonce, head, bytesOf(40));
  const opened = cipher.open(key, nonce, head, body);
  assert.equal(opened?.buffer.byteLength, 40);
  body.fill(0);
  assert.deepEqual(opened, bytesOf(40));
});

Deno.test("RecordSealer and RecordOpener mean the same with it and without it, long and short in turns", async () => {
  const lengths = [1, SHORT_RECORD_BYTES, SHORT_RECORD_BYTES + 1, 40, 100_000, 3];
  for (const [ours, theirs] of [[cipher, undefined], [undefined, cipher], [cipher, cipher]] as const) {
    const sealer = new RecordSealer(key, ours), opener = new RecordOpener(key, theirs);
    const records = lengths.map((length) => sealer.seal(bytesOf(length)));
    // Opened all at once: what needs no other thread must not get ahead of what does.
    const whole = await Promise.all([...records, sealer.sealEnd()]);
    const opened = await Promise.all(whole.map((record) => opener.open(record)));
    assert.deepEqual(opened, [...lengths.map(bytesOf), null]);
  }
});

Deno.test("RecordOpener refuses with it what it refuses without it", async () => {
  const sealer = new RecordSealer(key), opener = new RecordOpener(key, cipher);
  const first = await sealer.seal(bytesOf(5)), second = await sealer.seal(bytesOf(6));
  const isRefused = (error: unknown): boolean =>
    error instanceof RecordError && error.refusal === "authentication";
  const swapped = [opener.open(second), opener.open(first)];
  for (const opening of swapped) await assert.rejects(opening, isRefused);
});

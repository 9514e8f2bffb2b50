import { gcm } from "@noble/ciphers/aes.js";
import assert from "node:assert/strict";
import {
  MAX_RECORD_BYTES,
  MAX_RECORD_PLAINTEXT_BYTES,
  RecordError,
  RecordOpener,
  type RecordRefusal,
  RecordSealer,
} from "../../../src/protocol/record/record.ts";
import vectors from "../../vectors/records.json" with { type: "json" };

const hex = Uint8Array.fromHex;
const key = hex(vectors.key);
const otherKey = new Uint8Array(32).fill(9);

async function sealedRecords(
  plaintexts: readonly string[],
  isEnded = true,
): Promise<Uint8Array<ArrayBuffer>[]> {
  const sealer = new RecordSealer(key);
  const records: Uint8Array<ArrayBuffer>[] = [];
  for (const plaintext of plaintexts) records.push(await sealer.seal(new TextEncoder().encode(plaintext)));
  if (isEnded) records.push(await sealer.sealEnd());
  return records;
}

/** What comes out of records, up to the refusal of the first that is refused. */
async function opened(records: readonly Uint8Array<ArrayBuffer>[]): Promise<(string | null)[]> {
  const opener = new RecordOpener(key);
  const found: (string | null)[] = [];
  for (const record of records) {
    try {
      const plaintext = await opener.open(record);
      found.push(plaintext === null ? null : new TextDecoder().decode(plaintext));
    } catch (error) {
      assert(error instanceof RecordError, String(error));
      return [...found, error.refusal];
    }
  }
  return found;
}

Deno.test("RecordSealer and RecordOpener agree with the vectors and with another implementation", async () => {
  const sealer = new RecordSealer(key), opener = new RecordOpener(key);
  assert.equal(vectors.records.length, 4);
  for (const { number, plaintext, record } of vectors.records) {
    const isLast = plaintext === "";
    assert.equal((await (isLast ? sealer.sealEnd() : sealer.seal(hex(plaintext)))).toHex(), record);
    assert.equal((await opener.open(hex(record)))?.toHex(), isLast ? undefined : plaintext);
    const nonce = new Uint8Array(12);
    nonce[11] = number;
    const bytes = hex(record);
    assert.equal(gcm(key, nonce, bytes.subarray(0, 4)).decrypt(bytes.subarray(4)).toHex(), plaintext);
  }
  assert(opener.hasEnded);
});

Deno.test("RecordOpener refuses a record with any bit flipped", async () => {
  const [record] = await sealedRecords(["hello"], false);
  assert(record !== undefined);
  for (let bit = 0; bit < record.length * 8; bit++) {
    const flipped = record.slice();
    flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ 1 << (bit & 7);
    assert.deepEqual(await opened([flipped]), [bit < 32 ? "length" : "authentication"], `bit ${bit}`);
  }
});

Deno.test("RecordOpener refuses records that were reordered, replayed, dropped, spliced or cut", async () => {
  const [first, second, third, end] = await sealedRecords(["one", "two", "three"]);
  const foreign = await new RecordSealer(otherKey).seal(new TextEncoder().encode("one"));
  assert(first && second && third && end);
  const spliced = new Uint8Array([...second.subarray(0, 10), ...first.subarray(10)]);
  const cases: readonly [string, Uint8Array<ArrayBuffer>[], (string | null)[]][] = [
    ["as sent", [first, second, third, end], ["one", "two", "three", null]],
    ["reordered", [second, first], ["authentication"]],
    ["reordered later", [first, third, second], ["one", "authentication"]],
    ["replayed", [first, first], ["one", "authentication"]],
    ["dropped", [first, third], ["one", "authentication"]],
    ["ended early by dropping", [first, end], ["one", "authentication"]],
    ["of another direction or connection", [foreign], ["authentication"]],
    ["spliced of two", [spliced], ["authentication"]],
    ["cut", [first.slice(0, -1)], ["length"]],
    ["lengthened", [new Uint8Array([...first, 0])], ["length"]],
    ["behind the end", [first, second, third, end, first], ["one", "two", "three", null, "after_end"]],
  ];
  for (const [what, records, expected] of cases) assert.deepEqual(await opened(records), expected, what);
});

Deno.test("RecordOpener refuses lengths that no record has", async () => {
  for (const length of [0, 15, MAX_RECORD_PLAINTEXT_BYTES + 17, 0xffffffff]) {
    const record = new Uint8Array(4 + Math.min(length, 2 * MAX_RECORD_PLAINTEXT_BYTES));
    new DataView(record.buffer).setUint32(0, length);
    const expected: RecordRefusal = "length";
    assert.deepEqual(await opened([record]), [expected]);
  }
});

Deno.test("RecordSealer takes 1 byte to 1 MiB, and nothing after the last record", async () => {
  const sealer = new RecordSealer(key), opener = new RecordOpener(key);
  const longest = new Uint8Array(MAX_RECORD_PLAINTEXT_BYTES).fill(3);
  const record = await sealer.seal(longest);
  assert.equal(record.length, MAX_RECORD_BYTES);
  assert.equal((await opener.open(record))?.length, longest.length);
  assert.throws(() => sealer.seal(new Uint8Array(MAX_RECORD_PLAINTEXT_BYTES + 1)), RangeError);
  assert.throws(() => sealer.seal(new Uint8Array(0)), RangeError);
  await sealer.sealEnd();
  assert.throws(() => sealer.seal(longest), TypeError);
  assert.throws(() => sealer.sealEnd(), TypeError);
});

Deno.test("RecordSealer never uses a nonce twice, though many records are being sealed at once", async () => {
  const sealer = new RecordSealer(key), opener = new RecordOpener(key);
  const records = await Promise.all(Array.from({ length: 100 }, (_, i) => sealer.seal(Uint8Array.of(i))));
  for (const [i, record] of records.entries()) assert.deepEqual(await opener.open(record), Uint8Array.of(i));
});

Deno.test("RecordSealer and RecordOpener refuse keys that are not 32 bytes", () => {
  assert.throws(() => new RecordSealer(new Uint8Array(31)), TypeError);
  assert.throws(() => new RecordOpener(new Uint8Array(0)), TypeError);
});

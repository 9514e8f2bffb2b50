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
    ["cut within its length", [first.slice(0, 3)], ["length"]],
    ["cut to nothing", [first.slice(0, 0)], ["length"]],
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

Deno.test("RecordSealer and RecordOpener copy what they are given before they return", async () => {
  const sealer = new RecordSealer(key);
  const records: Uint8Array<ArrayBuffer>[] = [];
  for (let number = 0; number < 3; number++) { // at first WebCrypto has not imported the key
    const plaintext = Uint8Array.of(1, 2, number);
    const sealing = sealer.seal(plaintext);
    plaintext.fill(9);
    records.push(await sealing);
  }
  const opener = new RecordOpener(key);
  for (const [number, record] of records.entries()) {
    const opening = opener.open(record);
    record.fill(9);
    assert.deepEqual(await opening, Uint8Array.of(1, 2, number));
  }
});

Deno.test("RecordSealer gives a record in two parts that are the record, each in memory of its own", async () => {
  const whole = new RecordSealer(key), parted = new RecordSealer(key);
  for (const length of [1, 100, MAX_RECORD_PLAINTEXT_BYTES]) {
    const plaintext = new Uint8Array(length).fill(5);
    const { head, body } = parted.sealParts(plaintext);
    const bytes = await body;
    assert.equal(bytes.length, bytes.buffer.byteLength);
    assert.deepEqual(new Uint8Array([...head, ...bytes]), await whole.seal(plaintext));
  }
  const { head, body } = parted.sealEndParts();
  assert.deepEqual(new Uint8Array([...head, ...await body]), await whole.sealEnd());
  assert.throws(() => parted.sealParts(Uint8Array.of(1)), TypeError);
  assert.throws(() => parted.sealEndParts(), TypeError);
  assert.throws(() => new RecordSealer(key).sealParts(new Uint8Array(0)), RangeError);
});

Deno.test("RecordOpener opens many records at once and gives them out in order", async () => {
  const sealer = new RecordSealer(key), opener = new RecordOpener(key);
  const lengths = [MAX_RECORD_PLAINTEXT_BYTES, 1, 70_000, 1, MAX_RECORD_PLAINTEXT_BYTES, 3, 2];
  const records = await Promise.all(lengths.map((length) => sealer.seal(new Uint8Array(length))));
  const settled: number[] = [];
  const opened = await Promise.all([...records, await sealer.sealEnd()].map(async (record, number) => {
    const plaintext = await opener.open(record);
    settled.push(number);
    return plaintext?.length ?? null;
  }));
  assert.deepEqual(opened, [...lengths, null]);
  assert.deepEqual(settled, settled.toSorted((a, b) => a - b));
});

Deno.test("RecordOpener gives nothing out behind a record it refuses, though all are opened at once", async () => {
  const records = await sealedRecords(["one", "two", "three", "four"]);
  for (const [bad, record] of records.entries()) {
    const opener = new RecordOpener(key);
    const flipped = record.map((byte, at) => at === record.length - 1 ? byte ^ 1 : byte);
    const outcomes = await Promise.allSettled(records.with(bad, flipped).map((each) => opener.open(each)));
    const expected = records.map((_, number) => number < bad ? "fulfilled" : "rejected");
    assert.deepEqual(outcomes.map(({ status }) => status), expected);
    const reasons = new Set(outcomes.flatMap((each) => each.status === "rejected" ? [each.reason] : []));
    assert.equal(reasons.size, 1, "all for the same reason");
    await assert.rejects(opener.open(record), { refusal: "authentication" });
    assert(!opener.hasEnded);
  }
});

Deno.test("RecordOpener refuses everything behind the last record, though all are opened at once", async () => {
  const records = await sealedRecords(["one"]), opener = new RecordOpener(key);
  const outcomes = await Promise.allSettled([...records, ...records].map((each) => opener.open(each)));
  const refusals = outcomes.map((each) => each.status === "rejected" ? each.reason.refusal : "given");
  assert.deepEqual(refusals, ["given", "given", "after_end", "after_end"]);
});

Deno.test("RecordSealer and RecordOpener refuse keys that are not 32 bytes", () => {
  assert.throws(() => new RecordSealer(new Uint8Array(31)), TypeError);
  assert.throws(() => new RecordOpener(new Uint8Array(0)), TypeError);
});

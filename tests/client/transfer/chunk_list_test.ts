import assert from "node:assert/strict";
import fc from "fast-check";
import { ChunkList } from "../../../src/client/transfer/chunk_list.ts";
import {
  LIST_RECORD_BYTES,
  type ListRecord,
  ListRecords,
} from "../../../src/client/transfer/chunk_list_records.ts";
import { TransferError } from "../../../src/protocol/transfer/errors.ts";
import { holds } from "../../property.ts";
import { TargetFolder } from "./file_sink_stage.ts";

const FINGERPRINT = new Uint8Array(32).fill(3);

const records = fc.oneof(
  fc.record({
    kind: fc.constant("chunk" as const),
    file: fc.nat({ max: 0xffffffff }),
    chunk: fc.nat({ max: 0xffffffff }),
    hash: fc.uint8Array({ minLength: 32, maxLength: 32 }),
  }),
  fc.record({
    kind: fc.constantFrom("found" as const, "forgotten" as const),
    file: fc.nat({ max: 0xffffffff }),
  }),
  fc.record({
    kind: fc.constantFrom("linking" as const, "renaming" as const, "placed" as const),
    file: fc.nat({ max: 0xffffffff }),
    stamp: fc.record({ sizeBytes: fc.maxSafeNat(), modifiedMs: fc.maxSafeInteger() }),
  }),
);

function plain(record: ListRecord): ListRecord {
  if (record.kind === "chunk") return { ...record, hash: new Uint8Array(record.hash) };
  return "stamp" in record ? { ...record, stamp: { ...record.stamp } } : { ...record };
}

function written(record: ListRecord, number: number): Uint8Array {
  const bytes = new Uint8Array(LIST_RECORD_BYTES);
  new ListRecords(FINGERPRINT).write(record, number, bytes);
  return bytes;
}

/** Opens a list and reads it; what it holds, and the list closed. */
async function readBack(path: string): Promise<ListRecord[] | null> {
  const list = await ChunkList.open(path);
  if (list === null) return null;
  const found: ListRecord[] = [];
  try {
    await list.readAll((record, number) => {
      assert.equal(number, found.length + 1);
      found.push(record);
    });
    assert.equal(list.count, found.length + 1);
  } finally {
    list.close();
  }
  return found;
}

function chunkRecords(count: number): ListRecord[] {
  return [...Array(count).keys()].map((chunk) => ({
    kind: "chunk",
    file: 1,
    chunk,
    hash: new Uint8Array(32).fill(chunk),
  }));
}

async function madeList(path: string, all: readonly ListRecord[]): Promise<void> {
  const list = await ChunkList.create(path, FINGERPRINT);
  try {
    await list.add(all);
    await list.sync();
  } finally {
    list.close();
  }
}

Deno.test("ListRecords reads what it wrote, as the record of this list and place alone", () => {
  holds(fc.property(records, fc.nat(), (record, number) => {
    const bytes = written(record, number);
    const list = new ListRecords(FINGERPRINT);
    assert.deepEqual(list.read(bytes, number), plain(record));
    assert.equal(list.read(bytes, number + 1), null);
    assert.equal(new ListRecords(new Uint8Array(32)).read(bytes, number), null);
  }));
});

Deno.test("ListRecords refuses a record in which any bit is another", () => {
  holds(
    fc.property(records, fc.nat({ max: LIST_RECORD_BYTES * 8 - 1 }), (record, bit) => {
      const bytes = written(record, 5);
      bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      assert.equal(new ListRecords(FINGERPRINT).read(bytes, 5), null);
    }),
    { numRuns: 1000 },
  );
});

Deno.test("ListRecords has the layout that it says", () => {
  const bytes = written({
    kind: "chunk",
    file: 0x01020304,
    chunk: 0x05060708,
    hash: new Uint8Array(32).fill(9),
  }, 7);
  assert.equal(bytes.subarray(0, 44).toHex(), `03000000${"01020304"}${"05060708"}${"09".repeat(32)}`);
  const placed = written({ kind: "placed", file: 1, stamp: { sizeBytes: 2, modifiedMs: -1 } }, 7);
  assert.equal(
    placed.subarray(0, 44).toHex(),
    `070000000000000100000000${"0".repeat(15)}2${"f".repeat(16)}${"0".repeat(32)}`,
  );
});

Deno.test("ChunkList gives back what was added, after as many openings as one likes", async () => {
  using folder = new TargetFolder();
  const path = `${folder.path}/chunks`;
  const all = chunkRecords(3000);
  await madeList(path, all.slice(0, 10));
  assert.equal((Deno.statSync(path).mode ?? 0) & 0o777, 0o600);
  for (const [from, to] of [[10, 11], [11, 1023], [1023, 1024], [1024, 3000]] as const) {
    const list = await ChunkList.open(path);
    assert(list !== null);
    assert.deepEqual(list.fingerprint, FINGERPRINT);
    await list.readAll(() => {});
    await list.add(all.slice(from, to));
    list.close();
    assert.deepEqual(await readBack(path), all.slice(0, to));
  }
});

Deno.test("ChunkList reads some of its records again while others are added", async () => {
  using folder = new TargetFolder();
  const all = chunkRecords(100);
  const list = await ChunkList.create(`${folder.path}/chunks`, FINGERPRINT);
  await list.add(all.slice(0, 50));
  const found: ListRecord[] = [];
  await Promise.all([list.read(11, 41, (record) => found.push(record)), list.add(all.slice(50))]);
  assert.deepEqual(found, all.slice(10, 40));
  await assert.rejects(list.read(90, 102, () => {}), TransferError);
  list.close();
  assert.deepEqual(await readBack(`${folder.path}/chunks`), all);
});

Deno.test("ChunkList cuts off what a crash has torn, wherever it was", async () => {
  using folder = new TargetFolder();
  const path = `${folder.path}/chunks`;
  const all = chunkRecords(3);
  await madeList(path, all);
  const whole = Deno.readFileSync(path);
  assert.equal(whole.length, 4 * LIST_RECORD_BYTES);
  for (let length = 0; length <= whole.length; length++) {
    Deno.writeFileSync(path, whole.subarray(0, length));
    const expected = length < LIST_RECORD_BYTES
      ? null
      : all.slice(0, Math.floor(length / LIST_RECORD_BYTES) - 1);
    assert.deepEqual(await readBack(path), expected, `${length} bytes`);
    // A torn write may also leave zeros in place of what had no time to come.
    Deno.writeFileSync(
      path,
      new Uint8Array([...whole.subarray(0, length), ...new Uint8Array(whole.length - length)]),
    );
    assert.deepEqual(await readBack(path), expected, `${length} bytes and zeros`);
    if (expected !== null) assert.equal(Deno.statSync(path).size, (expected.length + 1) * LIST_RECORD_BYTES);
  }
});

Deno.test("ChunkList goes on behind what was cut off", async () => {
  using folder = new TargetFolder();
  const path = `${folder.path}/chunks`;
  const all = chunkRecords(5);
  await madeList(path, all.slice(0, 3));
  Deno.truncateSync(path, 4 * LIST_RECORD_BYTES - 1);
  const list = await ChunkList.open(path);
  assert(list !== null);
  await list.readAll(() => {});
  await list.add(all.slice(2));
  list.close();
  assert.deepEqual(await readBack(path), all);
});

Deno.test("ChunkList refuses a bad record with a good one behind it, which no crash leaves", async () => {
  using folder = new TargetFolder();
  const path = `${folder.path}/chunks`;
  await madeList(path, chunkRecords(3000));
  const whole = Deno.readFileSync(path);
  for (const number of [1, 2, 1023, 1024, 1025, 2999]) {
    const bytes = whole.slice();
    bytes[number * LIST_RECORD_BYTES + 20] = (bytes[number * LIST_RECORD_BYTES + 20] ?? 0) ^ 1;
    Deno.writeFileSync(path, bytes);
    await assert.rejects(readBack(path), (error: unknown) => {
      assert(error instanceof TransferError && error.code === "storage");
      assert.match(error.message, new RegExp(`record ${number} is damaged`));
      return true;
    });
    assert.deepEqual(Deno.readFileSync(path), bytes, "it was changed");
  }
});

Deno.test("ChunkList does not take a record of another list, or two in the wrong order, for its own", async () => {
  using folder = new TargetFolder();
  const path = `${folder.path}/chunks`;
  await madeList(path, chunkRecords(3));
  const bytes = Deno.readFileSync(path);
  const other = `${folder.path}/other`;
  const list = await ChunkList.create(other, new Uint8Array(32).fill(4));
  await list.add(chunkRecords(3));
  list.close();
  bytes.set(Deno.readFileSync(other).subarray(2 * LIST_RECORD_BYTES), 2 * LIST_RECORD_BYTES);
  Deno.writeFileSync(path, bytes);
  assert.deepEqual(await readBack(path), chunkRecords(1));
});

Deno.test("ChunkList is not opened where there is none, and not made where something is", async () => {
  using folder = new TargetFolder();
  const path = `${folder.path}/chunks`;
  assert.equal(await ChunkList.open(path), null);
  Deno.symlinkSync(`${folder.path}/elsewhere`, path);
  await assert.rejects(ChunkList.create(path, FINGERPRINT), TransferError);
  assert.throws(() => Deno.lstatSync(`${folder.path}/elsewhere`), Deno.errors.NotFound);
});

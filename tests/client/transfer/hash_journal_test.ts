import assert from "node:assert/strict";
import fc from "fast-check";
import { HashJournal } from "../../../src/client/transfer/hash_journal.ts";
import { mountObstacle, unless } from "../../e2e/machine.ts";
import { TempFolder } from "../../e2e/temp_folder.ts";
import { until } from "../../e2e/until.ts";
import { randomBytes } from "./sample_bytes.ts";
import { TinyDisk } from "../../e2e/tiny_disk.ts";

const OWNER = new Uint8Array(32).fill(7);

type Hashes = readonly (readonly [chunk: number, hash: Uint8Array<ArrayBuffer>])[];

function someHashes(count: number, first = 0): Hashes {
  return Array.from({ length: count }, (_, at) => [first + at, randomBytes(32)] as const);
}

/** Appends and closes. */
async function write(path: string, hashes: Hashes, owner = OWNER): Promise<void> {
  const journal = await HashJournal.open(path, owner, () => {});
  for (const [chunk, hash] of hashes) journal.append(chunk, hash);
  await journal.close();
}

async function read(path: string, owner = OWNER): Promise<Hashes> {
  const found: [number, Uint8Array<ArrayBuffer>][] = [];
  const journal = await HashJournal.open(path, owner, (chunk, hash) => found.push([chunk, hash]));
  await journal.close();
  return found;
}

Deno.test("HashJournal gives back what was appended, over several openings", async () => {
  await using folder = await TempFolder.make("journal");
  const path = `${folder.path}/hashes`;
  const [first, second, third] = [someHashes(1), someHashes(700, 50), [[2 ** 40, randomBytes(32)]] as Hashes];
  for (const hashes of [first, second, [], third]) await write(path, hashes);
  assert.deepEqual(await read(path), [...first, ...second, ...third]);
  assert.equal(((await Deno.stat(path)).mode ?? 0) & 0o777, 0o600);
});

Deno.test("HashJournal reads the bytes that its description gives", async () => {
  await using folder = await TempFolder.make("journal");
  const path = `${folder.path}/hashes`;
  const batch = new Uint8Array([0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9, ...new Array(32).fill(0xab)]);
  const check = new Uint8Array(await crypto.subtle.digest("SHA-256", batch)).subarray(0, 8);
  const header = [...new TextEncoder().encode("PSTNHSH1"), ...OWNER];
  await Deno.writeFile(path, Uint8Array.of(...header, ...batch, ...check));
  assert.deepEqual(await read(path), [[9, new Uint8Array(32).fill(0xab)]]);
  const written = await Deno.readFile(path);
  await Deno.remove(path);
  await write(path, [[9, new Uint8Array(32).fill(0xab)]]);
  assert.deepEqual(await Deno.readFile(path), written);
});

Deno.test("HashJournal cut off anywhere gives the whole batches before, and goes on behind them", async () => {
  await using folder = await TempFolder.make("journal");
  const path = `${folder.path}/hashes`;
  const batches = [someHashes(2), someHashes(3, 2), someHashes(1, 5)];
  const ends = [0];
  for (const batch of batches) {
    await write(path, batch);
    ends.push((await Deno.stat(path)).size);
  }
  const whole = await Deno.readFile(path);
  const more = someHashes(1, 6);
  for (let length = 0; length <= whole.length; length += 3) {
    await Deno.writeFile(path, whole.subarray(0, length));
    const expected = batches.filter((_, at) => (ends[at + 1] ?? 0) <= length).flat();
    assert.deepEqual(await read(path), expected, `cut to ${length}`);
    await write(path, more);
    assert.deepEqual(await read(path), [...expected, ...more], `cut to ${length}, gone on`);
  }
});

Deno.test("HashJournal with any byte changed gives only hashes that were appended, and none behind the change", async () => {
  await using folder = await TempFolder.make("journal");
  const path = `${folder.path}/hashes`;
  const batches = [someHashes(2), someHashes(2, 2), someHashes(2, 4)];
  for (const batch of batches) await write(path, batch);
  const whole = await Deno.readFile(path);
  const batchBytes = 4 + 2 * 40 + 8;
  const headerBytes = whole.length - 3 * batchBytes;
  await fc.assert(
    fc.asyncProperty(fc.nat(whole.length - 1), fc.integer({ min: 1, max: 255 }), async (at, change) => {
      const changed = whole.slice();
      changed[at] = (changed[at] ?? 0) ^ change;
      await Deno.writeFile(path, changed);
      const left = at < headerBytes ? 0 : Math.floor((at - headerBytes) / batchBytes);
      assert.deepEqual(await read(path), batches.slice(0, left).flat());
    }),
    { numRuns: 60 },
  );
});

Deno.test("HashJournal takes a tail of zeros, as a power cut leaves it, for nothing", async () => {
  await using folder = await TempFolder.make("journal");
  const path = `${folder.path}/hashes`;
  const hashes = someHashes(3);
  await write(path, hashes);
  const { size } = await Deno.stat(path);
  await Deno.truncate(path, size + 5000);
  assert.deepEqual(await read(path), hashes);
  assert.equal((await Deno.stat(path)).size, size);
});

Deno.test("HashJournal of something else is emptied", async () => {
  await using folder = await TempFolder.make("journal");
  const path = `${folder.path}/hashes`;
  await write(path, someHashes(3));
  const other = new Uint8Array(32);
  assert.deepEqual(await read(path, other), []);
  assert.deepEqual(await read(path), []);
});

Deno.test("HashJournal writes while it is open, when many hashes have come", async () => {
  await using folder = await TempFolder.make("journal");
  const path = `${folder.path}/hashes`;
  const journal = await HashJournal.open(path, OWNER, () => {});
  const begun = (await Deno.stat(path)).size;
  for (const [chunk, hash] of someHashes(63)) journal.append(chunk, hash);
  assert.equal((await Deno.stat(path)).size, begun);
  for (const [chunk, hash] of someHashes(1, 63)) journal.append(chunk, hash);
  await until("the batch is written", async () => (await Deno.stat(path)).size === begun + 4 + 64 * 40 + 8);
  await journal.close();
});

Deno.test({
  ...unless(
    await mountObstacle(),
    "HashJournal that cannot write any more keeps what it has and harms nobody",
  ),
  fn: async () => {
    await using disk = await TinyDisk.mount(65_536);
    const path = `${disk.path}/hashes`;
    const first = someHashes(64);
    await write(path, first);
    const journal = await HashJournal.open(path, OWNER, () => {});
    await disk.fill();
    for (const [chunk, hash] of someHashes(5000, 64)) journal.append(chunk, hash);
    await journal.close();
    await Deno.remove(`${disk.path}/filler`);
    const found = await read(path);
    assert.deepEqual(found.slice(0, 64), first);
    assert.ok(found.length < 500);
  },
});

Deno.test("HashJournal.open() says what the system says", async () => {
  await using folder = await TempFolder.make("journal");
  await assert.rejects(HashJournal.open(folder.path, OWNER, () => {}));
  await assert.rejects(
    HashJournal.open(`${folder.path}/missing/hashes`, OWNER, () => {}),
    Deno.errors.NotFound,
  );
});

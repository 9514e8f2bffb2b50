/** What a receiver that ended at any step finds, and what it makes of it. */
import assert from "node:assert/strict";
import { ChunkList } from "../../../src/client/transfer/chunk_list.ts";
import type { ListRecord } from "../../../src/client/transfer/chunk_list_records.ts";
import { CHUNK_BYTES } from "../../../src/protocol/transfer/offer.ts";
import {
  expectedTree,
  MODIFIED_MS,
  Offered,
  receiveAll,
  refuses,
  sinkInto,
  TargetFolder,
  treeOf,
  workingFolder,
  writeRanges,
} from "./file_sink_stage.ts";

const SIZE_BYTES = CHUNK_BYTES + 5;
const WHOLE = [{ file: 0, first: 0, count: 2 }];

/** A run that ended when file "a" had come and was not in its place; "b" is not begun. */
async function interrupted(target: string): Promise<Offered> {
  const offered = new Offered({ a: { content: SIZE_BYTES }, b: { content: 1 }, e: { content: 0 }, f: {} });
  const sink = sinkInto(target);
  await sink.accept(offered.offer);
  await writeRanges(sink, offered, WHOLE);
  await sink.close();
  return offered;
}

/** Adds to the list as that run would have, had it not ended. */
async function list(target: string, record: ListRecord): Promise<void> {
  const chunks = await ChunkList.open(`${workingFolder(target)}/chunks`);
  assert(chunks !== null);
  await chunks.readAll(() => {});
  await chunks.add([record]);
  chunks.close();
}

/** The next run asks for these chunks of "a", and ends with everything in place; so does one that ends at once. */
async function goesOn(
  target: string,
  offered: Offered,
  missing: readonly unknown[],
  overwrite = false,
): Promise<void> {
  for (const isLast of [false, true]) {
    const sink = sinkInto(target, { overwrite });
    const ranges = await sink.accept(offered.offer);
    assert.deepEqual(ranges.filter(({ file }) => file === 0), missing);
    if (isLast) await receiveAll(sink, offered);
    await sink.close();
  }
  assert.deepEqual(treeOf(target), expectedTree(offered));
}

function dataPath(target: string): string {
  return `${workingFolder(target)}/data-0`;
}

/** Does with "a" what the first run would have done next: it is complete, and written down to come to its place. */
async function prepared(target: string, kind: "linking" | "renaming"): Promise<void> {
  const path = dataPath(target);
  Deno.utimeSync(path, MODIFIED_MS / 1000, MODIFIED_MS / 1000);
  await list(target, { kind, file: 0, stamp: { sizeBytes: SIZE_BYTES, modifiedMs: MODIFIED_MS } });
}

Deno.test("FileSink takes a file that was linked, and not listed as placed, for placed", async () => {
  using target = new TargetFolder();
  const offered = await interrupted(target.path);
  await prepared(target.path, "linking");
  Deno.linkSync(dataPath(target.path), `${target.path}/a`);
  const sink = sinkInto(target.path);
  await sink.accept(offered.offer);
  assert.throws(() => Deno.lstatSync(dataPath(target.path)), Deno.errors.NotFound);
  await sink.close();
  await goesOn(target.path, offered, []);
});

Deno.test("FileSink takes an empty file that was linked for placed, of which no chunk is listed", async () => {
  using target = new TargetFolder();
  const offered = await interrupted(target.path);
  const path = `${workingFolder(target.path)}/data-2`;
  Deno.writeTextFileSync(path, "");
  Deno.utimeSync(path, 5, 5);
  await list(target.path, { kind: "linking", file: 2, stamp: { sizeBytes: 0, modifiedMs: 5000 } });
  Deno.linkSync(path, `${target.path}/e`);
  await goesOn(target.path, offered, []);
});

Deno.test("FileSink does not take another file of the same bytes, or of the same time, for its own", async () => {
  for (const isSameTime of [false, true]) {
    using target = new TargetFolder();
    const offered = await interrupted(target.path);
    await prepared(target.path, "linking");
    Deno.copyFileSync(dataPath(target.path), `${target.path}/a`);
    if (isSameTime) Deno.utimeSync(`${target.path}/a`, MODIFIED_MS / 1000, MODIFIED_MS / 1000);
    const sink = sinkInto(target.path);
    await refuses(sink.accept(offered.offer), "exists", /"a"$/);
    await sink.close();
    await goesOn(target.path, offered, [], true);
  }
});

Deno.test("FileSink notices that a file was changed that was linked and not listed as placed", async () => {
  for (const isListed of [false, true]) {
    using target = new TargetFolder();
    const offered = await interrupted(target.path);
    await prepared(target.path, "linking");
    Deno.linkSync(dataPath(target.path), `${target.path}/a`);
    if (isListed) {
      await list(target.path, {
        kind: "placed",
        file: 0,
        stamp: { sizeBytes: SIZE_BYTES, modifiedMs: MODIFIED_MS },
      });
    }
    // In place: what it was linked from, and might be taken from again, is changed with it.
    using file = Deno.openSync(`${target.path}/a`, { write: true });
    file.writeSync(new Uint8Array(5));
    const sink = sinkInto(target.path);
    await refuses(sink.accept(offered.offer), "exists", /"a"$/);
    await sink.close();
    await goesOn(target.path, offered, WHOLE, true);
  }
});

Deno.test("FileSink puts a file into its place again that was linked and then moved away by somebody", async () => {
  for (const isChanged of [false, true]) {
    using target = new TargetFolder();
    const offered = await interrupted(target.path);
    await prepared(target.path, "linking");
    const moved = `${target.path}/moved`;
    Deno.linkSync(dataPath(target.path), moved);
    if (isChanged) Deno.utimeSync(moved, 7, 7);
    const sink = sinkInto(target.path);
    assert.deepEqual(
      (await sink.accept(offered.offer)).filter(({ file }) => file === 0),
      isChanged ? WHOLE : [],
    );
    await receiveAll(sink, offered);
    await sink.close();
    assert.deepEqual(treeOf(target.path), { ...expectedTree(offered), moved: offered.bytes(0) });
    assert.equal(Deno.statSync(moved).mtime?.getTime(), isChanged ? 7000 : MODIFIED_MS);
  }
});

Deno.test("FileSink takes a file that was renamed, and not listed as placed, for placed, if it is the one", async () => {
  for (const isChanged of [false, true]) {
    using target = new TargetFolder();
    const offered = await interrupted(target.path);
    await prepared(target.path, "renaming");
    Deno.renameSync(dataPath(target.path), `${target.path}/a`);
    if (isChanged) {
      Deno.utimeSync(`${target.path}/a`, 5, 5);
      const sink = sinkInto(target.path);
      await refuses(sink.accept(offered.offer), "exists", /"a"$/);
      await sink.close();
    }
    await goesOn(target.path, offered, isChanged ? WHOLE : [], isChanged);
  }
});

Deno.test("FileSink goes on with a place that it had reserved, and takes no other empty file for it", async () => {
  for (const [kind, content] of [["renaming", ""], ["renaming", "mine"], ["linking", ""]] as const) {
    using target = new TargetFolder();
    const offered = await interrupted(target.path);
    await prepared(target.path, kind);
    Deno.writeTextFileSync(`${target.path}/a`, content);
    if (kind === "renaming" && content === "") {
      // The run in between did not know yet that there are no links.
      await prepared(target.path, "linking");
      await goesOn(target.path, offered, []);
      continue;
    }
    const sink = sinkInto(target.path);
    await refuses(sink.accept(offered.offer), "exists", /"a"$/);
    await sink.close();
    assert.equal(Deno.readTextFileSync(`${target.path}/a`), content);
  }
});

Deno.test("FileSink asks again for all of a file whose data is missing, too short or no file", async () => {
  // Written to by whoever follows the link, so it is a file of the test's own.
  using elsewhere = new TargetFolder();
  const decoy = `${elsewhere.path}/decoy`;
  Deno.writeTextFileSync(decoy, "not to be touched".padEnd(2 * SIZE_BYTES));
  const damages: ((path: string) => void)[] = [
    (path) => Deno.removeSync(path),
    (path) => Deno.truncateSync(path, SIZE_BYTES - 1),
    (path) => {
      Deno.removeSync(path);
      Deno.symlinkSync(decoy, path);
    },
  ];
  for (const damage of damages) {
    using target = new TargetFolder();
    const offered = await interrupted(target.path);
    damage(dataPath(target.path));
    await goesOn(target.path, offered, WHOLE);
  }
  assert.equal(Deno.readTextFileSync(decoy), "not to be touched".padEnd(2 * SIZE_BYTES));
});

Deno.test("FileSink needs data only as far as the last chunk that is listed", async () => {
  using target = new TargetFolder();
  const offered = new Offered({ a: { content: 3 * CHUNK_BYTES }, b: { content: 1 } });
  const first = sinkInto(target.path);
  await first.accept(offered.offer);
  await writeRanges(first, offered, [{ file: 0, first: 1, count: 1 }]);
  await first.close();
  const missing = [{ file: 0, first: 0, count: 1 }, { file: 0, first: 2, count: 1 }];
  const second = sinkInto(target.path);
  assert.deepEqual((await second.accept(offered.offer)).slice(0, 2), missing);
  await second.close();
  Deno.truncateSync(dataPath(target.path), 2 * CHUNK_BYTES - 1);
  await goesOn(target.path, offered, [{ file: 0, first: 0, count: 3 }]);
});

Deno.test("FileSink gives a folder that it made in an earlier run its time and mode", async () => {
  using target = new TargetFolder();
  const offered = new Offered({ "f": { mode: 0o711 }, "f/a": { content: 1 }, "f/b": { content: 2 } });
  const first = sinkInto(target.path);
  await writeRanges(first, offered, await first.accept(offered.offer));
  await first.finishFile(1);
  await first.close();
  const second = sinkInto(target.path);
  await receiveAll(second, offered);
  await second.close();
  const { mode, mtime } = Deno.statSync(`${target.path}/f`);
  assert.equal((mode ?? 0) & 0o777, 0o711);
  assert.equal(mtime?.getTime(), MODIFIED_MS);
});

Deno.test("FileSink takes data without a record for nothing", async () => {
  using target = new TargetFolder();
  const offered = await interrupted(target.path);
  Deno.writeTextFileSync(`${workingFolder(target.path)}/data-1`, "longer than it is to be");
  await goesOn(target.path, offered, []);
});

Deno.test("FileSink begins anew if its list was not begun as a whole, whatever else is there", async () => {
  using target = new TargetFolder();
  const offered = await interrupted(target.path);
  Deno.truncateSync(`${workingFolder(target.path)}/chunks`, 20);
  await goesOn(target.path, offered, WHOLE);
});

Deno.test("FileSink refuses a list that says what the offer cannot have, or that is damaged, and leaves it", async () => {
  const stamp = { sizeBytes: 1, modifiedMs: 1 };
  const hash = new Uint8Array(32);
  const records: ListRecord[] = [
    { kind: "chunk", file: 4, chunk: 0, hash },
    { kind: "chunk", file: 0, chunk: 2, hash },
    { kind: "chunk", file: 2, chunk: 0, hash },
    { kind: "chunk", file: 3, chunk: 0, hash },
    { kind: "placed", file: 3, stamp },
    { kind: "forgotten", file: 9 },
    { kind: "found", file: 0 },
    { kind: "begun", fingerprint: new Uint8Array(32) },
  ];
  for (const record of records) {
    using target = new TargetFolder();
    const offered = await interrupted(target.path);
    if (record.kind !== "begun") await list(target.path, record);
    else corrupt(`${workingFolder(target.path)}/chunks`);
    const before = treeOf(target.path);
    const sink = sinkInto(target.path);
    await refuses(
      sink.accept(offered.offer),
      "storage",
      /record \d+ is (?:not about what is offered|damaged)/,
    );
    await sink.close();
    assert.deepEqual(treeOf(target.path), before);
  }
});

function corrupt(path: string): void {
  const bytes = Deno.readFileSync(path);
  bytes[60] = (bytes[60] ?? 0) ^ 1;
  Deno.writeFileSync(path, bytes);
}

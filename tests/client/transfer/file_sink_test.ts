import assert from "node:assert/strict";
import { TransferError, type TransferErrorCode } from "../../../src/protocol/transfer/errors.ts";
import { DEFAULT_LIMITS } from "../../../src/protocol/transfer/limits.ts";
import { CHUNK_BYTES, type Offer } from "../../../src/protocol/transfer/offer.ts";
import {
  expectedTree,
  madeUp,
  MODIFIED_MS,
  Offered,
  receiveAll,
  refuses,
  sha256,
  sinkInto,
  TargetFolder,
  treeOf,
  workingFolder,
  writeRanges,
} from "./file_sink_stage.ts";

const MIB = CHUNK_BYTES;

Deno.test("FileSink puts files and folders into place, with names, bytes, times and modes as offered", async () => {
  using target = new TargetFolder();
  const offered = new Offered({
    "album": { mode: 0o750 },
    "album/one.bin": { content: 3 * MIB + 5, mode: 0o640 },
    "album/empty": { content: 0 },
    "album/bare": { mode: 0o700, modifiedMs: 1_234_567_890_123 },
    "whole chunk": { content: MIB, mode: 0o400 },
    "-rf *": { content: 7, mode: 0o7777 },
    "\u65e5\u672c\u8a9e \u2764\ufe0f": { content: 9, modifiedMs: -86_400_000 },
    ["a".repeat(255)]: { content: 1, modifiedMs: 4_102_444_800_000 },
  });
  const sink = sinkInto(target.path);
  const ranges = await receiveAll(sink, offered);
  assert.deepEqual(ranges.map(({ file, count }) => [file, count]), [[1, 4], [4, 1], [5, 1], [6, 1], [7, 1]]);
  assert(sink.isComplete);
  await sink.close();
  assert.deepEqual(treeOf(target.path), expectedTree(offered));
  for (const { path, mode, modifiedMs } of offered.offer.entries) {
    const stat = Deno.statSync(`${target.path}/${path}`);
    assert.equal((stat.mode ?? 0) & 0o7777, mode & 0o777 & ~0o022, path);
    assert.equal(stat.mtime?.getTime(), modifiedMs, path);
    assert.equal(stat.isDirectory || stat.nlink === 1, true);
  }
  assert.deepEqual(sink.paths.map((path) => path.slice(target.path.length + 1)), [
    "album",
    "whole chunk",
    "-rf *",
    "\u65e5\u672c\u8a9e \u2764\ufe0f",
    "a".repeat(255),
  ]);
});

Deno.test("FileSink keeps all of it in the working folder until it is in place, and takes that away when closed", async () => {
  using target = new TargetFolder();
  Deno.mkdirSync(`${target.path}/.postern-0123456789abcdef`);
  Deno.writeTextFileSync(`${target.path}/.postern-0123456789abcdef/chunks`, "of another transfer");
  const before = treeOf(target.path);
  const offered = new Offered({ "a/b": { content: MIB + 1 }, "c": { content: 5 } });
  const sink = sinkInto(target.path, { codeTag: "5".repeat(64) });
  await writeRanges(sink, offered, await sink.accept(offered.offer));
  await sink.flush();
  const folder = workingFolder(target.path);
  const visible = Object.keys(treeOf(target.path)).filter((path) => !path.startsWith(".postern-"));
  assert.deepEqual(visible, []);
  assert.equal((Deno.lstatSync(folder).mode ?? 0) & 0o777, 0o700);
  for (const { name } of Deno.readDirSync(folder)) {
    assert.equal((Deno.lstatSync(`${folder}/${name}`).mode ?? 0) & 0o777, 0o600, name);
  }
  assert.deepEqual([...Deno.readDirSync(folder)].map(({ name }) => name).sort(), [
    "chunks",
    "data-0",
    "data-1",
    "lock",
    "pairing",
  ]);
  await sink.finishFile(0);
  await sink.finishFile(1);
  await sink.finish();
  assert(Deno.lstatSync(folder).isDirectory, "it is needed until the sender knows");
  await sink.close();
  await sink.close();
  assert.deepEqual(treeOf(target.path), { ...before, "a": "folder", ...expectedTree(offered) });
});

Deno.test("FileSink leaves in the working folder what somebody else put there", async () => {
  using target = new TargetFolder();
  const offered = new Offered({ a: { content: 1 } });
  const sink = sinkInto(target.path);
  await receiveAll(sink, offered);
  Deno.writeTextFileSync(`${workingFolder(target.path)}/data-x`, "not ours");
  await sink.close();
  assert.deepEqual(Object.keys(treeOf(workingFolder(target.path))), ["data-x"]);
});

Deno.test("FileSink goes on where it was, reading nothing that it has", async () => {
  using target = new TargetFolder();
  const offered = new Offered({
    a: { content: 4 * MIB },
    b: { content: 2 * MIB + 1 },
    c: { content: 3 },
    d: { content: 0 },
  });
  const first = sinkInto(target.path);
  const ranges = await first.accept(offered.offer);
  assert.deepEqual(ranges, [
    { file: 0, first: 0, count: 4 },
    { file: 1, first: 0, count: 3 },
    { file: 2, first: 0, count: 1 },
  ]);
  await writeRanges(first, offered, [{ file: 0, first: 0, count: 4 }, { file: 1, first: 0, count: 1 }]);
  await first.finishFile(0);
  await first.close();
  // Whoever read it again would notice.
  const dataPath = `${workingFolder(target.path)}/data-1`;
  using data = Deno.openSync(dataPath, { write: true });
  data.writeSync(new Uint8Array([1, 2, 3]));

  await using second = sinkInto(target.path);
  assert.deepEqual(await second.accept(offered.offer), [{ file: 1, first: 1, count: 2 }, {
    file: 2,
    first: 0,
    count: 1,
  }]);
  assert.deepEqual(await second.chunkHashes(0), await hashesOf(offered, 0));
  await writeRanges(second, offered, [{ file: 1, first: 1, count: 2 }, { file: 2, first: 0, count: 1 }]);
  assert.deepEqual(await second.chunkHashes(1), await hashesOf(offered, 1));
  for (const file of offered.files) await second.finishFile(file);
  await second.finish();
  await second.close();
  const expected = offered.bytes(1);
  expected.set([1, 2, 3]);
  assert.deepEqual(treeOf(target.path), { ...expectedTree(offered), b: expected });
});

async function hashesOf(offered: Offered, file: number): Promise<Uint8Array> {
  const chunks = Math.ceil(offered.entry(file).sizeBytes / MIB);
  const hashes = await Promise.all(
    [...Array(chunks).keys()].map((chunk) => sha256(offered.chunk(file, chunk))),
  );
  return new Uint8Array(hashes.flatMap((hash) => [...hash]));
}

Deno.test("FileSink answers the same offer again after a redial, also when everything is in place", async () => {
  using target = new TargetFolder();
  const offered = new Offered({ a: { content: 2 * MIB }, b: {} });
  let asked = 0;
  await using sink = sinkInto(target.path, { confirm: () => Promise.resolve(++asked > 0) });
  const [one, two] = await Promise.all([sink.accept(offered.offer), sink.accept(offered.offer)]);
  assert.deepEqual(one, two);
  await writeRanges(sink, offered, [{ file: 0, first: 1, count: 1 }]);
  assert.deepEqual(await sink.accept(offered.offer), [{ file: 0, first: 0, count: 1 }]);
  await receiveAll(sink, offered);
  assert.deepEqual(await sink.accept(offered.offer), []);
  assert.deepEqual(await sink.chunkHashes(0), await hashesOf(offered, 0));
  await sink.finishFile(0);
  await sink.finish();
  assert.equal(asked, 1);
});

Deno.test("FileSink finds all in place when it was killed before the sender heard of it", async () => {
  using target = new TargetFolder();
  const offered = new Offered({
    "a": { content: MIB + 9 },
    "e": { content: 0 },
    "f": { mode: 0o700 },
    "f/g": { content: 4 },
  });
  {
    using kept = new TargetFolder();
    const first = sinkInto(target.path);
    await receiveAll(first, offered);
    copyFolder(workingFolder(target.path), `${kept.path}/work`);
    await first.close();
    copyFolder(`${kept.path}/work`, workingFolder(target.path));
  }
  await using second = sinkInto(target.path, { confirm: () => Promise.reject(new Error("asked again")) });
  assert.deepEqual(await second.accept(offered.offer), []);
  for (const file of offered.files) {
    assert.deepEqual(await second.chunkHashes(file), await hashesOf(offered, file));
  }
  for (const file of offered.files) await second.finishFile(file);
  await second.finish();
  await second.close();
  assert.deepEqual(treeOf(target.path), expectedTree(offered));
});

function copyFolder(from: string, to: string): void {
  Deno.mkdirSync(to, { mode: 0o700 });
  for (const { name } of Deno.readDirSync(from)) Deno.copyFileSync(`${from}/${name}`, `${to}/${name}`);
}

Deno.test("FileSink notices that a file in its place was changed or removed between two runs", async () => {
  using target = new TargetFolder();
  const offered = new Offered({
    a: { content: 10 },
    b: { content: 10 },
    c: { content: MIB },
    d: { content: 5 },
  });
  const first = sinkInto(target.path);
  await writeRanges(first, offered, (await first.accept(offered.offer)).slice(0, 3));
  for (const file of [0, 1, 2]) await first.finishFile(file);
  await first.close();
  Deno.removeSync(`${target.path}/a`);
  Deno.writeTextFileSync(`${target.path}/b`, "0123456789");

  const second = sinkInto(target.path);
  await refuses(
    second.accept(offered.offer),
    "exists",
    /a file of that name is there already, and not replaced: "b"/,
  );
  await second.close();
  assert.equal(Deno.readTextFileSync(`${target.path}/b`), "0123456789");

  await using third = sinkInto(target.path, { overwrite: true });
  const ranges = await receiveAll(third, offered);
  assert.deepEqual(ranges.map(({ file }) => file), [0, 1, 3]);
  await third.close();
  assert.deepEqual(treeOf(target.path), expectedTree(offered));
});

Deno.test("FileSink refuses another offer than the one that it began with, and then begins anew", async () => {
  using target = new TargetFolder();
  const offered = new Offered({ a: { content: 2 * MIB } });
  const first = sinkInto(target.path);
  await writeRanges(first, offered, await first.accept(offered.offer));
  const variants: Offer[] = [
    {
      ...offered.offer,
      entries: offered.offer.entries.map((entry) => ({ ...entry, modifiedMs: MODIFIED_MS + 1 })),
    },
    { ...offered.offer, entries: offered.offer.entries.map((entry) => ({ ...entry, mode: 0o600 })) },
    new Offered({ a: { content: 2 * MIB - 1 } }).offer,
    new Offered({ b: { content: 2 * MIB } }).offer,
    new Offered({ a: { content: 2 * MIB }, b: {} }).offer,
  ];
  await refuses(first.accept(variants[0] ?? offered.offer), "changed", /given up/);
  assert.deepEqual(await first.accept(offered.offer), [{ file: 0, first: 0, count: 2 }]);
  for (const variant of variants) {
    await writeRanges(first, offered, [{ file: 0, first: 0, count: 1 }]);
    await first.flush();
    await refuses(first.accept(variant), "changed", /given up/);
    await first.accept(offered.offer);
  }
  await writeRanges(first, offered, [{ file: 0, first: 0, count: 1 }]);
  await first.close();

  const second = sinkInto(target.path);
  await refuses(second.accept(variants[2] ?? offered.offer), "changed", /given up/);
  assert.deepEqual([...Deno.readDirSync(workingFolder(target.path))].map(({ name }) => name), ["lock"]);
  await receiveAll(second, offered);
  await second.close();
  assert.deepEqual(treeOf(target.path), expectedTree(offered));
});

Deno.test("FileSink forgets a file whose hash was wrong, also for the next run", async () => {
  using target = new TargetFolder();
  const offered = new Offered({ a: { content: 2 * MIB + 3 }, b: { content: 5 } });
  const first = sinkInto(target.path);
  await writeRanges(first, offered, await first.accept(offered.offer));
  await first.flush();
  await first.forgetFile(0);
  assert.deepEqual(await first.accept(offered.offer), [{ file: 0, first: 0, count: 3 }]);
  // Once more, before anything of it was listed.
  await writeRanges(first, offered, [{ file: 0, first: 0, count: 3 }]);
  await first.forgetFile(0);
  await first.flush();
  assert.deepEqual(await first.accept(offered.offer), [{ file: 0, first: 0, count: 3 }]);
  await first.close();
  await using second = sinkInto(target.path);
  assert.deepEqual(await receiveAll(second, offered), [{ file: 0, first: 0, count: 3 }]);
  await second.close();
  assert.deepEqual(treeOf(target.path), expectedTree(offered));
});

Deno.test("FileSink puts no file into its place that is not as long as it was written", async () => {
  using target = new TargetFolder();
  const offered = new Offered({ a: { content: 100 } });
  await using sink = sinkInto(target.path);
  await writeRanges(sink, offered, await sink.accept(offered.offer));
  await sink.flush();
  Deno.truncateSync(`${workingFolder(target.path)}/data-0`, 99);
  await refuses(sink.finishFile(0), "storage", /data-0: it has 99 bytes instead of 100/);
  assert.throws(() => Deno.lstatSync(`${target.path}/a`), Deno.errors.NotFound);
});

Deno.test("FileSink asks the user once everything else is settled, and leaves no trace of what was refused", async () => {
  using target = new TargetFolder();
  const folder = `${target.path}/new/er`;
  const offered = new Offered({ a: { content: 5 } });
  const sink = sinkInto(folder, {
    codeTag: "a".repeat(64),
    confirm: (offer) => Promise.resolve(offer.totalBytes > 5),
  });
  await refuses(sink.accept(offered.offer), "refused", /not accepted/);
  await sink.close();
  assert.deepEqual(treeOf(target.path), { new: "folder" });
});

Deno.test("FileSink does nothing any more when the user answers after it was closed", async () => {
  using target = new TargetFolder();
  const offered = new Offered({ a: { content: 5 } });
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const { promise: asked, resolve: tellAsked } = Promise.withResolvers<void>();
  const sink = sinkInto(target.path, {
    confirm: () => {
      tellAsked();
      return promise;
    },
  });
  const accepting = refuses(sink.accept(offered.offer), "cancelled", /over/);
  await asked;
  await sink.close();
  resolve(true);
  await accepting;
  assert.deepEqual(treeOf(target.path), {});
});

Deno.test("FileSink refuses up front what is there already, with the names, and writes nothing", async () => {
  using target = new TargetFolder();
  const given = Object.fromEntries([...Array(25).keys()].map((i) => [`f${i}`, { content: 3 }]));
  for (const name of [...Object.keys(given), "x"]) Deno.writeTextFileSync(`${target.path}/${name}`, "mine");
  Deno.mkdirSync(`${target.path}/y`);
  const before = treeOf(target.path);
  const cases: [Offered, RegExp][] = [
    [new Offered(given), /: 25 of the names .*"f0", "f1", .*"f19" and 5 more$/],
    [
      new Offered({ "x/z": { content: 1 }, "x/w": { content: 1 } }),
      /: a file of that name is there already, .*: "x"$/,
    ],
    [new Offered({ "y": { content: 1 } }), /: "y"$/],
    [new Offered({ "x": {} }), /: "x"$/],
    [new Offered({ "y": {}, "y/a": { content: 1 }, "f3": { content: 1 } }), /: "f3"$/],
  ];
  for (const [offered, names] of cases) {
    const sink = sinkInto(target.path);
    await refuses(sink.accept(offered.offer), "exists", names);
    await sink.close();
    assert.deepEqual(treeOf(target.path), before);
  }
});

Deno.test("FileSink replaces files and nothing else when it may overwrite, and only when they are complete", async () => {
  using target = new TargetFolder();
  Deno.writeTextFileSync(`${target.path}/a`, "old");
  Deno.mkdirSync(`${target.path}/d`);
  const offered = new Offered({ a: { content: MIB + 1 }, b: { content: 2 } });
  const first = sinkInto(target.path, { overwrite: true });
  await writeRanges(first, offered, await first.accept(offered.offer));
  await first.flush();
  assert.equal(Deno.readTextFileSync(`${target.path}/a`), "old");
  await first.finishFile(0);
  await first.close();
  await using second = sinkInto(target.path, { overwrite: true });
  assert.deepEqual(await receiveAll(second, offered), []);
  await second.close();
  assert.deepEqual(treeOf(target.path), { ...expectedTree(offered), d: "folder" });

  const third = sinkInto(target.path, { overwrite: true });
  await refuses(third.accept(new Offered({ d: { content: 1 } }).offer), "exists", /"d"/);
  await third.close();
});

Deno.test("FileSink keeps what came to be at a file's place while it was received", async () => {
  using target = new TargetFolder();
  const offered = new Offered({ a: { content: 5 }, b: { content: 5 } });
  const sink = sinkInto(target.path);
  await writeRanges(sink, offered, await sink.accept(offered.offer));
  Deno.writeTextFileSync(`${target.path}/a`, "");
  const [a, b] = await Promise.allSettled([sink.finishFile(0), sink.finishFile(1)]);
  assert.equal(b?.status, "fulfilled", "its own trouble is the other's alone");
  assert(a?.status === "rejected" && a.reason instanceof TransferError);
  assert.equal(a.reason.code, "exists");
  assert.equal(Deno.readTextFileSync(`${target.path}/a`), "");
  await assert.rejects(sink.finish(), RangeError);
  Deno.removeSync(`${target.path}/a`);
  await sink.finishFile(0);
  await sink.finish();
  await sink.close();
  assert.deepEqual(treeOf(target.path), expectedTree(offered));
});

Deno.test("FileSink leaves times and modes of folders that were there before", async () => {
  using target = new TargetFolder();
  Deno.mkdirSync(`${target.path}/old`, { mode: 0o711 });
  const offered = new Offered({
    "old": { mode: 0o700 },
    "old/new": { mode: 0o700 },
    "old/new/a": { content: 1 },
  });
  const first = sinkInto(target.path);
  await first.accept(offered.offer);
  await first.close();
  await using sink = sinkInto(target.path);
  await receiveAll(sink, offered);
  await sink.close();
  const [old, made] = ["old", "old/new"].map((path) => Deno.statSync(`${target.path}/${path}`));
  assert.equal((old?.mode ?? 0) & 0o777, 0o711);
  assert.notEqual(old?.mtime?.getTime(), MODIFIED_MS);
  assert.equal((made?.mode ?? 0) & 0o777, 0o700);
  assert.equal(made?.mtime?.getTime(), MODIFIED_MS);
});

Deno.test("FileSink refuses names, sums and numbers that it does not accept, before it touches anything", async () => {
  using target = new TargetFolder();
  const limits = { ...DEFAULT_LIMITS, maxEntries: 2, maxTotalBytes: 10 };
  const one = new Offered({ a: { content: 5 } });
  const cases: [Offer, TransferErrorCode, RegExp][] = [
    [new Offered({ "../a": { content: 1 } }).offer, "path", /"\.\.\/a"/],
    [new Offered({ "a/.postern-0/x": { content: 1 } }).offer, "path", /working folders/],
    [new Offered({ "a/.ssh": {} }).offer, "path", /begins with a dot/],
    [new Offered({ "A": { content: 1 }, "a": { content: 1 } }).offer, "collision", /"a" .* "A"/],
    [new Offered({ a: {}, b: {}, c: {} }).offer, "limit", /3 entries, accepted are 2/],
    [new Offered({ a: { content: 11 } }).offer, "limit", /11 bytes, accepted are 10/],
    [{ ...one.offer, totalBytes: 4 }, "malformed", /5 bytes in all, announced were 4/],
  ];
  for (const [offer, code, message] of cases) {
    await using sink = sinkInto(target.path, { limits });
    await refuses(sink.accept(offer), code, message);
  }
  assert.deepEqual(treeOf(target.path), {});
  await using sink = sinkInto(target.path, { hidden: true });
  const hidden = new Offered({ ".ssh": { mode: 0o700 }, ".ssh/config": { content: 1 } });
  await receiveAll(sink, hidden);
  await sink.close();
  assert.deepEqual(treeOf(target.path), expectedTree(hidden));
});

Deno.test("FileSink keeps a text in memory and touches no folder for it", async () => {
  const text = "h\u00e9llo\n\ufeff\x1b[2J";
  for (const content of [new TextEncoder().encode(text), new Uint8Array(0)]) {
    const offered = new Offered({ "../not a path": { content } }, "text");
    const sink = sinkInto("/nowhere/at/all", { codeTag: "a".repeat(64) });
    const ranges = await sink.accept(offered.offer);
    assert.equal(ranges.length, content.length === 0 ? 0 : 1);
    assert.equal(sink.text, null);
    await writeRanges(sink, offered, ranges);
    assert.deepEqual(await sink.accept(offered.offer), []);
    assert.deepEqual(await sink.chunkHashes(0), await hashesOf(offered, 0));
    await sink.finishFile(0);
    await sink.finish();
    assert.equal(sink.text, new TextDecoder("utf-8", { ignoreBOM: true }).decode(content));
    assert(sink.isComplete);
    assert.deepEqual(sink.paths, []);
    await sink.close();
  }
});

Deno.test("FileSink refuses a text that is too long, is no text, or is not wanted", async () => {
  const tooLong = new Offered({ t: { content: MIB + 1 } }, "text");
  await refuses(
    sinkInto("/nowhere").accept(tooLong.offer),
    "limit",
    /text of 1048577 bytes, accepted are 1048576/,
  );
  const two = new Offered({ a: { content: 1 }, b: { content: 1 } }, "text");
  await refuses(sinkInto("/nowhere").accept(two.offer), "malformed", /not one file/);
  const binary = new Offered({ t: { content: new Uint8Array([0xc3, 0x28]) } }, "text");
  const sink = sinkInto("/nowhere");
  await writeRanges(sink, binary, await sink.accept(binary.offer));
  await refuses(sink.finishFile(0), "malformed", /not UTF-8/);
  await sink.forgetFile(0);
  assert.equal((await sink.accept(binary.offer)).length, 1);
  const unwanted = sinkInto("/nowhere", { confirm: () => Promise.resolve(false) });
  await refuses(unwanted.accept(binary.offer), "refused", /not accepted/);
});

Deno.test("FileSink takes chunks in any order, and leaves holes where zeros are", async () => {
  using target = new TargetFolder();
  const GIB = 1024 * MIB;
  const offered = new Offered({ sparse: { content: 8 * GIB }, odd: { content: 3 * MIB } });
  const zeroHash = await sha256(new Uint8Array(MIB));
  const first = sinkInto(target.path);
  await first.accept(offered.offer);
  for (const chunk of [8191, 4096, 0]) {
    const bytes = madeUp("sparse", chunk, MIB);
    await first.write(0, chunk, bytes, await sha256(bytes));
  }
  // Zeros where something is already are written.
  for (const chunk of [2, 0, 1]) await first.write(1, chunk, new Uint8Array(MIB), zeroHash);
  await first.finishFile(1);
  await first.close();
  assert.deepEqual(Deno.readFileSync(`${target.path}/odd`), new Uint8Array(3 * MIB));
  const data = Deno.statSync(`${workingFolder(target.path)}/data-0`);
  assert.equal(data.size, 8 * GIB);
  assert((data.blocks ?? 0) * 512 < 4 * MIB, "it is not sparse");

  const second = sinkInto(target.path);
  const missing = await second.accept(offered.offer);
  assert.deepEqual(missing, [{ file: 0, first: 1, count: 4095 }, { file: 0, first: 4097, count: 4094 }]);
  await second.close();
  const left = [...Deno.readDirSync(workingFolder(target.path))].map(({ name }) => name);
  assert.deepEqual(left.sort(), ["chunks", "data-0", "lock"]);
});

Deno.test("FileSink holds no bytes of an 8 GiB file of zeros, on disk or in memory", async () => {
  using target = new TargetFolder();
  const offered = new Offered({ zeros: { content: 8 * 1024 * MIB } });
  const zeroHash = await sha256(new Uint8Array(MIB));
  await using sink = sinkInto(target.path);
  await sink.accept(offered.offer);
  for (let chunk = 0; chunk < 8192; chunk++) await sink.write(0, chunk, new Uint8Array(MIB), zeroHash);
  await sink.finishFile(0);
  await sink.finish();
  await sink.close();
  const { size, blocks } = Deno.statSync(`${target.path}/zeros`);
  assert.equal(size, 8 * 1024 * MIB);
  assert((blocks ?? 0) * 512 < MIB);
});

Deno.test("FileSink takes the memory of a chunk, and takes no more than a few at once", async () => {
  using target = new TargetFolder();
  const offered = new Offered({ a: { content: 20 * MIB } });
  await using sink = sinkInto(target.path);
  await sink.accept(offered.offer);
  const chunks = [...Array(20).keys()].map((chunk) => offered.chunk(0, chunk));
  const hash = new Uint8Array(32);
  for (const [chunk, bytes] of chunks.entries()) {
    await sink.write(0, chunk, bytes, hash);
    assert(chunks.slice(0, chunk + 1).filter((each) => each.length > 0).length <= 4);
  }
  await sink.flush();
  assert(chunks.every((each) => each.length === 0));
});

Deno.test("FileSink tells a second process that the first one is at it", async () => {
  using target = new TargetFolder();
  const offered = new Offered({ a: { content: 5 } });
  await using first = sinkInto(target.path);
  await first.open();
  const second = sinkInto(target.path);
  await refuses(second.open(), "storage", /another process receives into it/);
  await refuses(second.accept(offered.offer), "storage", /another process/);
  await second.close();
  await receiveAll(first, offered);
  await first.close();
  assert.deepEqual(treeOf(target.path), expectedTree(offered));
});

Deno.test("FileSink tells a misuse by its session", async () => {
  using target = new TargetFolder();
  const offered = new Offered({ a: { content: 5 }, b: {} });
  await using sink = sinkInto(target.path);
  await assert.rejects(sink.finish(), TypeError);
  await sink.accept(offered.offer);
  await assert.rejects(sink.finishFile(0), RangeError);
  await assert.rejects(sink.chunkHashes(0), RangeError);
  await assert.rejects(sink.finish(), RangeError);
  await assert.rejects(sink.finishFile(1), RangeError);
  await assert.rejects(sink.write(0, 1, new Uint8Array(1), new Uint8Array(32)), RangeError);
});

Deno.test({
  name:
    "FileSink accepts 100,000 entries within seconds, with little memory and without holding up the heartbeats",
  timeout: 120_000,
  async fn(): Promise<void> {
    using target = new TargetFolder();
    const given: Record<string, { content?: number }> = {};
    for (let i = 0; i < 1000; i++) {
      given[`folder ${i}`] = {};
      for (let k = 0; k < 99; k++) given[`folder ${i}/\u00e9t\u00e9 ${k}`] = { content: 100 };
    }
    const offered = new Offered(given);
    const before = Deno.memoryUsage();
    await using sink = sinkInto(target.path);
    let turns = 0;
    const turning = setInterval(() => turns++, 100);
    const beginMs = performance.now();
    assert.equal((await sink.accept(offered.offer)).length, 99_000);
    const tookMs = performance.now() - beginMs;
    clearInterval(turning);
    assert(turns >= Math.floor(tookMs / 1000), `${turns} turns in ${tookMs} ms`);
    const grownMiB = (Deno.memoryUsage().heapUsed - before.heapUsed) / MIB;
    assert(grownMiB < 150, `${grownMiB} MiB`);
  },
});

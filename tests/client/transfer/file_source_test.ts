import assert from "node:assert/strict";
import fc from "fast-check";
import { FileSource } from "../../../src/client/transfer/file_source.ts";
import { OpenFiles } from "../../../src/client/transfer/file_source_handles.ts";
import { MemorySource } from "../../../src/client/transfer/file_source_memory.ts";
import { ChunkHashes, type HashKeeper } from "../../../src/client/transfer/share_state_hashes.ts";
import { walkPaths } from "../../../src/client/transfer/walk.ts";
import { TransferError, type TransferErrorCode } from "../../../src/protocol/transfer/errors.ts";
import { CHUNK_BYTES, chunkCount } from "../../../src/protocol/transfer/offer.ts";
import { systemClock } from "../../../src/system/clock.ts";
import { succeeds } from "../../e2e/machine.ts";
import { TempFolder } from "../../e2e/temp_folder.ts";
import { until } from "../../e2e/until.ts";
import { holds } from "../../property.ts";
import { randomBytes } from "./sample_bytes.ts";

const GIB = 1024 ** 3;

async function sourceOf(path: string): Promise<FileSource> {
  const { files } = await walkPaths([path]);
  return new FileSource(files, new ChunkHashes(files.entries));
}

function isTransferError(code: TransferErrorCode, text: RegExp = /./): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof TransferError, String(error));
    assert.equal(error.code, code);
    assert.match(error.message, text);
    return true;
  };
}

/** How many files of this folder this process has open. */
function openIn(folder: string): number {
  let open = 0;
  for (const { name } of Deno.readDirSync("/proc/self/fd")) {
    try {
      if (Deno.readLinkSync(`/proc/self/fd/${name}`).startsWith(folder)) open++;
    } catch {
      // It was the one by which the folder is read.
    }
  }
  return open;
}

Deno.test("FileSource.read() gives every chunk of files of any length, in memory of its own", async () => {
  await using folder = await TempFolder.make("source");
  for (const length of [1, 1000, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES + 77]) {
    const bytes = randomBytes(length);
    const path = `${folder.path}/${length}`;
    await Deno.writeFile(path, bytes);
    using source = await sourceOf(path);
    for (let chunk = chunkCount(length) - 1; chunk >= 0; chunk--) {
      const read = await source.read(0, chunk);
      assert.deepEqual(read, bytes.slice(chunk * CHUNK_BYTES, (chunk + 1) * CHUNK_BYTES));
      assert.equal(read.buffer.byteLength, read.length);
    }
    await source.verifyUnchanged(0);
  }
});

Deno.test("FileSource offers what was walked", async () => {
  await using folder = await TempFolder.make("source");
  await Deno.writeTextFile(`${folder.path}/a`, "123");
  const { files } = await walkPaths([folder.path]);
  using source = new FileSource(files, new ChunkHashes(files.entries));
  assert.deepEqual(source.offer, { kind: "files", entries: files.entries, totalBytes: 3 });
});

Deno.test("FileSource.read() by several sessions at once keeps their places apart, with few open files", async () => {
  await using folder = await TempFolder.make("source");
  const contents = Array.from({ length: 20 }, () => randomBytes(2 * CHUNK_BYTES + 5));
  for (const [at, bytes] of contents.entries()) await Deno.writeFile(`${folder.path}/${at + 100}`, bytes);
  using source = await sourceOf(folder.path);
  const session = async (step: number): Promise<void> => {
    for (let at = 0; at < 20; at++) {
      const file = (at * step) % 20;
      for (const chunk of [2, 0, 1]) {
        const expected = contents[file]?.slice(chunk * CHUNK_BYTES, (chunk + 1) * CHUNK_BYTES);
        assert.deepEqual(await source.read(file + 1, chunk), expected);
        assert.ok(openIn(folder.path) <= 8 + 5, "one for each session beside those that are kept");
      }
      await source.verifyUnchanged(file + 1);
    }
  };
  await Promise.all([1, 3, 7, 9, 11].map(session));
  source.close();
  await until("all files are closed", () => openIn(folder.path) === 0);
});

Deno.test("FileSource closes a file when its session is done with it", async () => {
  await using folder = await TempFolder.make("source");
  await Deno.writeTextFile(`${folder.path}/a`, "123");
  using source = await sourceOf(folder.path);
  await source.read(1, 0);
  assert.equal(openIn(folder.path), 1);
  await source.verifyUnchanged(1);
  await until("the file is closed", () => openIn(folder.path) === 0);
});

Deno.test("FileSource reads chunks of a sparse file of 8 GiB at any place", async () => {
  await using folder = await TempFolder.make("source");
  const path = `${folder.path}/huge`;
  using file = await Deno.open(path, { write: true, createNew: true });
  await file.truncate(8 * GIB + 3);
  const marks = [0, 4095, 4096, 8191].map((chunk) => ({ chunk, bytes: randomBytes(64) }));
  for (const { chunk, bytes } of marks) {
    await file.seek(chunk * CHUNK_BYTES + 1000, Deno.SeekMode.Start);
    await file.write(bytes);
  }
  using source = await sourceOf(path);
  assert.equal(source.offer.totalBytes, 8 * GIB + 3);
  for (const { chunk, bytes } of marks) {
    assert.deepEqual((await source.read(0, chunk)).subarray(1000, 1064), bytes);
  }
  assert.deepEqual(await source.read(0, 8192), new Uint8Array(3));
  await source.verifyUnchanged(0);
  assert.throws(() => source.knownHash(0, 8193), RangeError);
});

/** What may be done to a file between the walk and the reading. */
const CHANGES: Readonly<Record<string, (path: string) => Promise<void>>> = {
  "grew": (path) => Deno.writeTextFile(path, "more", { append: true }),
  "was cut": (path) => Deno.truncate(path, CHUNK_BYTES),
  "has another time": (path) => Deno.utime(path, 1000, 1000),
  "is gone": (path) => Deno.remove(path),
  "is a folder": async (path) => {
    await Deno.remove(path);
    await Deno.mkdir(path);
  },
  "was replaced by a copy with the same time": async (path) => {
    const { mtime } = await Deno.stat(path);
    await Deno.copyFile(path, `${path}.new`);
    await Deno.utime(`${path}.new`, mtime ?? 0, mtime ?? 0);
    await Deno.rename(`${path}.new`, path);
  },
  "was replaced by a link to a copy with the same time": async (path) => {
    const { mtime } = await Deno.stat(path);
    await Deno.rename(path, `${path}.real`);
    await Deno.utime(`${path}.real`, mtime ?? 0, mtime ?? 0);
    await Deno.copyFile(`${path}.real`, `${path}.copy`);
    await Deno.utime(`${path}.copy`, mtime ?? 0, mtime ?? 0);
    await Deno.symlink(`${path}.copy`, path);
  },
  // Opened, it would keep whoever reads waiting for a writer, for ever.
  "was replaced by a pipe": async (path) => {
    await Deno.remove(path);
    assert(await succeeds("mkfifo", [path]));
  },
};

for (const [what, change] of Object.entries(CHANGES)) {
  Deno.test(`FileSource notices that a file ${what}, when it is opened and at its end`, async () => {
    await using folder = await TempFolder.make("source");
    const path = `${folder.path}/in/file`;
    await Deno.mkdir(`${folder.path}/in`);
    await Deno.writeFile(path, randomBytes(2 * CHUNK_BYTES));
    using opened = await sourceOf(`${folder.path}/in`);
    using unopened = await sourceOf(`${folder.path}/in`);
    await opened.read(1, 0);
    await change(path);
    await assert.rejects(unopened.read(1, 0), isTransferError("changed", /could not send "in\/file"/));
    await assert.rejects(opened.verifyUnchanged(1), isTransferError("changed"));
    await assert.rejects(unopened.verifyUnchanged(1), isTransferError("changed"));
  });
}

Deno.test("FileSource notices other content of the same size whose time was set back, by the time of change", async () => {
  await using folder = await TempFolder.make("source");
  const path = `${folder.path}/file`;
  await Deno.writeTextFile(path, "one");
  // The runtime tells it in whole seconds: so the change has to come in a later one, by the clock of the file system,
  // which is a tick behind.
  const { mtime, ctime } = await Deno.stat(path);
  using source = await sourceOf(path);
  await until("another second has begun", () => Date.now() >= (ctime?.getTime() ?? 0) + 1050);
  await Deno.writeTextFile(path, "two");
  await Deno.utime(path, mtime ?? 0, mtime ?? 0);
  const after = await Deno.stat(path);
  assert.deepEqual([after.size, after.mtime, after.ino], [3, mtime, (await Deno.lstat(path)).ino]);
  await assert.rejects(source.read(0, 0), isTransferError("changed", /time of change is another/));
  await assert.rejects(source.verifyUnchanged(0), isTransferError("changed"));
});

Deno.test("FileSource never reads through a link that was put in the place of a folder on the way", async () => {
  await using folder = await TempFolder.make("source");
  for (const name of ["shared/sub", "private"]) {
    await Deno.mkdir(`${folder.path}/${name}`, { recursive: true });
    await Deno.writeTextFile(`${folder.path}/${name}/file`, "1234");
    await Deno.utime(`${folder.path}/${name}/file`, 1000, 1000);
  }
  using source = await sourceOf(`${folder.path}/shared`);
  await Deno.rename(`${folder.path}/shared/sub`, `${folder.path}/shared/was`);
  await Deno.symlink(`${folder.path}/private`, `${folder.path}/shared/sub`);
  await assert.rejects(source.read(2, 0), isTransferError("changed", /place was taken by another file/));
});

Deno.test("FileSource.read() of a file that is cut while it is open says that it changed", async () => {
  await using folder = await TempFolder.make("source");
  const path = `${folder.path}/file`;
  await Deno.writeFile(path, randomBytes(3 * CHUNK_BYTES));
  using source = await sourceOf(path);
  await source.read(0, 0);
  await Deno.truncate(path, CHUNK_BYTES + 10);
  await assert.rejects(source.read(0, 1), isTransferError("changed", /it is shorter/));
  await assert.rejects(source.read(0, 2), isTransferError("changed", /it is shorter/));
});

Deno.test("FileSource follows a link that was named, also when it looks again", async () => {
  await using folder = await TempFolder.make("source");
  await Deno.writeTextFile(`${folder.path}/real`, "1234");
  await Deno.symlink("real", `${folder.path}/link`);
  using source = await sourceOf(`${folder.path}/link`);
  assert.equal(new TextDecoder().decode(await source.read(0, 0)), "1234");
  await source.verifyUnchanged(0);
});

Deno.test("FileSource.read() goes on with a file that could not be opened once", async () => {
  await using folder = await TempFolder.make("source");
  const path = `${folder.path}/file`;
  await Deno.writeTextFile(path, "1234");
  using source = await sourceOf(path);
  await Deno.rename(path, `${path}.away`);
  await assert.rejects(source.read(0, 0), isTransferError("changed", /it is gone/));
  await Deno.rename(`${path}.away`, path);
  // A rename changes the time of change, which is told in seconds; in the same one the file is as it was.
  const second = await source.read(0, 0).then(() => "read", (error) => (error as TransferError).code);
  assert.ok(second === "read" || second === "changed");
  assert.equal(openIn(folder.path), second === "read" ? 1 : 0);
});

Deno.test("FileSource.read() after close() is refused and leaves nothing open", async () => {
  await using folder = await TempFolder.make("source");
  await Deno.writeFile(`${folder.path}/file`, randomBytes(CHUNK_BYTES));
  const source = await sourceOf(`${folder.path}/file`);
  const reading = source.read(0, 0);
  source.close();
  source.close();
  await reading.catch(isTransferError("cancelled"));
  await assert.rejects(source.read(0, 0), isTransferError("cancelled"));
  await until("all files are closed", () => openIn(folder.path) === 0);
});

Deno.test("FileSource.read() names what the system says", async () => {
  await using folder = await TempFolder.make("source");
  const path = `${folder.path}/in`;
  await Deno.mkdir(path);
  await Deno.writeTextFile(`${path}/file`, "1234");
  const { files } = await walkPaths([path]);
  await Deno.remove(path, { recursive: true });
  await Deno.symlink("in", path); // a loop
  using source = new FileSource(files, new ChunkHashes(files.entries));
  await assert.rejects(
    source.read(1, 0),
    isTransferError("storage", /could not read "in\/file": .*(loop|symbolic)/i),
  );
});

class Kept implements HashKeeper {
  readonly chunks: number[] = [];
  append(chunk: number): void {
    this.chunks.push(chunk);
  }
}

Deno.test("FileSource.keepHash() keeps for a later run only what could not change unseen", async () => {
  await using folder = await TempFolder.make("source");
  await Deno.writeTextFile(`${folder.path}/file`, "1234");
  const { files } = await walkPaths([`${folder.path}/file`]);
  const { changedMs, modifiedMs } = files.identity(0);
  assert.equal(changedMs % 1000, 0, "the runtime tells more digits now: SETTLED_MS can become shorter");
  let nowMs = 0;
  const hashes = new ChunkHashes(files.entries);
  const kept = new Kept();
  hashes.keepIn(kept);
  using source = new FileSource(files, hashes, { ...systemClock, wallMs: () => nowMs });
  const latestMs = Math.max(changedMs, modifiedMs);
  for (const [ageMs, isKept] of [[-5000, false], [0, false], [1999, false], [2000, true]] as const) {
    nowMs = latestMs + ageMs;
    const hash = randomBytes(32);
    source.keepHash(0, 0, hash);
    assert.deepEqual(source.knownHash(0, 0), hash, "in this run it is known in any case");
    assert.equal(kept.chunks.length > 0, isKept, `${ageMs} ms old`);
  }
});

Deno.test("ChunkHashes keeps every hash at its chunk, whatever the files are", () => {
  const sizes = fc.array(fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 2000 * CHUNK_BYTES })), {
    minLength: 1,
    maxLength: 8,
  });
  holds(
    fc.property(sizes, fc.array(fc.tuple(fc.nat(7), fc.nat(1999)), { maxLength: 60 }), (all, puts) => {
      const entries = all.map((sizeBytes, at) => (
        { kind: "file", path: `${at}`, sizeBytes, modifiedMs: 0, mode: 0 } as const
      ));
      const hashes = new ChunkHashes(entries);
      const model = new Map<string, Uint8Array<ArrayBuffer>>();
      for (const [file, chunk] of puts) {
        const hash = randomBytes(32);
        const isThere = chunk < chunkCount(all[file] ?? 0);
        if (!isThere) assert.throws(() => hashes.keep(file, chunk, hash, true), RangeError);
        if (!isThere) continue;
        hashes.keep(file, chunk, hash, true);
        model.set(`${file}/${chunk}`, hash);
      }
      for (const [file, size] of all.entries()) {
        for (let chunk = 0; chunk < chunkCount(size); chunk++) {
          assert.deepEqual(hashes.get(file, chunk), model.get(`${file}/${chunk}`) ?? null);
        }
      }
      assert.equal(hashes.chunks, all.reduce((sum, size) => sum + chunkCount(size), 0));
    }),
    { numRuns: 30 },
  );
});

Deno.test("OpenFiles gives a file to one after the other, and closes it when the last has ended", async () => {
  await using folder = await TempFolder.make("source");
  await Deno.writeTextFile(`${folder.path}/a`, "1234");
  let opened = 0;
  const files = new OpenFiles(1, () => {
    opened++;
    return Deno.open(`${folder.path}/a`);
  });
  const log: string[] = [];
  const use = (file: number, name: string): Promise<void> =>
    files.use(file, async (handle) => {
      log.push(`${name} begins`);
      await handle.stat();
      log.push(`${name} ends`);
    });
  const failing = files.use(1, () => Promise.reject(new Error("invented trouble")));
  await Promise.all([use(1, "a"), use(1, "b"), use(2, "c"), use(1, "d"), assert.rejects(failing)]);
  const ofOne = log.filter((line) => !line.startsWith("c") && !line.startsWith("d"));
  assert.deepEqual(ofOne, ["a begins", "a ends", "b begins", "b ends"]);
  assert.equal(opened, 3, "1, then 2 in its place, then 1 again");
  files.close();
  await until("all files are closed", () => openIn(folder.path) === 0);
});

Deno.test("MemorySource gives its bytes in chunks", async () => {
  const bytes = randomBytes(CHUNK_BYTES + 9);
  const source = new MemorySource("files", "name", bytes, 5);
  const entry = { kind: "file", path: "name", sizeBytes: bytes.length, modifiedMs: 5, mode: 0o644 };
  assert.deepEqual(source.offer, { kind: "files", entries: [entry], totalBytes: bytes.length });
  const chunks = [await source.read(0, 0), await source.read(0, 1)];
  assert.deepEqual(new Uint8Array(await new Blob(chunks).arrayBuffer()), bytes);
  chunks[0]?.buffer.transfer(0);
  assert.equal((await source.read(0, 0)).length, CHUNK_BYTES, "what was given away is not ours");
  assert.equal(source.knownHash(), null);
});

Deno.test("FileSource reads a file whose name is odd but legal", async () => {
  await using folder = await TempFolder.make("source");
  const names = [
    "-rf",
    "*",
    "$(x)",
    "a'b\"c",
    "ünïcödé",
    "名前",
    "a b",
    "😀",
    ".hidden",
    "x".repeat(255),
    "%41",
    "#?&",
  ];
  for (const name of names) await Deno.writeTextFile(`${folder.path}/${name}`, name);
  using source = await sourceOf(folder.path);
  for (const [file, { kind, path }] of source.offer.entries.entries()) {
    if (kind === "file") {
      assert.equal(new TextDecoder().decode(await source.read(file, 0)), path.slice(path.indexOf("/") + 1));
    }
  }
  assert.equal(source.offer.entries.length, names.length + 1);
});

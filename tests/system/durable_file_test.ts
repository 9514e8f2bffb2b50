import assert from "node:assert/strict";
import {
  type FileLayer,
  type FileLayerSync,
  type OpenFileSync,
  replaceFile,
  systemFiles,
  systemFilesSync,
  temporaryPathOf,
  writeFileDurably,
  writeFileDurablySync,
} from "../../src/system/durable_file.ts";
import { describeError, Failure } from "../../src/system/failure.ts";
import { FaultyFiles, type Step, STEPS } from "./faulty_files.ts";

const OLD = new TextEncoder().encode("old content");
const NEW = new TextEncoder().encode("new content that is longer");
/** The same faults for the synchronous layer. */
function faultyFilesSync(failAt: Step): FileLayerSync {
  function step(name: Step): void {
    if (name === failAt) throw new Error(`Input/output error at ${name}`);
  }
  return {
    createNew(path: string, mode: number): OpenFileSync {
      step("createNew");
      const file = systemFilesSync.createNew(path, mode);
      return {
        write(bytes: Uint8Array): number {
          step("write");
          return file.write(bytes);
        },
        sync(): void {
          step("sync");
          file.sync();
        },
        close: (): void => file.close(),
      };
    },
    rename(from: string, to: string): void {
      step("rename");
      systemFilesSync.rename(from, to);
    },
    syncFolder(path: string): void {
      step("syncFolder");
      systemFilesSync.syncFolder(path);
    },
    remove: systemFilesSync.remove,
  };
}

async function withFolder(test: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "postern-durable-" });
  try {
    await test(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

function names(folder: string): string[] {
  return [...Deno.readDirSync(folder)].map((entry) => entry.name).sort();
}

for (const step of STEPS) {
  Deno.test(`writeFileDurably() leaves no half-written file when ${step} fails`, async () => {
    await withFolder(async (folder) => {
      const path = `${folder}/state`;
      await Deno.writeFile(path, OLD);
      await assert.rejects(
        writeFileDurably(path, NEW, { files: new FaultyFiles(step) }),
        (e: unknown) =>
          e instanceof Failure && e.message.includes(path) && describeError(e).includes(`error at ${step}`),
      );
      // Only the fsync of the folder comes after the rename: the whole new content is there, and the error says
      // that it must not be relied on.
      assert.deepEqual(await Deno.readFile(path), step === "syncFolder" ? NEW : OLD);
      assert.deepEqual(names(folder), ["state"]);
    });
  });

  Deno.test(`writeFileDurablySync() leaves no half-written file when ${step} fails`, async () => {
    await withFolder(async (folder) => {
      const path = `${folder}/state`;
      await Deno.writeFile(path, OLD);
      assert.throws(
        () => writeFileDurablySync(path, NEW, { files: faultyFilesSync(step) }),
        (e: unknown) => e instanceof Failure && e.message.includes(path),
      );
      assert.deepEqual(await Deno.readFile(path), step === "syncFolder" ? NEW : OLD);
      assert.deepEqual(names(folder), ["state"]);
    });
  });
}

Deno.test("writeFileDurably() goes through all five steps in order and survives short writes", async () => {
  await withFolder(async (folder) => {
    const files = new FaultyFiles(undefined, 20);
    await writeFileDurably(`${folder}/state`, NEW, { files });
    assert.deepEqual(files.reached, ["createNew", "write", "write", "sync", "rename", "syncFolder"]);
    assert.deepEqual(await Deno.readFile(`${folder}/state`), NEW);
  });
});

Deno.test("replaceFile() is atomic but never waits for the disk", async () => {
  await withFolder(async (folder) => {
    const files = new FaultyFiles(undefined);
    await replaceFile(`${folder}/status`, NEW, { mode: 0o644, files });
    assert.deepEqual(files.reached, ["createNew", "write", "rename"]);
    assert.deepEqual(names(folder), ["status"]);
  });
});

Deno.test("writeFileDurably() does not loop when the file system takes no more bytes", async () => {
  await withFolder(async (folder) => {
    await assert.rejects(
      writeFileDurably(`${folder}/state`, NEW, { files: new FaultyFiles(undefined, 0) }),
      (e: unknown) => describeError(e).includes("accepted no more bytes"),
    );
    assert.deepEqual(names(folder), []);
  });
});

Deno.test("writeFileDurably() sets the exact mode, private unless asked", async () => {
  await withFolder(async (folder) => {
    await writeFileDurably(`${folder}/private`, NEW);
    await writeFileDurably(`${folder}/public`, NEW, { mode: 0o666 });
    writeFileDurablySync(`${folder}/sync`, NEW, { mode: 0o640 });
    assert.equal(((await Deno.stat(`${folder}/private`)).mode ?? 0) & 0o777, 0o600);
    assert.equal(((await Deno.stat(`${folder}/public`)).mode ?? 0) & 0o777, 0o666);
    assert.equal(((await Deno.stat(`${folder}/sync`)).mode ?? 0) & 0o777, 0o640);
  });
});

Deno.test("writeFileDurably() names the path when the folder is missing", async () => {
  await withFolder(async (folder) => {
    const path = `${folder}/missing/state`;
    await assert.rejects(
      writeFileDurably(path, NEW),
      (e: unknown) => e instanceof Failure && e.message.includes(path),
    );
  });
});

Deno.test("temporaryPathOf() is beside the file", () => {
  assert.equal(temporaryPathOf("/var/lib/postern/state"), "/var/lib/postern/.state.tmp");
  assert.equal(temporaryPathOf("/state"), "/.state.tmp");
  assert.equal(temporaryPathOf("state"), ".state.tmp");
});

for (const write of [writeFileDurably, replaceFile]) {
  Deno.test(`${write.name}() of a sole writer touches the file and its one temporary name, no other`, async () => {
    await withFolder(async (folder) => {
      const path = `${folder}/state`;
      const touched = new Set<string>();
      const files: FileLayer = {
        ...systemFiles,
        createNew: (path, mode) => (touched.add(path), systemFiles.createNew(path, mode)),
        rename: (from, to) => (touched.add(from).add(to), systemFiles.rename(from, to)),
        remove: (path) => (touched.add(path), systemFiles.remove(path)),
      };
      await write(path, OLD, { files, soleWriter: true });
      await write(path, NEW, { files, soleWriter: true });
      assert.deepEqual(await Deno.readFile(path), NEW);
      assert.deepEqual(names(folder), ["state"]);
      assert.deepEqual([...touched].sort(), [`${folder}/.state.tmp`, path]);
    });
  });

  Deno.test(`${write.name}() of a sole writer takes away what a killed one left, and nothing else`, async () => {
    await withFolder(async (folder) => {
      for (const name of ["state", ".state.tmp", ".other.tmp"]) {
        await Deno.writeFile(`${folder}/${name}`, OLD);
      }
      await write(`${folder}/state`, NEW, { soleWriter: true });
      assert.deepEqual(names(folder), [".other.tmp", "state"]);
      assert.deepEqual(await Deno.readFile(`${folder}/state`), NEW);
    });
  });

  Deno.test(`${write.name}() of a sole writer never writes through a link that was planted`, async () => {
    await withFolder(async (folder) => {
      await Deno.writeFile(`${folder}/victim`, OLD);
      await Deno.symlink(`${folder}/victim`, `${folder}/.state.tmp`);
      await write(`${folder}/state`, NEW, { soleWriter: true });
      assert.deepEqual(await Deno.readFile(`${folder}/victim`), OLD);
      assert.equal((await Deno.lstat(`${folder}/state`)).isSymlink, false);

      // Planted anew as soon as it is removed: refused instead of followed.
      const files: FileLayer = {
        ...systemFiles,
        remove: async (path) => {
          await Deno.remove(path);
          await Deno.symlink(`${folder}/victim`, path);
        },
      };
      await Deno.symlink(`${folder}/victim`, `${folder}/.state.tmp`);
      await assert.rejects(write(`${folder}/state`, OLD, { files, soleWriter: true }), Failure);
      assert.deepEqual(await Deno.readFile(`${folder}/state`), NEW);
      assert.deepEqual(await Deno.readFile(`${folder}/victim`), OLD);
    });
  });
}

for (const step of STEPS) {
  Deno.test(`writeFileDurably() of a sole writer that fails at ${step} leaves no temporary file`, async () => {
    await withFolder(async (folder) => {
      await Deno.writeFile(`${folder}/state`, OLD);
      const files = new FaultyFiles(step);
      await assert.rejects(writeFileDurably(`${folder}/state`, NEW, { files, soleWriter: true }), Failure);
      assert.deepEqual(names(folder), ["state"]);
      assert.deepEqual(await Deno.readFile(`${folder}/state`), step === "syncFolder" ? NEW : OLD);
    });
  });
}

Deno.test("writeFileDurably() of a sole writer refuses when something else than a file is in the way", async () => {
  await withFolder(async (folder) => {
    await Deno.mkdir(`${folder}/.state.tmp/in the way`, { recursive: true });
    await assert.rejects(writeFileDurably(`${folder}/state`, NEW, { soleWriter: true }), Failure);
    assert.deepEqual(names(folder), [".state.tmp"]);
  });
});

Deno.test({
  name: "writeFileDurably() on a full disk keeps the old content (needs root to mount a tmpfs)",
  ignore: Deno.uid() !== 0,
  async fn(): Promise<void> {
    await withFolder(async (folder) => {
      const mount = await new Deno.Command("mount", {
        args: ["-t", "tmpfs", "-o", "size=64k", "tmpfs", folder],
        stdout: "null",
        stderr: "piped",
      }).output();
      assert.ok(mount.success, new TextDecoder().decode(mount.stderr));
      try {
        const path = `${folder}/state`;
        await writeFileDurably(path, OLD);
        await assert.rejects(
          writeFileDurably(path, new Uint8Array(1 << 20)),
          (e: unknown) => e instanceof Failure && describeError(e).includes("No space left"),
        );
        assert.deepEqual(await Deno.readFile(path), OLD);
        assert.deepEqual(names(folder), ["state"]);
      } finally {
        await new Deno.Command("umount", { args: [folder] }).output();
      }
    });
  },
});

import assert from "node:assert/strict";
import {
  keepPairing,
  keptPairings,
  prepareTarget,
  WorkingFolder,
  workingFolderPath,
} from "../../../src/client/transfer/working_folder.ts";
import { unless } from "../../e2e/machine.ts";
import { refuses, SECRET, TargetFolder, treeOf } from "./file_sink_stage.ts";

const OTHER = new Uint8Array(32).fill(8);

Deno.test("WorkingFolder is private, named by the secret, and opened again", async () => {
  using target = new TargetFolder();
  const path = workingFolderPath(target.path, SECRET);
  assert.match(path.slice(target.path.length), /^\/\.postern-[0-9a-f]{16}$/);
  assert.notEqual(path, workingFolderPath(target.path, OTHER));
  assert.equal(await WorkingFolder.openExisting(target.path, SECRET), null);
  const first = await WorkingFolder.open(target.path, SECRET);
  assert(first.isNew);
  assert.equal((Deno.lstatSync(path).mode ?? 0) & 0o7777, 0o700);
  await refuses(WorkingFolder.open(target.path, SECRET), "storage", /another process receives into it/);
  const other = await WorkingFolder.open(target.path, OTHER);
  first.close();
  const second = await WorkingFolder.openExisting(target.path, SECRET);
  assert(second !== null && !second.isNew);
  second.remove();
  other.remove();
  assert.deepEqual(treeOf(target.path), {});
});

Deno.test("WorkingFolder gives its lock back when the process that held it is killed", async () => {
  using target = new TargetFolder();
  const folder = await WorkingFolder.open(target.path, SECRET);
  folder.close();
  const holder = new Deno.Command("flock", {
    args: ["--exclusive", "--no-fork", `${folder.path}/lock`, "sleep", "60"],
    stdin: "null",
  }).spawn();
  try {
    for (;;) {
      using probe = Deno.openSync(`${folder.path}/lock`, { write: true });
      if (!(await probe.tryLock(true))) break;
    }
    await refuses(WorkingFolder.open(target.path, SECRET), "storage", /another process/);
  } finally {
    holder.kill("SIGKILL");
    await holder.status;
  }
  (await WorkingFolder.open(target.path, SECRET)).remove();
});

Deno.test("WorkingFolder is never worked in by two, however they open and remove it", async () => {
  using target = new TargetFolder();
  let working = 0;
  let opened = 0;
  async function workOften(): Promise<void> {
    for (let tries = 0; opened < 50 && tries < 10_000; tries++) {
      let folder: WorkingFolder;
      try {
        folder = await WorkingFolder.open(target.path, SECRET);
      } catch (error) {
        assert.match(String(error), /another process receives into it|other processes take it away/);
        continue;
      }
      assert.equal(++working, 1);
      opened++;
      await new Promise((resolve) => setTimeout(resolve, 0));
      assert(Deno.lstatSync(`${folder.path}/lock`).isFile);
      working--;
      folder.remove();
    }
  }
  await Promise.all([workOften(), workOften(), workOften()]);
  assert(opened >= 50, `only ${opened} times`);
});

Deno.test("WorkingFolder takes away the target folder that was made for it, if it stays empty", async () => {
  using parent = new TargetFolder();
  const target = `${parent.path}/new`;
  (await WorkingFolder.open(target, SECRET)).remove();
  assert.deepEqual(treeOf(parent.path), {});
  const folder = await WorkingFolder.open(target, SECRET);
  Deno.writeTextFileSync(`${target}/a`, "a");
  folder.remove();
  assert.deepEqual(Object.keys(treeOf(target)), ["a"]);
  (await WorkingFolder.open(target, SECRET)).remove();
  Deno.removeSync(`${target}/a`);
  (await WorkingFolder.open(target, SECRET)).remove();
  assert.deepEqual(treeOf(parent.path), { new: "folder" }, "it was there before");
});

Deno.test("WorkingFolder knows its data files, and clears list and data but not the pairing", async () => {
  using target = new TargetFolder();
  const folder = await WorkingFolder.open(target.path, SECRET);
  await folder.keepPairing(new Uint8Array([1]));
  await folder.keepPairing(new Uint8Array([2]));
  for (const name of ["chunks", "data-0", "data-17", "data-x"]) {
    Deno.writeTextFileSync(`${folder.path}/${name}`, name);
  }
  assert.deepEqual(folder.dataFiles(), new Set([0, 17]));
  assert.equal(folder.dataPath(17), `${folder.path}/data-17`);
  assert.equal(folder.allowedMode(), 0o755);
  await folder.clear();
  assert.deepEqual(Object.keys(treeOf(folder.path)).sort(), ["data-x", "lock", "pairing"]);
  assert.deepEqual(Deno.readFileSync(`${folder.path}/pairing`), new Uint8Array([1]));
  Deno.removeSync(`${folder.path}/data-x`);
  folder.remove();
  assert.deepEqual(treeOf(target.path), {});
});

Deno.test("keptPairings() reads those of all working folders, and nothing that is too long or a link", async () => {
  using target = new TargetFolder();
  assert.deepEqual(await keptPairings(`${target.path}/missing`, 10), []);
  await keepPairing(target.path, SECRET, new Uint8Array([1, 2]));
  await keepPairing(target.path, SECRET, new Uint8Array([9]));
  await keepPairing(target.path, OTHER, new Uint8Array(201));
  await keepPairing(`${target.path}/missing`, SECRET, new Uint8Array([3]));
  const path = workingFolderPath(target.path, SECRET);
  assert.equal((Deno.lstatSync(path).mode ?? 0) & 0o777, 0o700);
  assert.equal((Deno.lstatSync(`${path}/pairing`).mode ?? 0) & 0o777, 0o600);
  Deno.mkdirSync(`${target.path}/.postern-link`);
  Deno.symlinkSync(`${path}/pairing`, `${target.path}/.postern-link/pairing`);
  Deno.mkdirSync(`${target.path}/.postern-empty`);
  Deno.writeTextFileSync(`${target.path}/.postern-file`, "");
  assert.deepEqual(await keptPairings(target.path, 200), [new Uint8Array([1, 2])]);
});

Deno.test({
  ...unless(
    Deno.uid() === 0 ? null : "needs root, to be somebody else",
    "WorkingFolder that another user has put into its place is left alone, with the links in it",
  ),
  fn: async () => {
    using target = new TargetFolder();
    const path = workingFolderPath(target.path, SECRET);
    (await WorkingFolder.open(target.path, SECRET)).close();
    Deno.removeSync(`${path}/lock`);
    Deno.symlinkSync(`${target.path}/made`, `${path}/lock`);
    Deno.chownSync(path, 65_534, 65_534);
    await refuses(WorkingFolder.open(target.path, SECRET), "storage", /it belongs to another user/);
    assert.deepEqual([...Deno.readDirSync(path)].map(({ name }) => name), ["lock"]);
    assert.equal(Deno.readLinkSync(`${path}/lock`), `${target.path}/made`);
    assert.throws(() => Deno.lstatSync(`${target.path}/made`), Deno.errors.NotFound);
  },
});

Deno.test("WorkingFolder that was taken away with its target is as good as removed", async () => {
  using parent = new TargetFolder();
  const target = `${parent.path}/target`;
  const folder = await WorkingFolder.open(target, SECRET);
  Deno.renameSync(target, `${parent.path}/moved`);
  folder.remove();
  assert.deepEqual(Object.keys(treeOf(parent.path)).filter((path) => !path.startsWith("moved")), []);
});

Deno.test("prepareTarget() leaves nothing behind, and refuses what cannot be received into", async () => {
  using parent = new TargetFolder();
  await prepareTarget(parent.path);
  await prepareTarget(`${parent.path}/a/b`);
  assert.deepEqual(treeOf(parent.path), { a: "folder" });
  Deno.writeTextFileSync(`${parent.path}/file`, "");
  await refuses(prepareTarget(`${parent.path}/file`), "storage", /cannot receive into .*\/file: /);
  await refuses(prepareTarget(`${parent.path}/file/x`), "storage", /cannot receive into .*\/file\/x: /);
});

Deno.test({
  name: "prepareTarget() names the flags that are missing",
  permissions: { read: true, write: false },
  async fn(): Promise<void> {
    await refuses(prepareTarget("/tmp"), "storage", /--allow-read=\/tmp --allow-write=\/tmp/);
  },
});

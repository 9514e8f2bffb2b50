/** No room for the new executables, or for the journal. */
import assert from "node:assert/strict";
import { INSTALLED_ROLES } from "../../../src/setup/role.ts";
import { mountObstacle, succeeds, unless } from "../../e2e/machine.ts";
import { allAt, NEW_VERSION, OLD_VERSION, script, UpdateLab } from "./update_lab.ts";

/** A small file system at `path` until it is disposed of. */
async function mountSmall(path: string): Promise<AsyncDisposable> {
  assert.ok(await succeeds("mount", ["-t", "tmpfs", "-o", "size=32k,mode=0755", "none", path]));
  return {
    async [Symbol.asyncDispose](): Promise<void> {
      assert.ok(await succeeds("umount", [path]));
    },
  };
}

/** Takes all the room there is. */
async function fill(path: string): Promise<void> {
  using file = await Deno.open(path, { create: true, write: true });
  await assert.rejects(async () => {
    for (;;) await file.write(new Uint8Array(512));
  }, /os error 28/);
}

Deno.test({
  ...unless(await mountObstacle(), "update() without room for the new executables changes nothing"),
  async fn(): Promise<void> {
    await using lab = await UpdateLab.make();
    await lab.release();
    {
      await using _disk = await mountSmall(lab.layout.binDir);
      for (const role of INSTALLED_ROLES) {
        await Deno.writeTextFile(lab.path(role), script(role, OLD_VERSION));
        await Deno.chmod(lab.path(role), 0o755);
      }
      const filler = `${lab.layout.binDir}/filler`;
      await fill(filler);
      await assert.rejects(lab.update(), /No space left on device.*; nothing was changed$/);
      await Deno.remove(filler);
      assert.deepEqual(await lab.installed(), allAt(OLD_VERSION));
      assert.equal(lab.services.restarts, 0);
      await lab.update();
      assert.deepEqual(await lab.installed(), allAt(NEW_VERSION));
    }
  },
});

Deno.test({
  ...unless(
    await mountObstacle(),
    "update() without room for its journal goes back, and needs no room for that",
  ),
  async fn(): Promise<void> {
    await using lab = await UpdateLab.make();
    await lab.release();
    await Deno.mkdir(lab.layout.stateDir);
    {
      await using _disk = await mountSmall(lab.layout.stateDir);
      const filler = `${lab.layout.stateDir}/filler`;
      await fill(filler);
      await assert.rejects(
        lab.update(),
        /could not write .*update\.json.*; the old executables are in place again/,
      );
      assert.deepEqual(await lab.installed(), allAt(OLD_VERSION));
      // Full only when the swap is done: nothing that follows needs room, and what is lost is a convenience.
      await Deno.remove(filler);
      lab.proveInstalled = () => fill(filler);
      const report = await lab.update();
      assert.deepEqual(await lab.installed(), allAt(NEW_VERSION));
      assert.ok(
        report.notDone.every((each) => /^write .*release\.json/.test(each)),
        report.notDone.join("; "),
      );
    }
  },
});

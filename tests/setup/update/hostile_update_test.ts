/** What others have put in the way of an update, and an operator who ends it. */
import assert from "node:assert/strict";
import { downloadFile } from "../../../src/setup/update/download.ts";
import { parseReleaseLocation } from "../../../src/setup/update/release_location.ts";
import { ReleaseSource } from "../../../src/setup/update/release_source.ts";
import { Failure } from "../../../src/system/failure.ts";
import { unless } from "../../e2e/machine.ts";
import { allAt, NEW_VERSION, OLD_VERSION, TARGET, UpdateLab } from "./update_lab.ts";

for (const [name, mode] of [["state", 0o770], ["state", 0o777], ["bin", 0o777], ["bin", 0o1777]] as const) {
  Deno.test(`update() refuses a folder ${name} of mode ${mode.toString(8)}, and changes nothing`, async () => {
    await using lab = await UpdateLab.make();
    await lab.release();
    const dir = name === "state" ? lab.layout.stateDir : lab.layout.binDir;
    await Deno.mkdir(dir, { recursive: true });
    await Deno.chmod(dir, mode);
    await assert.rejects(lab.update(), new RegExp(`could not trust ${dir}: found mode [01]7[0-7]{2}`));
    assert.deepEqual(await lab.installed(), allAt(OLD_VERSION));
  });
}

Deno.test({
  ...unless(
    Deno.uid() === 0 ? null : "needs root",
    "update() refuses folders of another user, and changes nothing",
  ),
  async fn(): Promise<void> {
    for (const name of ["stateDir", "binDir"] as const) {
      await using lab = await UpdateLab.make();
      await lab.release();
      await Deno.mkdir(lab.layout[name], { recursive: true });
      await Deno.chown(lab.layout[name], 1234, 1234);
      await assert.rejects(lab.update(), /could not trust .*: found owned by uid 1234/);
      assert.deepEqual(await lab.installed(), allAt(OLD_VERSION));
    }
  },
});

Deno.test("update() works in a folder that a group may write, as on Debians with a group staff", async () => {
  await using lab = await UpdateLab.make();
  await lab.release();
  await Deno.chmod(lab.layout.binDir, 0o2775);
  await lab.update();
  assert.deepEqual(await lab.installed(), allAt(NEW_VERSION));
});

for (const when of ["while it downloads", "while it proves the new ones"]) {
  Deno.test(`update() that is ended ${when} changes nothing, and leaves nothing`, async () => {
    await using lab = await UpdateLab.make();
    await lab.release();
    const controller = new AbortController();
    const end = (): void => controller.abort(new Failure("could not go on: ended by SIGHUP"));
    if (when === "while it downloads") end();
    lab.proveBeside = () => {
      end();
      return Promise.resolve([]);
    };
    await assert.rejects(
      lab.update({ signal: controller.signal }),
      /could not update: could not go on: ended by SIGHUP; nothing was changed$/,
    );
    assert.deepEqual(await lab.installed(), allAt(OLD_VERSION));
    assert.equal(lab.services.restarts, 0);
    assert.equal(lab.tried.length, when === "while it downloads" ? 0 : 1);
  });
}

Deno.test("update() that is ended while it swaps comes to its end: half of it would be worse", async () => {
  await using lab = await UpdateLab.make();
  await lab.release();
  const controller = new AbortController();
  lab.proveInstalled = () => {
    controller.abort(new Failure("could not go on: ended by SIGTERM"));
    return Promise.resolve();
  };
  await lab.update({ signal: controller.signal });
  assert.deepEqual(await lab.installed(), allAt(NEW_VERSION));
});

Deno.test("downloadFile() never writes through what was planted in its place", async () => {
  await using lab = await UpdateLab.make();
  const { files: [file] } = await lab.release();
  assert(file !== undefined && file.target === TARGET);
  const [path, victim] = [`${lab.dir}/staged`, `${lab.dir}/victim`];
  await Deno.writeTextFile(victim, "precious");
  await Deno.symlink(victim, path);
  const source = new ReleaseSource(parseReleaseLocation(`file://${lab.releasesDir}`), {
    silenceTimeoutMs: 300,
    fileTimeoutMs: 5000,
  });
  await assert.rejects(downloadFile(source, NEW_VERSION, file, path, () => {}), /could not create .*staged/);
  assert.equal(await Deno.readTextFile(victim), "precious");
});

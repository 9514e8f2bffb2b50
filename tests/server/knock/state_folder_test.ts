import assert from "node:assert/strict";
import { loadServerConfig } from "../../../src/server/knock/config.ts";
import { lookAtStateFolder } from "../../../src/server/knock/state_folder.ts";
import { Failure } from "../../../src/system/failure.ts";
import { LOOPBACK_CONFIG, ServerFolder } from "./server_folder.ts";

Deno.test("lookAtStateFolder() tells owner and mode of the folder", async () => {
  await using folder = await ServerFolder.make();
  const { description, warnings } = await lookAtStateFolder(await folder.config(), null);
  assert.equal(description, `${folder.path} (uid ${Deno.uid()}, mode 0700)`);
  assert.deepEqual(warnings, []);
});

Deno.test("lookAtStateFolder() warns of a folder that others may write and of a status file without a folder", async () => {
  await using folder = await ServerFolder.make();
  await Deno.chmod(folder.path, 0o770);
  const { warnings } = await lookAtStateFolder(await folder.config(), `${folder.path}/none/status.json`);
  assert.equal(warnings.length, 2);
  assert.match(warnings[0] ?? "", /others may write .* \(mode 0770\).*chmod 700/);
  assert.match(warnings[1] ?? "", /no folder for the status file/);
});

Deno.test("lookAtStateFolder() refuses a folder that is missing, or none, and names the command that makes it", async () => {
  await using folder = await ServerFolder.make();
  for (const [name, found] of [["none", /no such folder/], ["config.toml", /found no folder/]] as const) {
    await folder.write("other.toml", `${LOOPBACK_CONFIG}blocklist_dir = "${folder.path}/${name}"\n`);
    const config = await loadServerConfig(`${folder.path}/other.toml`);
    await assert.rejects(lookAtStateFolder(config, null), (error) => {
      assert(error instanceof Failure);
      assert.match(error.message, found);
      assert.equal(error.hint, `install -d -m 700 -o postern ${folder.path}/${name}`);
      return true;
    });
  }
});

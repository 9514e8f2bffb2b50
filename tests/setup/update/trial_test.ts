/** The trial of real servers and commanders, started by scripts in the place of executables. */
import assert from "node:assert/strict";
import { proveKnock } from "../../../src/setup/proof.ts";
import { tryBeside } from "../../../src/setup/update/trial.ts";
import { exists } from "../../../src/setup/update/swap_disk.ts";
import { Failure } from "../../../src/system/failure.ts";
import { repositoryFolder } from "../../../scripts/lab.ts";
import { TempFolder } from "../../e2e/temp_folder.ts";

/** Writes an executable that runs a role from the sources, with all permissions. */
async function writeRole(dir: string, role: "server" | "commander"): Promise<string> {
  const cacheDir = (await new Deno.Command(Deno.execPath(), { args: ["info", "--json"] }).output()).stdout;
  const { denoDir } = JSON.parse(new TextDecoder().decode(cacheDir));
  return await writeScript(
    `${dir}/postern-${role}`,
    `DENO_DIR='${denoDir}' exec '${Deno.execPath()}' run -A --cached-only '${repositoryFolder}main.ts' ${role} knock "$@"`,
  );
}

async function writeScript(path: string, text: string): Promise<string> {
  await Deno.writeTextFile(path, `#!/bin/sh\n${text}\n`);
  await Deno.chmod(path, 0o755);
  return path;
}

Deno.test({
  name: "tryBeside() carries a real knock through real roles, and leaves nothing behind",
  timeout: 60_000,
  async fn(): Promise<void> {
    await using folder = await TempFolder.make("trial");
    const dir = `${folder.path}/trial`;
    await tryBeside({
      serverPath: await writeRole(folder.path, "server"),
      commanderPath: await writeRole(folder.path, "commander"),
      dir,
      prove: proveKnock,
      timeoutMs: 20_000,
    });
    assert.equal(await exists(dir), false);
  },
});

Deno.test({
  name: "tryBeside() tells which of the two failed, and what it said",
  timeout: 60_000,
  async fn(): Promise<void> {
    await using folder = await TempFolder.make("trial");
    const dir = `${folder.path}/trial`;
    const good = await writeRole(folder.path, "commander");
    const broken = await writeScript(`${folder.path}/broken`, 'echo "error: no such library" >&2; exit 3');
    const silent = await writeScript(`${folder.path}/silent`, "exec sleep 60");
    const options = { dir, prove: proveKnock, timeoutMs: 20_000 };
    await assert.rejects(
      tryBeside({ ...options, serverPath: broken, commanderPath: broken }),
      /^Failure: the new commander ended with exit code 3 before its socket is there; it said: error: no such library$/,
    );
    await assert.rejects(
      tryBeside({ ...options, serverPath: broken, commanderPath: good }),
      /^Failure: the new server ended with exit code 3 before its status file is there; it said: /,
    );
    await assert.rejects(
      tryBeside({ ...options, serverPath: good, commanderPath: silent, timeoutMs: 200 }),
      /^Failure: the new commander took more than 200 ms until its socket is there$/,
    );
    assert.equal(await exists(dir), false);
  },
});

Deno.test({
  name: "tryBeside() adds to a proof that failed what the two said",
  timeout: 60_000,
  async fn(): Promise<void> {
    await using folder = await TempFolder.make("trial");
    await assert.rejects(
      tryBeside({
        serverPath: await writeRole(folder.path, "server"),
        commanderPath: await writeRole(folder.path, "commander"),
        dir: `${folder.path}/trial`,
        prove: () => Promise.reject(new Failure("the server refused a packet: decrypt")),
        timeoutMs: 20_000,
      }),
      /^Failure: the server refused a packet: decrypt; they said: [^]*server ready .*; [^]*commander ready /,
    );
  },
});

import assert from "node:assert/strict";
import { proveServices } from "../../../src/setup/update/service_proof.ts";
import { Failure } from "../../../src/system/failure.ts";
import { TempFolder } from "../../e2e/temp_folder.ts";

const RESTARTED_MS = Date.parse("2030-01-01T00:00:10Z");

/** A status file of a server that was started at the given second. */
async function writeStatus(path: string, second: number): Promise<void> {
  const status = {
    time: "2030-01-01T00:01:00.000Z",
    started_at: new Date(Date.parse("2030-01-01T00:00:00Z") + second * 1000).toISOString(),
    received: 0,
    refused: {},
    accepted: 0,
    forwarded: 0,
    forward_failures: 0,
    floor_age_seconds: {},
  };
  await Deno.writeTextFile(`${path}.new`, JSON.stringify(status));
  await Deno.rename(`${path}.new`, path);
}

async function makeConfig(dir: string): Promise<{ configPath: string; statusPath: string }> {
  const configPath = `${dir}/config.toml`;
  const statusPath = `${dir}/status.json`;
  await Deno.writeTextFile(configPath, `ips = ["192.0.2.1"]\nstatus_file = "${statusPath}"\n`);
  return { configPath, statusPath };
}

Deno.test("proveServices() does not ask the counts of the server that is gone", async () => {
  await using folder = await TempFolder.make("proof");
  const { configPath, statusPath } = await makeConfig(folder.path);
  await writeStatus(statusPath, 3);
  const timer = setTimeout(() => writeStatus(statusPath, 11), 50);
  let seen = "";
  await proveServices({
    proof: { configPath, keyPath: "", timeoutMs: 1 },
    restartedAtMs: RESTARTED_MS,
    startTimeoutMs: 20_000,
    prove: async () => {
      seen = JSON.parse(await Deno.readTextFile(statusPath)).started_at;
    },
  });
  clearTimeout(timer);
  assert.equal(seen, "2030-01-01T00:00:11.000Z");
});

Deno.test("proveServices() gives up a server that does not come back", async () => {
  await using folder = await TempFolder.make("proof");
  const { configPath, statusPath } = await makeConfig(folder.path);
  await writeStatus(statusPath, 3);
  const options = {
    proof: { configPath, keyPath: "", timeoutMs: 1 },
    startTimeoutMs: 50,
    prove: () => Promise.resolve(),
  };
  await assert.rejects(
    proveServices({ ...options, restartedAtMs: RESTARTED_MS }),
    /the server did not write .*status\.json within 50 ms after its restart/,
  );
  // A server that was not restarted is the one of the file.
  await proveServices({ ...options, restartedAtMs: null });
});

Deno.test("proveServices() proves again what failed, and tells the last failure", async () => {
  let attempts = 0;
  const options = {
    proof: { configPath: "", keyPath: "", timeoutMs: 1 },
    restartedAtMs: null,
    startTimeoutMs: 1,
  };
  await proveServices({
    ...options,
    prove: () => ++attempts === 2 ? Promise.resolve() : Promise.reject(new Failure("not yet")),
  });
  assert.equal(attempts, 2);
  await assert.rejects(
    proveServices({ ...options, prove: () => Promise.reject(new Failure(`failure ${++attempts}`)) }),
    /failure 5/,
  );
});

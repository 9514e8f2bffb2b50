import assert from "node:assert/strict";
import fc from "fast-check";
import type { Lease } from "../../../src/commander/knock/leases.ts";
import {
  formatLeasesFile,
  parseLeasesFile,
  prepareStateDir,
  readBootId,
  readLeasesFile,
} from "../../../src/commander/knock/leases_file.ts";
import { leasesPath } from "../../../src/commander/knock/paths.ts";
import { parseIp } from "../../../src/protocol/knock/address.ts";
import { Failure } from "../../../src/system/failure.ts";
import { holds } from "../../property.ts";

const SELF = Deno.uid() ?? 0;
const LEASE: Lease = {
  command: "open",
  ip: parseIp("198.41.0.4"),
  undo: "close hunter2",
  undoTimeoutMs: 30_000,
  undoAfterMs: 60_000,
  dueAtMs: 1_800_000_000_000,
  applied: true,
  undoFailures: 0,
  runId: "0123456789abcdef".repeat(2),
};

async function withStateDir(test: (stateDir: string, parent: string) => Promise<void>): Promise<void> {
  const parent = await Deno.makeTempDir({ prefix: "postern-leases-" });
  try {
    await test(`${parent}/state`, parent);
  } finally {
    await Deno.remove(parent, { recursive: true });
  }
}

function failureWith(pattern: RegExp): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof Failure);
    assert.match(error.message, pattern);
    assert.ok(!`${error.message} ${error.hint}`.includes("hunter2"));
    return true;
  };
}

Deno.test("parseLeasesFile() reads back what formatLeasesFile() wrote", () => {
  const lease = fc.record({
    command: fc.string({ minLength: 1, unit: "binary" }),
    ip: fc.ipV4().map(parseIp),
    undo: fc.string({ minLength: 1, unit: "binary" }),
    undoTimeoutMs: fc.integer({ min: 1 }),
    undoAfterMs: fc.integer({ min: 1 }),
    dueAtMs: fc.maxSafeNat(),
    applied: fc.boolean(),
    undoFailures: fc.nat(),
    runId: fc.option(fc.stringMatching(/^[0-9a-f]{32}$/)),
  }, { noNullPrototype: true });
  const leases = fc.uniqueArray(lease, { selector: (each) => `${each.ip} ${each.command}` });
  holds(fc.property(fc.string(), leases, (bootId, list) => {
    assert.deepEqual(parseLeasesFile("f", formatLeasesFile({ bootId, leases: list })), {
      bootId,
      leases: list,
    });
  }));
});

Deno.test("parseLeasesFile() refuses anything else, says where and what to do, and quotes nothing", () => {
  const good = JSON.parse(formatLeasesFile({ bootId: "b", leases: [LEASE] }));
  const bad: [unknown, RegExp][] = [
    [null, /at the top/],
    [{ ...good, version: 2 }, /at version/],
    [{ ...good, more: "hunter2" }, /at more/],
    [{ version: 1, bootId: "b" }, /at leases/],
    [{ ...good, leases: [LEASE, LEASE] }, /two leases of one command and address/],
    ...Object.keys(LEASE).filter((key) => key !== "runId").map((key): [unknown, RegExp] => [
      { ...good, leases: [{ ...LEASE, [key]: null }] },
      new RegExp(`at leases.0.${key},`),
    ]),
    [{ ...good, leases: [{ ...LEASE, ip: "hunter2" }] }, /at leases.0.ip/],
    // It becomes an argument and a search text of the shell.
    [{ ...good, leases: [{ ...LEASE, runId: "" }] }, /at leases.0.runId/],
    [{ ...good, leases: [{ ...LEASE, runId: "-hunter2" }] }, /at leases.0.runId/],
    [{ ...good, leases: [{ ...LEASE, dueAtMs: 1.5 }] }, /at leases.0.dueAtMs/],
    [{ ...good, leases: [{ ...LEASE, undo: "" }] }, /at leases.0.undo/],
  ];
  for (const [value, pattern] of bad) {
    assert.throws(() => parseLeasesFile("/s/leases.json", JSON.stringify(value)), failureWith(pattern));
  }
  assert.throws(() => parseLeasesFile("/s/leases.json", '{"hunter2'), (error: unknown) => {
    assert.ok(error instanceof Failure);
    assert.equal(
      error.message,
      "could not read /s/leases.json: found no JSON, accepted is what the commander wrote",
    );
    assert.match(error.hint ?? "", /mv \/s\/leases.json \/s\/leases.json.corrupt$/);
    return true;
  });
});

Deno.test("parseLeasesFile() refuses any file that was cut short", () => {
  const text = formatLeasesFile({ bootId: "b", leases: [LEASE] });
  for (let length = 0; length < text.trimEnd().length; length++) {
    assert.throws(() => parseLeasesFile("f", text.slice(0, length)), Failure);
  }
});

Deno.test("prepareStateDir() makes a private folder and accepts it the next time", async () => {
  await withStateDir(async (stateDir) => {
    await prepareStateDir(stateDir, SELF);
    assert.equal(((await Deno.stat(stateDir)).mode ?? 0) & 0o777, 0o700);
    await prepareStateDir(stateDir, SELF);
    assert.equal(await readLeasesFile(stateDir, SELF), undefined);
  });
});

Deno.test("prepareStateDir() refuses folders that others can write, sticky parents excepted", async () => {
  await withStateDir(async (stateDir, parent) => {
    await prepareStateDir(stateDir, SELF);
    await Deno.chmod(parent, 0o1777);
    await prepareStateDir(stateDir, SELF);
    await Deno.chmod(parent, 0o777);
    await assert.rejects(
      prepareStateDir(stateDir, SELF),
      failureWith(/could not trust \S+: found mode 0777/),
    );
    await Deno.chmod(parent, 0o755);
    await Deno.chmod(stateDir, 0o770);
    await assert.rejects(
      prepareStateDir(stateDir, SELF),
      failureWith(/could not trust \S+\/state: found mode 0770/),
    );
  });
});

Deno.test("prepareStateDir() names the folder when its parent is missing", async () => {
  await assert.rejects(
    prepareStateDir("/nonexistent/postern/state", SELF),
    failureWith(/could not create the commander's state folder \/nonexistent\/postern\/state/),
  );
});

Deno.test("readLeasesFile() refuses a file that others can write, or in a folder where they can", async () => {
  await withStateDir(async (stateDir) => {
    await prepareStateDir(stateDir, SELF);
    await Deno.writeTextFile(leasesPath(stateDir), formatLeasesFile({ bootId: "b", leases: [LEASE] }), {
      mode: 0o600,
    });
    assert.deepEqual(await readLeasesFile(stateDir, SELF), { bootId: "b", leases: [LEASE] });
    await Deno.chmod(leasesPath(stateDir), 0o622);
    await assert.rejects(readLeasesFile(stateDir, SELF), failureWith(/leases.json: found mode 0622/));
    await Deno.chmod(leasesPath(stateDir), 0o600);
    await Deno.chmod(stateDir, 0o777);
    await assert.rejects(readLeasesFile(stateDir, SELF), failureWith(/state: found mode 0777/));
  });
});

Deno.test({
  name: "readLeasesFile() refuses another user's file (needs root to chown)",
  ignore: SELF !== 0,
  async fn(): Promise<void> {
    await withStateDir(async (stateDir) => {
      await prepareStateDir(stateDir, SELF);
      await Deno.writeTextFile(leasesPath(stateDir), formatLeasesFile({ bootId: "b", leases: [] }));
      await Deno.chown(leasesPath(stateDir), 65534, null);
      await assert.rejects(readLeasesFile(stateDir, 0), failureWith(/owned by uid 65534/));
    });
  },
});

Deno.test({
  name: "readBootId() tells one boot from another with permission for the shell alone",
  permissions: { run: ["/bin/sh"] },
  async fn(): Promise<void> {
    assert.match(await readBootId(), /^[0-9a-f-]{36}$/);
  },
});

import assert from "node:assert/strict";
import type { Lease, Moment } from "../../../src/commander/knock/leases.ts";
import { LeaseStore } from "../../../src/commander/knock/lease_store.ts";
import { readLeasesFile } from "../../../src/commander/knock/leases_file.ts";
import { leasesPath } from "../../../src/commander/knock/paths.ts";
import { parseIp } from "../../../src/protocol/knock/address.ts";
import { Failure } from "../../../src/system/failure.ts";
import { FaultyFiles, STEPS } from "../../system/faulty_files.ts";
import { FakeClock } from "../fake_clock.ts";

const SELF = Deno.uid() ?? 0;

/** Half a minute after the bench's clock. */
const DUE_AT_MS = new FakeClock().wall + 30_000;

function lease(n: number): Lease {
  return {
    command: "open",
    ip: parseIp(`198.41.0.${n}`),
    undo: "close",
    undoTimeoutMs: 1000,
    undoAfterMs: 60_000,
    dueAtMs: DUE_AT_MS,
    applied: false,
    undoFailures: 0,
    runId: null,
  };
}

class Bench implements AsyncDisposable {
  readonly files = new FaultyFiles(undefined);
  readonly clock = new FakeClock();
  readonly #parent: string;
  readonly stateDir: string;

  private constructor(parent: string) {
    this.#parent = parent;
    this.stateDir = `${parent}/state`;
  }

  static async create(): Promise<Bench> {
    return new Bench(await Deno.makeTempDir({ prefix: "postern-store-" }));
  }

  open(options: { bootId?: string; commands?: string[] } = {}): Promise<LeaseStore> {
    const { bootId = "this boot", commands = ["open"] } = options;
    const { stateDir, files, clock } = this;
    return LeaseStore.open({ stateDir, maxLeases: 10, ownUid: SELF, commands, files, bootId, clock });
  }

  get now(): Moment {
    return { wallMs: this.clock.wall, monotonicMs: this.clock.monotonic };
  }

  async onDisk(): Promise<string[] | undefined> {
    const file = await readLeasesFile(this.stateDir, SELF);
    return file?.leases.map((each) => each.ip);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.#parent, { recursive: true });
  }
}

Deno.test("LeaseStore finds what an earlier one recorded, in a private file", async () => {
  await using bench = await Bench.create();
  const first = await bench.open();
  await Promise.all([first.start(lease(1)), first.start(lease(2)), first.start(lease(3))]);
  await first.remove(lease(2));
  const second = await bench.open();
  assert.deepEqual(second.leases.all(), [lease(1), lease(3)]);
  assert.equal(((await Deno.stat(leasesPath(bench.stateDir))).mode ?? 0) & 0o777, 0o600);
});

for (const step of STEPS) {
  Deno.test(`LeaseStore.start() and update() leave the lease as it was when ${step} fails`, async () => {
    await using bench = await Bench.create();
    const store = await bench.open();
    await store.start(lease(1));
    bench.files.failAt = step;
    await assert.rejects(store.start(lease(2)), Failure);
    await assert.rejects(store.start({ ...lease(1), dueAtMs: 1 }), Failure);
    await assert.rejects(store.update({ ...lease(1), applied: true }), Failure);
    assert.deepEqual(store.leases.all(), [lease(1)]);
    bench.files.failAt = undefined;
    await store.start(lease(3));
    assert.deepEqual(await bench.onDisk(), ["198.41.0.1", "198.41.0.3"], "the next write has no trace of it");
  });
}

Deno.test("LeaseStore.start() of one lease fails alone though others are on their way", async () => {
  await using bench = await Bench.create();
  const store = await bench.open();
  const first = store.start(lease(1)).then(() => {
    bench.files.failAt = "sync";
  });
  const second = store.start(lease(2)).catch((error: unknown) => {
    bench.files.failAt = undefined;
    throw error;
  });
  const third = store.start(lease(3));
  const outcomes = await Promise.allSettled([first, second, third]);
  assert.deepEqual(outcomes.map((outcome) => outcome.status), ["fulfilled", "rejected", "fulfilled"]);
  assert.deepEqual(store.leases.all(), [lease(1), lease(3)]);
  assert.deepEqual(await bench.onDisk(), ["198.41.0.1", "198.41.0.3"]);
});

Deno.test("LeaseStore.remove() forgets the lease even if the file cannot be written", async () => {
  await using bench = await Bench.create();
  const store = await bench.open();
  await store.start(lease(1));
  bench.files.failAt = "rename";
  await assert.rejects(store.remove(lease(1)), Failure);
  assert.deepEqual(store.leases.all(), []);
  assert.deepEqual(await bench.onDisk(), ["198.41.0.1"]);
});

Deno.test("LeaseStore.open() takes all leases of an earlier boot as due", async () => {
  await using bench = await Bench.create();
  await (await bench.open()).start(lease(1));
  assert.deepEqual((await bench.open()).leases.due(bench.now), []);
  const rebooted = await bench.open({ bootId: "next boot" });
  assert.equal(rebooted.leases.due(bench.now).length, 1);
  await rebooted.start(lease(2));
  const again = await bench.open({ bootId: "next boot" });
  assert.deepEqual(
    again.leases.due(bench.now).map((each) => each.ip),
    ["198.41.0.1"],
    "one that was not undone yet stays due over a crash in the new boot",
  );
});

Deno.test("LeaseStore.open() takes a lease as due whose command was cut off, and keeps the run id until a reboot", async () => {
  await using bench = await Bench.create();
  const runId = "ab".repeat(16);
  const store = await bench.open();
  await store.start(lease(1));
  await store.start({ ...lease(2), applied: true, runId });
  const due = (await bench.open()).leases.due(bench.now);
  assert.deepEqual(due, [{ ...lease(2), applied: true, dueAtMs: 0, runId }]);
  const rebooted = (await bench.open({ bootId: "next boot" })).leases.due(bench.now);
  assert.deepEqual(rebooted.map((each) => each.runId), [null, null], "nothing runs any more");
});

Deno.test("LeaseStore.start() gives a lease its whole time, update() leaves it what it has", async () => {
  await using bench = await Bench.create();
  const store = await bench.open();
  await store.start({ ...lease(1), undoAfterMs: 30_000 });
  bench.clock.monotonic += 29_999;
  await store.update({ ...lease(1), undoAfterMs: 30_000, applied: true });
  assert.deepEqual(store.leases.due(bench.now), []);
  bench.clock.monotonic += 1;
  assert.deepEqual(store.leases.due(bench.now).length, 1, "though the wall clock stands still");
  bench.files.failAt = "sync";
  await assert.rejects(store.start({ ...lease(1), undoAfterMs: 30_000 }), Failure);
  assert.deepEqual(store.leases.due(bench.now).length, 1, "a failed renewal gives no time");
});

Deno.test("LeaseStore.open() makes nothing when no command needs it", async () => {
  await using bench = await Bench.create();
  assert.equal((await bench.open({ commands: [] })).leases.size, 0);
  await assert.rejects(Deno.stat(bench.stateDir), Deno.errors.NotFound);
  await bench.open();
  assert.deepEqual([...Deno.readDirSync(bench.stateDir)], []);
});

Deno.test("LeaseStore writes over what a killed one left half-written", async () => {
  await using bench = await Bench.create();
  await bench.open();
  await Deno.writeTextFile(`${bench.stateDir}/.leases.json.tmp`, "half");
  const store = await bench.open();
  await store.start(lease(1));
  assert.deepEqual([...Deno.readDirSync(bench.stateDir)].map(({ name }) => name), ["leases.json"]);
  assert.equal((await bench.open()).leases.size, 1);
});

import assert from "node:assert/strict";
import type { Lease } from "../../../src/commander/knock/leases.ts";
import { LeaseStore } from "../../../src/commander/knock/lease_store.ts";
import { leasesPath, readLeasesFile } from "../../../src/commander/knock/leases_file.ts";
import { parseIp } from "../../../src/protocol/knock/address.ts";
import { Failure } from "../../../src/system/failure.ts";
import { FaultyFiles, STEPS } from "../../system/faulty_files.ts";

const SELF = Deno.uid() ?? 0;

function lease(n: number): Lease {
  return {
    command: "open",
    ip: parseIp(`198.41.0.${n}`),
    undo: "close",
    undoTimeoutMs: 1000,
    undoAfterMs: 60_000,
    dueAtMs: 1_800_000_000_000,
    applied: false,
    undoFailures: 0,
  };
}

class Bench implements AsyncDisposable {
  readonly files = new FaultyFiles(undefined);
  readonly #parent: string;
  readonly stateDir: string;

  private constructor(parent: string) {
    this.#parent = parent;
    this.stateDir = `${parent}/state`;
  }

  static async create(): Promise<Bench> {
    return new Bench(await Deno.makeTempDir({ prefix: "postern-store-" }));
  }

  open(options: { bootId?: string; needed?: boolean } = {}): Promise<LeaseStore> {
    const { bootId = "this boot", needed = true } = options;
    const { stateDir, files } = this;
    return LeaseStore.open({ stateDir, maxLeases: 10, ownUid: SELF, needed, files, bootId });
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
  await Promise.all([first.record(lease(1)), first.record(lease(2)), first.record(lease(3))]);
  await first.remove(lease(2));
  const second = await bench.open();
  assert.deepEqual(second.leases.all(), [lease(1), lease(3)]);
  assert.equal(((await Deno.stat(leasesPath(bench.stateDir))).mode ?? 0) & 0o777, 0o600);
});

for (const step of STEPS) {
  Deno.test(`LeaseStore.record() leaves the lease as it was when ${step} fails`, async () => {
    await using bench = await Bench.create();
    const store = await bench.open();
    await store.record(lease(1));
    bench.files.failAt = step;
    await assert.rejects(store.record(lease(2)), Failure);
    await assert.rejects(store.record({ ...lease(1), applied: true }), Failure);
    assert.deepEqual(store.leases.all(), [lease(1)]);
    bench.files.failAt = undefined;
    await store.record(lease(3));
    assert.deepEqual(await bench.onDisk(), ["198.41.0.1", "198.41.0.3"], "the next write has no trace of it");
  });
}

Deno.test("LeaseStore.record() of one lease fails alone though others are on their way", async () => {
  await using bench = await Bench.create();
  const store = await bench.open();
  const first = store.record(lease(1)).then(() => {
    bench.files.failAt = "sync";
  });
  const second = store.record(lease(2)).catch((error: unknown) => {
    bench.files.failAt = undefined;
    throw error;
  });
  const third = store.record(lease(3));
  const outcomes = await Promise.allSettled([first, second, third]);
  assert.deepEqual(outcomes.map((outcome) => outcome.status), ["fulfilled", "rejected", "fulfilled"]);
  assert.deepEqual(store.leases.all(), [lease(1), lease(3)]);
  assert.deepEqual(await bench.onDisk(), ["198.41.0.1", "198.41.0.3"]);
});

Deno.test("LeaseStore.remove() forgets the lease even if the file cannot be written", async () => {
  await using bench = await Bench.create();
  const store = await bench.open();
  await store.record(lease(1));
  bench.files.failAt = "rename";
  await assert.rejects(store.remove(lease(1)), Failure);
  assert.deepEqual(store.leases.all(), []);
  assert.deepEqual(await bench.onDisk(), ["198.41.0.1"]);
});

Deno.test("LeaseStore.open() takes all leases of an earlier boot as due", async () => {
  await using bench = await Bench.create();
  await (await bench.open()).record(lease(1));
  assert.deepEqual((await bench.open()).leases.due(1_799_999_990_000, 0), []);
  const rebooted = await bench.open({ bootId: "next boot" });
  assert.equal(rebooted.leases.due(1_799_999_990_000, 0).length, 1);
  await rebooted.record(lease(2));
  const again = await bench.open({ bootId: "next boot" });
  assert.deepEqual(
    again.leases.due(1_799_999_990_000, 0).map((each) => each.ip),
    ["198.41.0.1"],
    "one that was not undone yet stays due over a crash in the new boot",
  );
});

Deno.test("LeaseStore.open() makes nothing when no command needs it, and removes what a killed writer left", async () => {
  await using bench = await Bench.create();
  assert.equal((await bench.open({ needed: false })).leases.size, 0);
  await assert.rejects(Deno.stat(bench.stateDir), Deno.errors.NotFound);
  await bench.open();
  await Deno.writeTextFile(`${bench.stateDir}/.leases.json.00.tmp`, "half");
  await bench.open();
  assert.deepEqual([...Deno.readDirSync(bench.stateDir)], []);
});

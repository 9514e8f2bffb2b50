import assert from "node:assert/strict";
import { decodeFloors, encodeFloors } from "../../../src/protocol/knock/floors_codec.ts";
import { FloorsFile } from "../../../src/server/knock/floors_file.ts";
import { Failure } from "../../../src/system/failure.ts";
import { FakeDisk } from "./fake_disk.ts";
import vectors from "../../vectors/floors-v1.json" with { type: "json" };

const PATH = "/state/blocklist.msgpck";

async function floorsOn(disk: FakeDisk): Promise<Map<bigint, bigint>> {
  return (await FloorsFile.load(PATH, disk)).floors.snapshot();
}

Deno.test("load() takes a missing file as no floors", async () => {
  assert.deepEqual(await floorsOn(new FakeDisk()), new Map());
});

Deno.test("load() reads the floors files that ruroco writes", async () => {
  assert.ok(vectors.files.length > 0);
  for (const { bytes, floors, comment } of vectors.files) {
    const disk = new FakeDisk({ [PATH]: Uint8Array.fromHex(bytes) });
    const expected = floors.map((
      [id, counter],
    ): [bigint, bigint] => [BigInt(`0x${id}`), BigInt(counter ?? "")]);
    assert.deepEqual(await floorsOn(disk), new Map(expected), comment);
  }
});

Deno.test("load() refuses a damaged file and says what to do", async () => {
  const good = encodeFloors(new Map([[1n, 2n]]));
  const damaged = [new Uint8Array(), good.subarray(1), good.subarray(0, -1), new Uint8Array([...good, 0])];
  for (const bytes of damaged) {
    await assert.rejects(FloorsFile.load(PATH, new FakeDisk({ [PATH]: bytes })), (error) => {
      assert.ok(error instanceof Failure);
      assert.match(error.message, /^cannot use the floors file \/state\/blocklist\.msgpck: /);
      assert.match(error.hint ?? "", /move it away/);
      return true;
    });
  }
});

Deno.test("load() refuses a file that it cannot read, instead of starting over", async () => {
  const disk = new FakeDisk();
  disk.readFile = () => Promise.reject(new Deno.errors.PermissionDenied("no"));
  await assert.rejects(FloorsFile.load(PATH, disk), Failure);
});

Deno.test("load() tells that a floors file of a former run as root is the problem", async () => {
  const path = await Deno.makeTempFile();
  try {
    const disk = new FakeDisk();
    disk.readFile = () => Promise.reject(new Deno.errors.PermissionDenied("no"));
    await assert.rejects(FloorsFile.load(path, disk), (error) => {
      assert.ok(error instanceof Failure);
      assert.match(error.hint ?? "", /^it belongs to another user \(uid \d+\), .*: chown postern \/.*/);
      return true;
    });
  } finally {
    await Deno.remove(path);
  }
});

Deno.test("seed() gives only keys without a floor the new one, and has it on disk when it resolves", async () => {
  const disk = new FakeDisk({ [PATH]: encodeFloors(new Map([[1n, 500n]])) });
  const file = await FloorsFile.load(PATH, disk);
  await file.seed([1n, 2n], 900n);
  assert.deepEqual(await floorsOn(disk.afterPowerCut("least")), new Map([[1n, 500n], [2n, 900n]]));
});

Deno.test("seed() writes even if nothing is new, so that a folder nobody can write is found at the start", async () => {
  const disk = new FakeDisk({ [PATH]: encodeFloors(new Map([[1n, 500n]])) });
  disk.fault = { when: "before", fails: (_, step) => step === "createNew" };
  const file = await FloorsFile.load(PATH, disk);
  await assert.rejects(file.seed([1n], 900n), Failure);
});

Deno.test("commit() keeps the floors of keys that are not in use any more", async () => {
  const disk = new FakeDisk({ [PATH]: encodeFloors(new Map([[7n, 70n]])) });
  const file = await FloorsFile.load(PATH, disk);
  await file.seed([1n], 10n);
  assert.deepEqual(await floorsOn(disk), new Map([[7n, 70n], [1n, 10n]]));
});

Deno.test("commit() writes nothing when everything is durable", async () => {
  const disk = new FakeDisk();
  const file = await FloorsFile.load(PATH, disk);
  await file.seed([1n], 10n);
  const before = disk.steps.length;
  await file.commit();
  assert.equal(disk.steps.length, before);
  assert.equal(file.isDurable, true);
});

Deno.test("commit() lets raises of the same turn share one write, and those made meanwhile the next", async () => {
  const disk = new FakeDisk();
  const file = await FloorsFile.load(PATH, disk);
  const keys = Array.from({ length: 100 }, (_, i) => BigInt(i));
  await file.seed(keys, 0n);
  assert.equal(disk.count("sync"), 1);

  const gate = Promise.withResolvers<void>();
  disk.gate = gate.promise;
  const first = keys.slice(0, 50).map((key) => {
    file.floors.raise(key, 1n);
    return file.commit();
  });
  // The write of the first fifty is under way now; the others have to wait for the next.
  await Promise.resolve();
  await Promise.resolve();
  const second = keys.slice(50).map((key) => {
    file.floors.raise(key, 1n);
    return file.commit();
  });
  assert.equal(file.isDurable, false);
  gate.resolve();
  await Promise.all([...first, ...second]);
  assert.equal(disk.count("sync"), 3);
  assert.equal(disk.count("syncFolder"), 3);
  assert.deepEqual(await floorsOn(disk.afterPowerCut("least")), new Map(keys.map((key) => [key, 1n])));
});

Deno.test("commit() of one turn's raises leaves nothing to write", async () => {
  const disk = new FakeDisk();
  const file = await FloorsFile.load(PATH, disk);
  await file.seed([1n, 2n], 0n);
  file.floors.raise(1n, 1n);
  const first = file.commit();
  file.floors.raise(2n, 1n);
  await Promise.all([first, file.commit()]);
  assert.equal(file.isDurable, true);
  await file.commit();
  assert.equal(disk.count("sync"), 2);
});

Deno.test("commit() does not take a raise made during a write for durable", async () => {
  const disk = new FakeDisk();
  const file = await FloorsFile.load(PATH, disk);
  await file.seed([1n, 2n], 0n);
  const gate = Promise.withResolvers<void>();
  disk.gate = gate.promise;
  file.floors.raise(1n, 1n);
  const first = file.commit();
  while (file.writes < 2) await Promise.resolve();
  file.floors.raise(2n, 1n);
  gate.resolve();
  await first;
  assert.equal(file.isDurable, false);
  await file.commit();
  assert.equal((await floorsOn(disk.afterPowerCut("least"))).get(2n), 1n);
});

Deno.test("commit() resolves for nobody before the raise that he made is on the platter", async () => {
  const disk = new FakeDisk();
  const file = await FloorsFile.load(PATH, disk);
  await file.seed([1n], 0n);
  let resolved = 0;
  const commits: Promise<void>[] = [];
  for (let counter = 1n; counter <= 40n; counter++) {
    file.floors.raise(1n, counter);
    const mine = counter;
    commits.push(
      file.commit().then(async () => {
        const floor = (await floorsOn(disk.afterPowerCut("least"))).get(1n) ?? -1n;
        assert.ok(floor >= mine, `floor ${floor} on disk when ${mine} was told durable`);
        resolved++;
      }),
    );
    // Raises fall into every phase of the writes.
    for (let turn = 0n; turn < counter % 7n; turn++) await Promise.resolve();
  }
  await Promise.all(commits);
  assert.equal(resolved, 40);
  assert.ok(disk.count("sync") < 40, `${disk.count("sync")} fsyncs for 40 commits`);
});

Deno.test("commit() refuses the whole batch of a failed write, and the next one writes the newest", async () => {
  const disk = new FakeDisk();
  const file = await FloorsFile.load(PATH, disk);
  await file.seed([1n, 2n], 0n);
  disk.fault = { when: "before", fails: (_, step) => step === "rename" };
  file.floors.raise(1n, 5n);
  const one = file.commit();
  file.floors.raise(2n, 6n);
  const two = file.commit();
  await assert.rejects(one, Failure);
  await assert.rejects(two, Failure);
  assert.equal(file.floors.check(1n, 5n), "replayed");
  assert.equal(file.isDurable, false);
  assert.equal(file.failures, 1);

  disk.fault = { when: "before", fails: () => false };
  await file.commit();
  assert.equal(file.isDurable, true);
  assert.deepEqual(await floorsOn(disk.afterPowerCut("least")), new Map([[1n, 5n], [2n, 6n]]));
});

Deno.test("commit() leaves no temporary file, after failures neither", async () => {
  const disk = new FakeDisk();
  const file = await FloorsFile.load(PATH, disk);
  await file.seed([1n], 0n);
  for (const failing of ["write", "sync", "rename"] as const) {
    disk.fault = { when: "before", fails: (_, step) => step === failing };
    file.floors.raise(1n, BigInt(disk.steps.length));
    await assert.rejects(file.commit(), Failure);
  }
  assert.deepEqual(disk.names(), [PATH]);
});

Deno.test("the file holds exactly what the format's own writer gives", async () => {
  const disk = new FakeDisk();
  const file = await FloorsFile.load(PATH, disk);
  await file.seed([1n, 0xffff_ffff_ffff_ffffn], 1_725_821_510_000_000_000n);
  const bytes = await disk.readFile(PATH);
  assert.deepEqual(bytes, encodeFloors(file.floors.snapshot()));
  assert.deepEqual(decodeFloors(bytes), file.floors.snapshot());
});

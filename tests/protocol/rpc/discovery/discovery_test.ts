import assert from "node:assert/strict";
import { type Discovery, discoveryOver } from "../../../../src/protocol/rpc/discovery/discovery.ts";
import { MemoryStore } from "../../../../src/protocol/rpc/discovery/memory_store.ts";
import { DiscoveryError, type RecordKey } from "../../../../src/protocol/rpc/discovery/record_store.ts";
import { FakeTimers, settled } from "../fake_timers.ts";

const LEASE_MS = 10_000, YEAR_MS = 365 * 86_400_000;
const MATH = { name: "MATH", transport: "tcp", codec: "json", addresses: ["127.0.0.1:1"] };

/** Two programs on one store, with one time and a wall clock each. */
class Scene {
  readonly timers = new FakeTimers();
  readonly store: MemoryStore;
  /** What the wall clock is ahead of the monotonic one. */
  wallAheadMs = 1_700_000_000_000;

  constructor(store: MemoryStore = new MemoryStore()) {
    this.store = store;
  }

  program(): Discovery {
    return discoveryOver(this.store, {
      leaseMs: LEASE_MS,
      timers: this.timers,
      wallMs: () => this.timers.monotonicMs() + this.wallAheadMs,
    });
  }
}

/** A store whose writes can be cut off, as by a crash of the publisher. */
class MortalStore extends MemoryStore {
  isCrashed = false;

  override put(key: RecordKey, text: string): Promise<void> {
    return this.isCrashed ? Promise.resolve() : super.put(key, text);
  }
}

Deno.test("publish() makes a service found by others until it is disposed of", async () => {
  const scene = new Scene();
  const registration = await scene.program().publish(MATH);
  const reader = scene.program();
  assert.deepEqual(await reader.resolve("MATH"), [registration.record]);
  assert.deepEqual(await reader.resolve("math"), [], "names are compared as they are");
  await scene.timers.pass(100 * LEASE_MS);
  assert.deepEqual(await reader.resolve("MATH"), [registration.record]);
  await registration[Symbol.asyncDispose]();
  await registration[Symbol.asyncDispose]();
  assert.deepEqual(await reader.resolve("MATH"), []);
  assert.equal(scene.timers.pending, 0);
});

Deno.test("hole: stale discovery records after a crash are neither given nor kept", async () => {
  const store = new MortalStore();
  const scene = new Scene(store);
  const registration = await scene.program().publish(MATH);
  const reader = scene.program();
  assert.equal((await reader.resolve("MATH")).length, 1);
  store.isCrashed = true;
  await scene.timers.pass(LEASE_MS + 1);
  assert.deepEqual(await reader.resolve("MATH"), []);
  assert.deepEqual(await store.list("MATH"), [], "it was removed");
  await registration[Symbol.asyncDispose]();
});

Deno.test("two publishers of one name are both found and each withdraws only itself", async () => {
  const scene = new Scene();
  const first = await scene.program().publish(MATH);
  await scene.timers.pass(1_000);
  const second = await scene.program().publish({ ...MATH, addresses: ["127.0.0.1:2"] });
  const reader = scene.program();
  assert.deepEqual(await reader.resolve("MATH"), [second.record, first.record], "newest first");
  await first[Symbol.asyncDispose]();
  assert.deepEqual(await reader.resolve("MATH"), [second.record]);
  await second[Symbol.asyncDispose]();
});

Deno.test("a clock set back neither loses a living service nor keeps a crashed one", async () => {
  const store = new MortalStore();
  const scene = new Scene(store);
  const registration = await scene.program().publish(MATH);
  scene.wallAheadMs -= YEAR_MS;
  const newcomer = scene.program();
  assert.deepEqual(await newcomer.resolve("MATH"), [], "from the future: not believed at first sight");
  const found = newcomer.waitFor("MATH", { timeoutMs: LEASE_MS });
  await scene.timers.pass(LEASE_MS / 2);
  assert.deepEqual(await found, [registration.record], "found with its next renewal");
  store.isCrashed = true;
  scene.wallAheadMs -= YEAR_MS;
  const late = scene.program();
  assert.deepEqual(await late.resolve("MATH"), []);
  await scene.timers.pass(LEASE_MS + 1);
  assert.deepEqual(await late.resolve("MATH"), []);
  assert.deepEqual(await store.list("MATH"), [], "removed although its time of renewal is two years off");
  await registration[Symbol.asyncDispose]();
});

Deno.test("a record that was removed by mistake comes back with the next renewal", async () => {
  const scene = new Scene();
  const registration = await scene.program().publish(MATH);
  await scene.store.remove(registration.record);
  await scene.timers.pass(LEASE_MS / 2);
  assert.deepEqual(await scene.program().resolve("MATH"), [registration.record]);
  await registration[Symbol.asyncDispose]();
});

Deno.test("a record under a key that is not its own is neither given nor removed", async () => {
  const scene = new Scene();
  const registration = await scene.program().publish(MATH);
  const [stored] = await scene.store.list("MATH");
  assert(stored !== undefined);
  const foreign = { name: "MATH", instance: "f".repeat(32) };
  await scene.store.put(foreign, stored.text);
  await scene.store.put({ name: "BANK", instance: "e".repeat(32) }, stored.text);
  assert.deepEqual(await scene.program().resolve("MATH"), [registration.record]);
  assert.deepEqual(await scene.program().resolve("BANK"), []);
  assert.equal((await scene.store.list("MATH")).length, 2);
  await registration[Symbol.asyncDispose]();
});

Deno.test("withdrawing while a renewal is under way leaves nothing behind", async () => {
  let release = (): void => {};
  class SlowStore extends MemoryStore {
    override async put(key: RecordKey, text: string): Promise<void> {
      if (text.includes('"beat":1')) await new Promise<void>((resolve) => release = resolve);
      await super.put(key, text);
    }
  }
  const scene = new Scene(new SlowStore());
  const registration = await scene.program().publish(MATH);
  await scene.timers.pass(LEASE_MS / 2);
  const withdrawing = registration[Symbol.asyncDispose]();
  await settled();
  release();
  await withdrawing;
  assert.deepEqual(await scene.store.list("MATH"), []);
  assert.equal(scene.timers.pending, 0);
});

Deno.test("waitFor() gives what is there, what comes, and fails after its time or when aborted", async () => {
  const scene = new Scene();
  const reader = scene.program();
  const coming = reader.waitFor("MATH", { timeoutMs: 60_000 });
  await scene.timers.pass(30_000);
  const registration = await scene.program().publish(MATH);
  assert.deepEqual(await coming, [registration.record]);
  assert.deepEqual(await reader.waitFor("MATH"), [registration.record]);
  await registration[Symbol.asyncDispose]();

  const tooLate = reader.waitFor("MATH", { timeoutMs: 1_000 });
  const refused = assert.rejects(tooLate, (error: unknown) => {
    assert(error instanceof DiscoveryError);
    assert.equal(error.code, "timeout");
    assert.equal(error.message, 'could not find "MATH": nobody published it within 1000 ms');
    return true;
  });
  await scene.timers.pass(1_000);
  await refused;

  const controller = new AbortController();
  const aborted = assert.rejects(reader.waitFor("MATH", { signal: controller.signal }), /enough/);
  await settled();
  controller.abort(new Error("enough"));
  await aborted;
  await assert.rejects(reader.waitFor("MATH", { signal: controller.signal }), /enough/);
  await assert.rejects(reader.waitFor("../x"), TypeError);
  assert.equal(scene.timers.pending, 0, "nothing is left waiting");
});

Deno.test("watch() tells each change once, renewals not at all, and a slow reader the newest", async () => {
  const scene = new Scene();
  const controller = new AbortController();
  const changes = scene.program().watch("MATH", { signal: controller.signal });
  assert.deepEqual((await changes.next()).value, []);
  const registration = await scene.program().publish(MATH);
  assert.deepEqual((await changes.next()).value, [registration.record]);
  const next = changes.next();
  await scene.timers.pass(5 * LEASE_MS);
  await registration[Symbol.asyncDispose]();
  assert.deepEqual((await next).value, [], "nothing came in between");
  for (let i = 0; i < 5; i++) await (await scene.program().publish(MATH))[Symbol.asyncDispose]();
  const last = await scene.program().publish(MATH);
  await settled();
  assert.deepEqual((await changes.next()).value, [last.record]);
  controller.abort();
  assert.equal((await changes.next()).done, true);
  await last[Symbol.asyncDispose]();
  assert.equal(scene.timers.pending, 0);
});

Deno.test("100 watchers of one name all hear of it, over one watch of the store", async () => {
  let watches = 0, lists = 0;
  class CountingStore extends MemoryStore {
    override watch(changed: () => void): () => void {
      watches++;
      const end = super.watch(changed);
      return () => {
        watches--;
        end();
      };
    }
    override list(name: string): ReturnType<MemoryStore["list"]> {
      lists++;
      return super.list(name);
    }
  }
  const scene = new Scene(new CountingStore());
  const reader = scene.program();
  const waiting = Array.from({ length: 100 }, () => reader.waitFor("MATH"));
  await settled();
  assert.equal(watches, 1);
  const before = lists;
  const registration = await scene.program().publish(MATH);
  for (const found of await Promise.all(waiting)) assert.deepEqual(found, [registration.record]);
  assert(lists - before <= 4, `${lists - before} reads for one change`);
  await settled();
  assert.equal(watches, 0);
  await registration[Symbol.asyncDispose]();
});

Deno.test("a renewal that fails is told and tried again; a store that fails ends waiting with its error", async () => {
  let isBroken = false;
  class BreakingStore extends MemoryStore {
    override put(key: RecordKey, text: string): Promise<void> {
      return isBroken ? Promise.reject(new DiscoveryError("store", "disk full")) : super.put(key, text);
    }
    override list(name: string): ReturnType<MemoryStore["list"]> {
      return isBroken ? Promise.reject(new DiscoveryError("store", "disk gone")) : super.list(name);
    }
  }
  const timers = new FakeTimers();
  const problems: unknown[] = [];
  const discovery = discoveryOver(new BreakingStore(), {
    leaseMs: LEASE_MS,
    timers,
    wallMs: () => timers.monotonicMs(),
    onProblem: (error) => problems.push(error),
  });
  const registration = await discovery.publish(MATH);
  isBroken = true;
  await timers.pass(LEASE_MS);
  assert.equal(problems.length, 2);
  await assert.rejects(discovery.waitFor("MATH"), /disk gone/);
  await assert.rejects(discovery.publish(MATH), /disk full/);
  isBroken = false;
  await timers.pass(LEASE_MS / 2);
  assert.deepEqual(await discovery.resolve("MATH"), [registration.record]);
  await registration[Symbol.asyncDispose]();
  assert.equal(timers.pending, 0);
});

Deno.test("what could not be published leaves nothing in the store", async () => {
  const withdrawn: string[] = [];
  class FullStore extends MemoryStore {
    override put(): Promise<void> {
      return Promise.reject(new DiscoveryError("store", "disk full"));
    }
    override withdraw({ name }: RecordKey): Promise<void> {
      withdrawn.push(name);
      return Promise.reject(new DiscoveryError("store", "disk gone"));
    }
  }
  await assert.rejects(discoveryOver(new FullStore()).publish(MATH), /disk full/);
  assert.deepEqual(withdrawn, ["MATH"]);
});

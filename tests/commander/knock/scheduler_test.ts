import assert from "node:assert/strict";
import { KeyedLanes } from "../../../src/commander/knock/lanes.ts";
import { type CommandLimits, MAX_UNDOS_AT_ONCE, Scheduler } from "../../../src/commander/knock/scheduler.ts";
import { FakeClock } from "../fake_clock.ts";

/** A scheduler whose tasks end when the test says so. */
class Stage {
  readonly clock = new FakeClock();
  readonly scheduler = new Scheduler({ monotonicMs: this.clock.monotonicMs, maxQueued: 2 });
  readonly started: string[] = [];
  readonly #ends = new Map<string, () => void>();

  task(name: string): () => Promise<void> {
    return () => {
      this.started.push(name);
      return new Promise((resolve) => this.#ends.set(name, resolve));
    };
  }

  async end(name: string): Promise<void> {
    this.#ends.get(name)?.();
    await settle();
  }
}

/** Lets everything run that can run without anything from outside. */
function settle(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}

function limits(name: string, options: Partial<CommandLimits> = {}): CommandLimits {
  return { name, concurrency: 1, cooldownMs: 0, ...options };
}

Deno.test("Scheduler.admit() runs one command at most `concurrency` at once, in order", async () => {
  const stage = new Stage();
  for (const name of ["a1", "a2", "a3", "a4"]) {
    assert.equal(stage.scheduler.admit(limits("a", { concurrency: 2 }), stage.task(name)).refused, null);
  }
  assert.deepEqual(stage.started, ["a1", "a2"]);
  await stage.end("a2");
  assert.deepEqual(stage.started, ["a1", "a2", "a3"]);
  await stage.end("a1");
  assert.deepEqual(stage.started, ["a1", "a2", "a3", "a4"]);
  assert.equal(stage.scheduler.running, 2);
});

Deno.test("Scheduler.admit() runs different commands side by side", () => {
  const stage = new Stage();
  stage.scheduler.admit(limits("a"), stage.task("a1"));
  stage.scheduler.admit(limits("b"), stage.task("b1"));
  assert.deepEqual(stage.started, ["a1", "b1"]);
});

Deno.test("Scheduler.admit() refuses what does not fit into the queue, and takes more once there is room", async () => {
  const stage = new Stage();
  for (const name of ["a1", "a2", "a3"]) stage.scheduler.admit(limits("a"), stage.task(name));
  assert.equal(stage.scheduler.admit(limits("a"), stage.task("a4")).refused, "queue_full");
  assert.equal(stage.scheduler.admit(limits("b"), stage.task("b1")).refused, null);
  await stage.end("a1");
  assert.equal(stage.scheduler.admit(limits("a"), stage.task("a5")).refused, null);
});

Deno.test("Scheduler.admit() drops a second start within the cooldown, by name", async () => {
  const stage = new Stage();
  const a = limits("a", { cooldownMs: 100 });
  assert.equal(stage.scheduler.admit(a, stage.task("1")).refused, null);
  await stage.end("1");
  stage.clock.pass(99);
  assert.equal(stage.scheduler.admit(a, stage.task("2")).refused, "cooldown");
  assert.equal(stage.scheduler.admit(limits("b", { cooldownMs: 100 }), stage.task("3")).refused, null);
  stage.clock.pass(1);
  assert.equal(stage.scheduler.admit(a, stage.task("4")).refused, null);
  assert.deepEqual(stage.started, ["1", "3", "4"]);
});

Deno.test("Scheduler.admit() takes no cooldown from a refused start, and none from what ignores it", async () => {
  const stage = new Stage();
  const a = limits("a", { cooldownMs: 100 });
  assert.equal(stage.scheduler.admit(a, stage.task("1"), { ignoreCooldown: true }).refused, null);
  await stage.end("1");
  assert.equal(stage.scheduler.admit(a, stage.task("2")).refused, null);
  await stage.end("2");
  assert.equal(stage.scheduler.admit(a, stage.task("3"), { ignoreCooldown: true }).refused, null);
  await stage.end("3");
  stage.clock.pass(60);
  assert.equal(stage.scheduler.admit(a, stage.task("4")).refused, "cooldown");
  stage.clock.pass(40);
  assert.equal(stage.scheduler.admit(a, stage.task("5")).refused, null);
});

Deno.test("Scheduler.undo() takes no slot, waits for none and is never refused", async () => {
  const stage = new Stage();
  const a = limits("a", { concurrency: 2 });
  for (const name of ["a1", "a2", "a3", "a4"]) stage.scheduler.admit(a, stage.task(name));
  stage.scheduler.undo("a", stage.task("undo"));
  assert.deepEqual(stage.started, ["a1", "a2", "undo"]);
  await stage.end("undo");
  assert.deepEqual(stage.started, ["a1", "a2", "undo"]);
  await stage.end("a1");
  assert.deepEqual(stage.started, ["a1", "a2", "undo", "a3"]);
});

Deno.test("Scheduler.undo() bounds how many undos of one command run at once", async () => {
  const stage = new Stage();
  for (let i = 0; i <= MAX_UNDOS_AT_ONCE; i++) stage.scheduler.undo("a", stage.task(`a${i}`));
  stage.scheduler.undo("b", stage.task("b0"));
  assert.equal(stage.started.length, MAX_UNDOS_AT_ONCE + 1);
  assert.equal(stage.started.at(-1), "b0");
  await stage.end("a3");
  assert.equal(stage.started.at(-1), `a${MAX_UNDOS_AT_ONCE}`);
});

Deno.test("Scheduler.stop() drops what waits, starts nothing more, and is idle when the last task ends", async () => {
  const stage = new Stage();
  const outcomes: string[] = [];
  for (const name of ["a1", "a2"]) {
    const admission = stage.scheduler.admit(limits("a"), stage.task(name));
    assert.equal(admission.refused, null);
    admission.done.then((ran) => outcomes.push(`${name} ${ran}`));
  }
  stage.scheduler.stop();
  assert.equal(stage.scheduler.admit(limits("b"), stage.task("b1")).refused, "stopping");
  assert.equal(await stage.scheduler.undo("b", stage.task("b2")), false);
  let idle = false;
  stage.scheduler.whenIdle().then(() => idle = true);
  await settle();
  assert.deepEqual(outcomes, ["a2 false"], "who waits for a dropped task is let go");
  assert.equal(idle, false);
  await stage.end("a1");
  assert.equal(idle, true);
  assert.deepEqual(outcomes, ["a2 false", "a1 true"]);
  assert.deepEqual(stage.started, ["a1"]);
});

Deno.test("KeyedLanes.enter() runs one key in order and others meanwhile, and goes on after an error", async () => {
  const lanes = new KeyedLanes();
  const order: string[] = [];
  const gate = Promise.withResolvers<void>();
  const first = lanes.enter("a", async () => {
    await gate.promise;
    order.push("a1");
    throw new Error("a1");
  });
  const second = lanes.enter("a", () => Promise.resolve(void order.push("a2")), 1);
  assert.equal(lanes.enter("a", () => Promise.resolve(void order.push("a3")), 1), null);
  await lanes.enter("b", () => Promise.resolve(void order.push("b1")));
  gate.resolve();
  await assert.rejects(first ?? Promise.resolve(), /a1/);
  await second;
  await lanes.enter("a", () => Promise.resolve(void order.push("a4")), 0);
  assert.deepEqual(order, ["b1", "a1", "a2", "a4"]);
});

import assert from "node:assert/strict";
import type { RelayEnd } from "./memory_relay.ts";
import { asked, assertArrived, GRACE_MS, MANY, story, World } from "./memory_relay_parties.ts";
import { MemorySink } from "./memory_sink.ts";

Deno.test("runShare() redials a lost link by the resume secret alone, and sends nothing twice", async () => {
  const world = new World(5, MANY);
  world.slowDown();
  const sender = world.sender(), receiver = world.receiver();
  for (const chunks of [5, 15, 30]) {
    await world.untilMoved(chunks);
    world.relay.cut();
  }
  await world.ended();
  assert.deepEqual([sender.outcome, receiver.outcome], ["done", "done"]);
  assertArrived(world.sink, world.tree);
  assert.equal(world.sink.written.size, MANY.length);
  assert.equal(world.sinksAsked, 1, "one sink outlives all sessions");
  for (const party of [sender, receiver]) {
    assert.equal(party.book.spent, 1);
    assert.deepEqual(world.kinds(party.who), [1, 2, 2, 2]);
    const told = story(party);
    assert.equal(told.filter((each) => each === "interrupted 1 lost").length, 3);
    assert.equal(told.filter((each) => each === "offer").length, 1, "told once");
    const again = "paired 1 again";
    assert.deepEqual(told.filter((each) => each.startsWith("paired")), ["paired 1", again, again, again]);
  }
  const files = story(receiver).filter((each) => each.startsWith("file"));
  assert.deepEqual(files, MANY.map((_, index) => `file ${index + 1}`), "each told once");
  world.assertNothingLeft();
});

Deno.test("runShare() redials a link that is silent", async () => {
  const world = new World(6, MANY);
  let isFrozen = false;
  world.slowDown();
  const { wires } = world.relay.policy;
  world.relay.policy.wires = (parked, end) => {
    const { toParked, toEnd } = wires?.(parked, end) ?? { toParked: parked.wire, toEnd: end.wire };
    const freezing = (wire: typeof toParked): typeof toParked => ({
      put: (bytes) => isFrozen ? new Promise(() => {}) : wire.put(bytes),
      end: () => wire.end(),
    });
    return { toParked: freezing(toParked), toEnd: freezing(toEnd) };
  };
  const sender = world.sender(), receiver = world.receiver();
  await world.untilMoved(5);
  isFrozen = true;
  await world.clock.pass(14_000);
  assert.deepEqual([sender, receiver].map((each) => story(each).includes("interrupted 1 silent")), [
    false,
    false,
  ]);
  await world.clock.pass(2_000);
  isFrozen = false;
  await world.ended();
  assert.deepEqual([sender.outcome, receiver.outcome], ["done", "done"]);
  assert([sender, receiver].some((each) => story(each).includes("interrupted 1 silent")));
  assertArrived(world.sink, world.tree);
  world.assertNothingLeft();
});

Deno.test("runShare() and runReceive() have another instance in each search, by which no relay can tell that they are one", async () => {
  const world = new World(11, MANY), arrived: RelayEnd[] = [];
  world.slowDown();
  world.relay.policy.arrived = (end) => {
    arrived.push(end);
    return false;
  };
  world.sender();
  await world.clock.pass(30_000); // and dials once more, as nobody comes
  world.receiver();
  for (const chunks of [5, 15]) {
    await world.untilMoved(chunks);
    world.relay.cut();
  }
  await world.ended();
  assertArrived(world.sink, world.tree);
  const instances = (who: string): string[] =>
    arrived.filter((end) => end.who === who)
      .map(({ said }) => new Uint8Array(said.flatMap((bytes) => [...bytes])).subarray(7, 23).toHex());
  const senders = instances("sender"), all = [...senders, ...instances("receiver")];
  assert.equal(all.length, 4 + 3);
  assert.equal(senders[0], senders[1], "it knows its own connection of before");
  assert.equal(new Set(all).size, 3 + 3);
  world.assertNothingLeft();
});

Deno.test("runShare() fails with lost when its receiver vanishes, after the grace time", async () => {
  const world = new World(7, MANY);
  world.slowDown();
  const sender = world.sender(), receiver = world.receiver();
  await world.untilMoved(5);
  const atMs = world.clock.monotonicMs();
  receiver.stop.abort(new Error("gone"));
  world.relay.cut();
  await world.ended();
  assert.equal(sender.outcome, "lost");
  assert.match(sender.message, /within 120 s: the other side did not come back$/);
  assert(Math.abs(sender.endedMs - atMs - GRACE_MS) < 1_000, `after ${sender.endedMs - atMs} ms`);
  assert.equal(asked(world.sink, "flush"), 1);
  world.assertNothingLeft();
});

Deno.test("runShare() goes on with a receiver of an earlier run, by its secret, and with one that was started again", async () => {
  const world = new World(8, MANY);
  world.slowDown();
  const before = [world.sender(), world.receiver()];
  await world.untilMoved(5);
  for (const { stop } of before) stop.abort(new Error("killed"));
  await world.clock.pass(1_000);
  const secret = world.resumeSecret;
  assert(secret !== null);
  const resumed = world.sender({ who: "sender again", code: null, receivers: 0, resume: [secret] });
  const rendezvous = { kind: "resume", secret } as const;
  const second = world.receiver({ who: "receiver again", rendezvous });
  await world.untilMoved(15);
  second.stop.abort(new Error("killed too"));
  await world.clock.pass(30_000);
  const third = world.receiver({ who: "third", rendezvous });
  await world.ended();
  assert.deepEqual([resumed.outcome, third.outcome], ["done", "done"]);
  assertArrived(world.sink, world.tree);
  assert.equal(world.sink.written.size, MANY.length);
  const told = story(resumed);
  assert.deepEqual(told.slice(0, 2), ["paired 1 again", "offer"]);
  for (const party of [resumed, second, third]) {
    assert.deepEqual(party.book.lines, [], "nothing to be guessed");
    assert(world.kinds(party.who).every((type) => type === 2));
  }
  world.assertNothingLeft();
});

Deno.test("runShare() admits by the code beside a receiver of an earlier run", async () => {
  const world = new World(9);
  const old = new World(10);
  const secret = old.dice.bytes(32);
  const sender = world.sender({ receivers: 1, resume: [secret] });
  const sink = new MemorySink();
  world.receiver({ who: "old", sink, rendezvous: { kind: "resume", secret } });
  await world.clock.pass(1_000);
  world.receiver({ who: "new" });
  await world.ended();
  assert.equal(sender.outcome, "done", sender.message);
  const told = story(sender);
  assert.deepEqual(told.filter((each) => /^(paired|done)/.test(each)), [
    "paired 1 again",
    "done 1",
    "paired 2",
    "done 2",
  ]);
  assertArrived(sink, world.tree);
  assertArrived(world.sink, world.tree);
  world.assertNothingLeft();
});

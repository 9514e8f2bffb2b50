import assert from "node:assert/strict";
import { TransferError } from "../../../src/protocol/transfer/errors.ts";
import { refused } from "./memory_relay.ts";
import { GuessBook, MemorySink, type Party, story, World } from "./memory_relay_parties.ts";

const HELLO_BYTES = 56;
const IDENTIFIER_BYTES = 33;
/** What parties are given when nothing else is said. */
const GRACE_MS = 120_000,
  WAIT_MS = 600_000;
const MANY = Array.from({ length: 40 }, (_, index) => 50 + 10 * index);

/** Types of the connections that somebody has made, in order: 1 for the code, 2 for a secret. */
function types({ relay }: World, who: string): number[] {
  return relay.traces.filter((each) => each.who === who).map(({ type }) => type);
}

function moved({ sink }: World, chunks: number): () => boolean {
  return () => sink.writes >= chunks;
}

Deno.test("runShare() brings everything to one receiver, and tells what happens in order", async () => {
  const world = new World();
  const sender = world.sender();
  await world.clock.pass(30_000);
  const receiver = world.receiver();
  await world.ended();
  assert.deepEqual(story(sender), ["code", "waiting", "paired 1", "offer", "accepted 1631", "done 1"]);
  const files = [1, 2, 3, 4, 5, 6].map((file) => `file ${file}`);
  assert.deepEqual(story(receiver), ["paired 1", "offer", "accepted 1631", ...files, "done 1"]);
  assert.deepEqual([sender.outcome, receiver.outcome], ["done", "done"]);
  world.sink.assertHas(world.source);
  assert.deepEqual(sender.book.lines.map(({ act }) => act), ["spend", "proven"]);
  assert.deepEqual(receiver.book.lines, sender.book.lines);
  assert.equal(receiver.book.lines[0]?.secret, world.resumeSecret?.toHex());
  world.assertNothingLeft();
});

Deno.test("runShare() serves several receivers at the same time, with one connection at a time for the code", async () => {
  const world = new World(2, {}, MANY);
  world.slowDown(200);
  let unpaired = 0;
  const isWaiting = ({ who, type, closedMs, writtenBytes }: (typeof world.relay.traces)[number]): boolean =>
    who === "sender" && type === 1 && closedMs === null && writtenBytes <= IDENTIFIER_BYTES + HELLO_BYTES;
  world.relay.policy.arrived = () => {
    unpaired = Math.max(unpaired, world.relay.traces.filter(isWaiting).length);
    return false;
  };
  const finished: number[] = [];
  const sender = world.sender({
    receivers: 3,
    finished: (receiver) => Promise.resolve(void finished.push(receiver)),
  });
  const sinks = [1, 2, 3].map((number) => {
    const sink = new MemorySink();
    world.receiver({ who: `receiver ${number}`, sink });
    return sink;
  });
  await world.ended();
  assert.equal(sender.outcome, "done", sender.message);
  for (const sink of sinks) sink.assertHas(world.source);
  assert.equal(unpaired, 1);
  assert.deepEqual(finished.toSorted(), [1, 2, 3]);
  const told = story(sender);
  assert(told.indexOf("paired 3") < told.findIndex((each) => each.startsWith("done")), told.join());
  assert.deepEqual([sender.book.spent, sender.book.right], [3, 3]);
  assert.equal(types(world, "sender").length, 3, "nobody waits for a fourth");
  world.assertNothingLeft();
});

Deno.test("runShare() goes on with the others when a receiver fails, and fails itself when they have ended", async () => {
  const world = new World(3, {}, MANY);
  world.slowDown();
  const sender = world.sender({ receivers: 3 });
  const sinks = [1, 2, 3].map(() => new MemorySink());
  const receivers = sinks.map((sink, index) => world.receiver({ who: `receiver ${index}`, sink }));
  await world.until("all are paired", () => story(sender).includes("paired 3"));
  const [, bad] = sinks;
  assert(bad !== undefined);
  bad.failure = new TransferError("space", "cannot write: the disk is full");
  await world.ended();
  assert.deepEqual(receivers.map(({ outcome }) => outcome), ["done", "space", "done"]);
  assert.equal(sender.outcome, "space");
  assert.equal(story(sender).filter((each) => each.startsWith("done")).length, 2);
  assert.equal(story(sender).filter((each) => /^receiver_failed [123] space$/.test(each)).length, 1);
  assert.match(story(sender).at(-1) ?? "", /^done/, "it waited for those who went on");
  world.assertNothingLeft();
});

Deno.test("runShare() lets nobody else in after a wrong guess, and finishes with those it has", async () => {
  const world = new World(4, {}, MANY);
  world.slowDown();
  const sender = world.sender({ receivers: 3 }), first = world.receiver({ who: "first" });
  await world.until("something has moved", moved(world, 3));
  const guesser = world.receiver({
    who: "guesser",
    sink: new MemorySink(),
    rendezvous: { kind: "code", code: world.otherCode() },
  });
  await world.until("the guess was made", () => guesser.outcome !== "running");
  const third = world.receiver({ who: "third", sink: new MemorySink() });
  await world.ended();
  assert.deepEqual(story(sender).slice(-2), ["receiver_failed 2 mismatch", "done 1"]);
  assert.equal(sender.message, "the code does not match (typing error, or someone tried to guess)");
  assert.deepEqual(
    [sender, first, guesser, third].map(({ outcome }) => outcome),
    ["mismatch", "done", "mismatch", "absent"],
  );
  assert.deepEqual(sender.book.lines.map(({ act }) => act), ["spend", "proven", "spend"]);
  world.sink.assertHas(world.source);
  world.assertNothingLeft();
});

Deno.test("runShare() redials a lost link by the resume secret alone, and sends nothing twice", async () => {
  const world = new World(5, {}, MANY);
  world.slowDown();
  const sender = world.sender(), receiver = world.receiver();
  for (const chunks of [5, 15, 30]) {
    await world.until(`${chunks} chunks have moved`, moved(world, chunks));
    world.relay.cut();
  }
  await world.ended();
  assert.deepEqual([sender.outcome, receiver.outcome], ["done", "done"]);
  world.sink.assertHas(world.source);
  assert.equal(world.sink.writes, MANY.length);
  for (const party of [sender, receiver]) {
    assert.equal(party.book.spent, 1);
    assert.deepEqual(types(world, party.who), [1, 2, 2, 2]);
    const told = story(party);
    assert.equal(told.filter((each) => each === "interrupted 1 lost").length, 3);
    assert.equal(told.filter((each) => each === "offer").length, 1, "told once");
    assert.equal(told.filter((each) => each.startsWith("paired")).length, 1);
  }
  const files = story(receiver).filter((each) => each.startsWith("file"));
  assert.deepEqual(files, MANY.map((_, index) => `file ${index + 1}`), "each told once");
  world.assertNothingLeft();
});

Deno.test("runShare() redials a link that is silent", async () => {
  const world = new World(6, {}, MANY);
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
  await world.until("something has moved", moved(world, 5));
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
  world.sink.assertHas(world.source);
  world.assertNothingLeft();
});

Deno.test("runShare() fails with lost when its receiver vanishes, after the grace time", async () => {
  const world = new World(7, {}, MANY);
  world.slowDown();
  const sender = world.sender(), receiver = world.receiver();
  await world.until("something has moved", moved(world, 5));
  const atMs = world.clock.monotonicMs();
  receiver.stop.abort(new Error("gone"));
  world.relay.cut();
  await world.ended();
  assert.equal(sender.outcome, "lost");
  assert.match(sender.message, /within 120 s: the other side did not come back$/);
  assert(Math.abs(sender.endedMs - atMs - GRACE_MS) < 1_000, `after ${sender.endedMs - atMs} ms`);
  assert.equal(world.sink.flushes, 1);
  world.assertNothingLeft();
});

Deno.test("runShare() goes on with a receiver of an earlier run, by its secret, and with one that was started again", async () => {
  const world = new World(8, {}, MANY);
  world.slowDown();
  const before = [world.sender(), world.receiver()];
  await world.until("something has moved", moved(world, 5));
  for (const { stop } of before) stop.abort(new Error("killed"));
  await world.clock.pass(1_000);
  const secret = world.resumeSecret;
  assert(secret !== null);
  const resumed = world.sender({ who: "sender again", code: null, receivers: 0, resume: [secret] });
  const rendezvous = { kind: "resume", secret } as const;
  const second = world.receiver({ who: "receiver again", rendezvous });
  await world.until("more has moved", moved(world, 15));
  second.stop.abort(new Error("killed too"));
  await world.clock.pass(30_000);
  const third = world.receiver({ who: "third", rendezvous });
  await world.ended();
  assert.deepEqual([resumed.outcome, third.outcome], ["done", "done"]);
  world.sink.assertHas(world.source);
  assert.equal(world.sink.writes, MANY.length);
  const told = story(resumed);
  assert.deepEqual(told.slice(0, 2), ["paired 1 again", "offer"]);
  for (const party of [resumed, second, third]) {
    assert.deepEqual(party.book.lines, [], "nothing to be guessed");
    assert(types(world, party.who).every((type) => type === 2));
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
  sink.assertHas(world.source);
  world.sink.assertHas(world.source);
  world.assertNothingLeft();
});

Deno.test("runShare() waits for each receiver anew, and fails with absent when one does not come", async () => {
  const world = new World(11);
  const sender = world.sender({ receivers: 3 });
  const sinks = [new MemorySink(), new MemorySink()];
  await world.clock.pass(500_000);
  world.receiver({ who: "first", sink: sinks[0]! });
  await world.clock.pass(500_000);
  world.receiver({ who: "second", sink: sinks[1]! });
  await world.ended();
  assert.deepEqual([sender.outcome, sender.endedMs], ["absent", 1_000_000 + WAIT_MS]);
  assert.equal(story(sender).at(-1), "receiver_failed 3 absent");
  for (const sink of sinks) sink.assertHas(world.source);
  world.assertNothingLeft();
});

Deno.test("runShare() fails with unreachable when there is no relay, and tells it at once", async () => {
  const world = new World(12);
  const sender = world.sender({ dial: () => Promise.reject(refused()) });
  await world.clock.pass(0);
  assert.deepEqual(story(sender), ["code", "interrupted 1 unreachable"]);
  await world.ended();
  assert.deepEqual([sender.outcome, sender.endedMs], ["unreachable", GRACE_MS]);
  world.assertNothingLeft();
});

Deno.test("runShare() tells that a receiver is done only when that is written down, and fails if it cannot be", async () => {
  const world = new World(13);
  const sender = world.sender({
    finished: async () => {
      await world.clock.pause(1_000);
      throw new TransferError("storage", "cannot write");
    },
  });
  const receiver = world.receiver();
  await world.ended();
  assert.deepEqual([sender.outcome, receiver.outcome], ["storage", "done"]);
  assert.equal(story(sender).includes("done 1"), false);
  world.assertNothingLeft();
});

Deno.test("runShare() passes on what cannot be written down of a guess, and answers nothing", async () => {
  const world = new World(14);
  const book = new GuessBook();
  const sender = world.sender({
    memory: {
      spend: (secret) => book.spend(secret),
      proven: () => Promise.reject(new TransferError("storage", "cannot write")),
    },
  });
  const receiver = world.receiver();
  await world.ended();
  assert.deepEqual([sender.outcome, receiver.outcome], ["storage", "mismatch"]);
  assert.equal(book.spent, 1);
  assert.equal(world.relay.traces[0]?.writtenBytes, IDENTIFIER_BYTES + HELLO_BYTES);
  world.assertNothingLeft();
});

Deno.test("two senders with one number: whoever meets the wrong one is told so, and the other goes on waiting", async () => {
  const world = new World(15);
  const right = world.sender({ who: "right" });
  // The two hang up on each other before the receiver comes; then the relay brings it to the wrong one.
  const wrong = world.sender({ who: "wrong", code: world.otherCode() });
  await world.clock.pass(10_000);
  world.relay.policy.matches = (a, b) => a.who !== "right" && b.who !== "right";
  await world.clock.pass(30_000);
  const receiver = world.receiver();
  await world.until("the two have met", () => receiver.outcome !== "running");
  const text = "the code does not match (typing error, or someone tried to guess)";
  const toldTo = ({ outcome, message }: Party): unknown[] => [outcome, message];
  assert.deepEqual(toldTo(receiver), ["mismatch", text]);
  assert.deepEqual(toldTo(wrong), ["mismatch", text]);
  assert.deepEqual([receiver, wrong, right].map(({ book }) => book.spent), [1, 1, 0]);
  assert.equal(right.outcome, "running");
  world.relay.policy = {};
  // The code of the right one is as good as before, for somebody who has not guessed with it.
  const second = world.receiver({ who: "second" });
  await world.ended();
  assert.deepEqual([right.outcome, second.outcome], ["done", "done"]);
  world.sink.assertHas(world.source);
  world.assertNothingLeft();
});

Deno.test("runShare() and runReceive() end at once when they are aborted, at any moment, and leave nothing", async () => {
  for (let moment = 0; moment < 40; moment++) {
    const world = new World(100 + moment, {}, MANY.slice(0, 8));
    world.slowDown();
    const sender = world.sender({ receivers: 2 }), receiver = world.receiver();
    if (moment % 3 === 0) world.clock.later(15 * moment, () => world.relay.cut());
    await world.clock.pass(10 * moment);
    const atMs = world.clock.monotonicMs();
    const reason = new Error(`moment ${moment}`);
    const alreadyDone = receiver.outcome;
    for (const { stop } of world.parties) stop.abort(reason);
    await world.ended();
    assert.deepEqual(sender.outcome, { unexpected: reason });
    assert.deepEqual(receiver.outcome, alreadyDone === "done" ? "done" : { unexpected: reason });
    assert.equal(sender.endedMs, atMs);
    world.assertNothingLeft();
  }
});

import assert from "node:assert/strict";
import { TransferError } from "../../../src/protocol/transfer/errors.ts";
import { refused } from "./memory_relay.ts";
import {
  assertArrived,
  failWrites,
  GRACE_MS,
  GuessBook,
  MANY,
  type Party,
  story,
  WAIT_MS,
  World,
} from "./memory_relay_parties.ts";
import { MemorySink } from "./memory_sink.ts";

const HELLO_BYTES = 56;
const IDENTIFIER_BYTES = 33;

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
  assertArrived(world.sink, world.tree);
  assert.deepEqual(sender.book.lines.map(({ act }) => act), ["spend", "proven"]);
  assert.deepEqual(receiver.book.lines, sender.book.lines);
  assert.equal(receiver.book.lines[0]?.secret, world.resumeSecret?.toHex());
  world.assertNothingLeft();
});

Deno.test("runShare() serves several receivers at the same time, with one connection at a time for the code", async () => {
  const world = new World(2, MANY);
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
  for (const sink of sinks) assertArrived(sink, world.tree);
  assert.equal(unpaired, 1);
  assert.deepEqual(finished.toSorted(), [1, 2, 3]);
  const told = story(sender);
  assert(told.indexOf("paired 3") < told.findIndex((each) => each.startsWith("done")), told.join());
  assert.deepEqual([sender.book.spent, sender.book.right], [3, 3]);
  assert.equal(world.kinds("sender").length, 3, "nobody waits for a fourth");
  world.assertNothingLeft();
});

Deno.test("runShare() goes on with the others when a receiver fails, and fails itself when they have ended", async () => {
  const world = new World(3, MANY);
  world.slowDown();
  const sender = world.sender({ receivers: 3 });
  const sinks = [1, 2, 3].map(() => new MemorySink());
  const receivers = sinks.map((sink, index) => world.receiver({ who: `receiver ${index}`, sink }));
  await world.until("all are paired", () => story(sender).includes("paired 3"));
  const [, bad] = sinks;
  assert(bad !== undefined);
  failWrites(bad, new TransferError("space", "cannot write: the disk is full"));
  await world.ended();
  assert.deepEqual(receivers.map(({ outcome }) => outcome), ["done", "space", "done"]);
  assert.equal(sender.outcome, "space");
  assert.equal(story(sender).filter((each) => each.startsWith("done")).length, 2);
  assert.equal(story(sender).filter((each) => /^receiver_failed [123] space$/.test(each)).length, 1);
  assert.match(story(sender).at(-1) ?? "", /^done/, "it waited for those who went on");
  world.assertNothingLeft();
});

Deno.test("runShare() fails with the first failure of several, and with the signal's reason if it was aborted", async () => {
  for (const isAborted of [false, true]) {
    const world = new World(16, MANY);
    world.slowDown(200);
    const sender = world.sender({ receivers: 3 });
    const sinks = [1, 2, 3].map(() => new MemorySink());
    for (const [index, sink] of sinks.entries()) world.receiver({ who: `receiver ${index}`, sink });
    await world.until("all are paired", () => story(sender).includes("paired 3"));
    const [first, second] = sinks;
    assert(first !== undefined && second !== undefined);
    failWrites(first, new TransferError("space", "cannot write"));
    await world.until("one has failed", () => story(sender).at(-1)?.endsWith("space") === true);
    failWrites(second, new TransferError("storage", "cannot write"));
    await world.until("the other has failed", () => story(sender).at(-1)?.endsWith("storage") === true);
    assert.equal(sender.outcome, "running");
    const reason = new Error("enough");
    if (isAborted) sender.stop.abort(reason);
    await world.ended();
    assert.deepEqual(sender.outcome, isAborted ? { unexpected: reason } : "space");
    world.assertNothingLeft();
  }
});

Deno.test("runShare() lets nobody else in after a wrong guess, and finishes with those it has", async () => {
  const world = new World(4, MANY);
  world.slowDown();
  const sender = world.sender({ receivers: 3 }), first = world.receiver({ who: "first" });
  await world.untilMoved(3);
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
  assertArrived(world.sink, world.tree);
  world.assertNothingLeft();
});

Deno.test("runShare() waits for each receiver anew, and fails with absent when one does not come", async () => {
  const world = new World(11);
  const sender = world.sender({ receivers: 3 });
  const sinks = [new MemorySink(), new MemorySink()];
  for (const [index, sink] of sinks.entries()) {
    await world.clock.pass(500_000);
    world.receiver({ who: `receiver ${index}`, sink });
  }
  await world.ended();
  assert.deepEqual([sender.outcome, sender.endedMs], ["absent", 1_000_000 + WAIT_MS]);
  assert.equal(story(sender).at(-1), "receiver_failed 3 absent");
  for (const sink of sinks) assertArrived(sink, world.tree);
  world.assertNothingLeft();
});

Deno.test("runShare() tells no code that lets nobody in any more", async () => {
  const world = new World(17);
  const secret = world.dice.bytes(32);
  const sender = world.sender({ receivers: 0, resume: [secret], waitMs: 30_000 });
  await world.ended();
  assert.deepEqual([story(sender), sender.outcome], [["waiting"], "absent"]);
  assert.deepEqual(world.kinds("sender"), [2, 2]);
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
  assertArrived(world.sink, world.tree);
  world.assertNothingLeft();
});

Deno.test("runShare() and runReceive() end at once when they are aborted, at any moment, and leave nothing", async () => {
  for (let moment = 0; moment < 40; moment++) {
    const world = new World(100 + moment, MANY.slice(0, 8));
    world.slowDown();
    const sender = world.sender({ receivers: 2 }), receiver = world.receiver();
    if (moment % 3 === 0) world.clock.later(15 * moment, () => world.relay.cut());
    await world.clock.pass(10 * moment);
    const atMs = world.clock.monotonicMs();
    const reason = new TransferError("cancelled", `moment ${moment}`);
    const before = receiver.outcome;
    for (const { stop } of world.parties) stop.abort(reason);
    await world.ended();
    assert.deepEqual([sender.outcome, sender.message], ["cancelled", reason.message]);
    assert.equal(receiver.outcome, before === "done" ? "done" : "cancelled");
    assert.equal(sender.endedMs, atMs);
    assert(!story(sender).some((each) => each.startsWith("receiver_failed")), "nobody has failed");
    world.assertNothingLeft();
  }
});

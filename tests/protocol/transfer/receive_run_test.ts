import assert from "node:assert/strict";
import { TransferError } from "../../../src/protocol/transfer/errors.ts";
import { LAST_WORD_MS, SILENCE_MS } from "../../../src/protocol/transfer/limits.ts";
import { TransportError } from "../../../src/protocol/transport/transport.ts";
import { refused, type Wire } from "./memory_relay.ts";
import { asked, assertArrived, GRACE_MS, MANY, story, WAIT_MS, World } from "./memory_relay_parties.ts";

Deno.test("runReceive() fails with lost when its sender vanishes, after the grace time, and has kept what came", async () => {
  const world = new World(1, MANY);
  world.slowDown();
  const sender = world.sender(), receiver = world.receiver();
  await world.untilMoved(6);
  const atMs = world.clock.monotonicMs();
  sender.stop.abort(new Error("gone"));
  world.relay.cut();
  await world.ended();
  assert.equal(receiver.outcome, "lost");
  assert(Math.abs(receiver.endedMs - atMs - GRACE_MS) < 1_000, `after ${receiver.endedMs - atMs} ms`);
  assert.equal(asked(world.sink, "flush"), 1);
  assert.deepEqual(story(receiver).slice(-1), ["interrupted 1 lost"]);
  world.assertNothingLeft();
});

Deno.test("runReceive() says which of the two could not be had again, the relay or the sender", async () => {
  const world = new World(2, MANY);
  world.slowDown();
  world.sender();
  const receiver = world.receiver();
  await world.untilMoved(6);
  world.relay.policy.dialled = () => Promise.reject(refused());
  world.relay.cut();
  await world.ended();
  assert.equal(receiver.outcome, "lost");
  assert.match(
    receiver.message,
    /within 120 s: cannot use the relay: could not connect: nobody listens there$/,
  );
  assert.deepEqual(story(receiver).slice(-2), ["interrupted 1 lost", "interrupted 1 unreachable"]);
  world.assertNothingLeft();
});

Deno.test("runReceive() fails with absent when no sender comes, and with unreachable without a relay", async () => {
  const world = new World(3);
  const waiting = world.receiver({ who: "waiting" });
  const dialling = world.receiver({ who: "dialling", dial: () => Promise.reject(refused()) });
  await world.ended();
  assert.deepEqual([waiting.outcome, waiting.endedMs], ["absent", WAIT_MS]);
  assert.deepEqual([dialling.outcome, dialling.endedMs], ["unreachable", GRACE_MS]);
  assert.deepEqual(story(waiting), ["waiting"]);
  assert.deepEqual(story(dialling), ["interrupted 1 unreachable"]);
  world.assertNothingLeft();
});

Deno.test("runReceive() has everything and is done, though the sender's last word was lost and it is gone", async () => {
  const world = new World(4, MANY);
  const { sink } = world;
  world.relay.policy.wires = (parked, end) => {
    const until = (wire: Wire, isOver: () => boolean): Wire => ({
      put: (bytes) => isOver() ? Promise.resolve() : wire.put(bytes),
      end: () => isOver() ? Promise.resolve() : wire.end(),
    });
    // The receiver's `done` arrives; what the sender says to it does not.
    const wireTo = (to: typeof end): Wire =>
      to.who === "sender" ? to.wire : until(to.wire, () => sink.isFinished);
    return { toParked: wireTo(parked), toEnd: wireTo(end) };
  };
  const sender = world.sender(), receiver = world.receiver();
  await world.until("the sender has ended", () => sender.outcome !== "running");
  assert.equal(sender.outcome, "done");
  assert.equal(receiver.outcome, "running");
  await world.ended();
  assert.equal(receiver.outcome, "done", receiver.message);
  const waitedMs = receiver.endedMs - sender.endedMs;
  assert(
    waitedMs <= SILENCE_MS + LAST_WORD_MS + 1_000,
    `the grace time is for those who miss more: ${waitedMs} ms`,
  );
  assert.deepEqual(story(receiver).slice(-2).map((each) => each.split(" ")[0]), ["interrupted", "done"]);
  assertArrived(sink, world.tree);
  world.assertNothingLeft();
});

Deno.test("runReceive() says that it is done once more when the sender has not heard it", async () => {
  const world = new World(5, MANY);
  const { sink } = world;
  let isDeaf = true;
  world.relay.policy.wires = (parked, end) => {
    const deaf = (wire: Wire): Wire => ({
      put: (bytes) => isDeaf && sink.isFinished ? Promise.resolve() : wire.put(bytes),
      end: () => wire.end(),
    });
    return {
      toParked: parked.who === "sender" ? deaf(parked.wire) : parked.wire,
      toEnd: end.who === "sender" ? deaf(end.wire) : end.wire,
    };
  };
  const sender = world.sender(), receiver = world.receiver();
  await world.until("everything is there", () => sink.isFinished);
  await world.clock.pass(5_000);
  assert.deepEqual([sender.outcome, receiver.outcome], ["running", "running"]);
  isDeaf = false;
  world.relay.cut();
  await world.ended();
  assert.deepEqual([sender.outcome, receiver.outcome], ["done", "done"]);
  assert.deepEqual([sink.written.size, asked(sink, "accept")], [MANY.length, 2]);
  assert.equal(story(receiver).filter((each) => each === "file 7").length, 1, "told once");
  assertArrived(sink, world.tree);
  world.assertNothingLeft();
});

Deno.test("runReceive() is done when everything is in its place, whatever becomes of the sender's last word", async () => {
  const world = new World(12, MANY);
  const { sink } = world;
  world.relay.policy.wires = (parked, end) => {
    const flipping = (wire: Wire): Wire => ({
      async put(bytes): Promise<void> {
        if (sink.isFinished) bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
        await wire.put(bytes);
      },
      end: () => wire.end(),
    });
    const wireTo = (to: typeof end): Wire => to.who === "receiver" ? flipping(to.wire) : to.wire;
    return { toParked: wireTo(parked), toEnd: wireTo(end) };
  };
  const sender = world.sender(), receiver = world.receiver();
  await world.ended();
  assert.deepEqual([sender.outcome, receiver.outcome], ["done", "done"], receiver.message);
  assert.deepEqual(story(receiver).slice(-2), ["interrupted 1 tampered", "done 1"]);
  assertArrived(sink, world.tree);
  world.assertNothingLeft();
});

Deno.test("runReceive() looks for the relay for all of the grace time to say that it has everything", async () => {
  const world = new World(13, MANY);
  const { sink } = world;
  sink.before = (act): void => {
    if (act !== "finish" || world.relay.policy.dialled !== undefined) return;
    // While the last file is being put into its place, the network goes; a minute later it is back.
    world.relay.policy.dialled = () => Promise.reject(refused());
    world.relay.cut();
    world.clock.later(60_000, () => world.relay.policy.dialled = () => {});
  };
  const sender = world.sender(), receiver = world.receiver();
  await world.ended();
  assert.deepEqual([sender.outcome, receiver.outcome], ["done", "done"], sender.message);
  assert(receiver.endedMs >= 60_000 && receiver.endedMs < 70_000, `${receiver.endedMs} ms`);
  assertArrived(sink, world.tree);
  world.assertNothingLeft();
});

Deno.test("runReceive() that has everything does not dial again and again what will never be reached", async () => {
  const world = new World(19, MANY);
  const { sink } = world;
  let dials = 0;
  sink.before = (act): void => {
    if (act !== "finish") return;
    world.relay.policy.dialled = (who): void => {
      if (who !== "receiver") return;
      dials++;
      throw new TransportError("permission", "could not connect: that is not allowed any more");
    };
    world.relay.cut();
  };
  const sender = world.sender(), receiver = world.receiver();
  await world.ended();
  assert.deepEqual([sender.outcome, receiver.outcome, dials], ["lost", "done", 1]);
  world.assertNothingLeft();
});

Deno.test("a relay that cuts each session before anything moves holds nobody beyond the grace time, nor has many dials", async () => {
  const world = new World(6, MANY);
  const sender = world.sender(), receiver = world.receiver({ who: "receiver" });
  const CUT_AT_BYTES = 300;
  world.relay.policy.wires = (parked, end) => {
    let passed = 0;
    const counting = (wire: Wire): Wire => ({
      async put(bytes): Promise<void> {
        passed += bytes.length;
        if (passed > CUT_AT_BYTES) { for (const each of [parked, end]) each.connection.close(); }
        else await wire.put(bytes);
      },
      end: () => wire.end(),
    });
    return { toParked: counting(parked.wire), toEnd: counting(end.wire) };
  };
  await world.ended();
  assert.deepEqual([sender.outcome, receiver.outcome], ["lost", "lost"], sender.message);
  for (const { endedMs, who } of [sender, receiver]) {
    assert(endedMs >= GRACE_MS && endedMs <= GRACE_MS + 1_000, `${who} after ${endedMs} ms`);
    const dials = world.relay.traces.filter((each) => each.who === who).length;
    assert(dials > 10 && dials < 100, `${who} dialled ${dials} times`);
  }
  world.assertNothingLeft();
});

Deno.test("a relay that cuts each session after something has moved is put up with for longer than the grace time", async () => {
  const sizes = Array.from({ length: 20 }, () => 1_000);
  const world = new World(7, sizes);
  world.slowDown(300);
  const graceMs = 20_000;
  const sender = world.sender({ graceMs }), receiver = world.receiver({ graceMs });
  const cut = (): void => {
    world.relay.cut();
    if (receiver.outcome === "running") world.clock.later(12_000, cut);
  };
  cut();
  await world.ended();
  assert.deepEqual([sender.outcome, receiver.outcome], ["done", "done"], receiver.message);
  assert(receiver.endedMs > 2 * graceMs, `${receiver.endedMs} ms`);
  assertArrived(world.sink, world.tree);
  assert(story(receiver).filter((each) => each === "interrupted 1 lost").length > 3);
  assert.equal(world.sink.written.size, sizes.length);
  world.assertNothingLeft();
});

Deno.test("a person may think an offer over for longer than the grace time, through lost links", async () => {
  const world = new World(8);
  const consent = Promise.withResolvers<void>();
  world.sink.before = (act) => act === "accept" ? consent.promise : undefined;
  const graceMs = 20_000;
  const sender = world.sender({ graceMs }), receiver = world.receiver({ graceMs });
  for (let cuts = 0; cuts < 3; cuts++) {
    await world.clock.pass(60_000);
    world.relay.cut();
  }
  await world.clock.pass(60_000);
  assert.deepEqual([sender.outcome, receiver.outcome], ["running", "running"]);
  consent.resolve();
  await world.ended();
  assert.deepEqual([sender.outcome, receiver.outcome], ["done", "done"]);
  assert.equal(asked(world.sink, "accept"), 4);
  assertArrived(world.sink, world.tree);
  world.assertNothingLeft();
});

Deno.test("a refused offer ends both sides at once, by name, and is not redialled", async () => {
  const world = new World(9);
  world.sink.before = () => Promise.reject(new TransferError("refused", "no"));
  const sender = world.sender(), receiver = world.receiver();
  await world.ended();
  assert.deepEqual([sender.outcome, receiver.outcome], ["refused", "refused"]);
  assert.equal(world.relay.traces.length, 2);
  assert.deepEqual(
    story(sender),
    ["code", "paired 1", "offer"].filter((each) => story(sender).includes(each)),
  );
  world.assertNothingLeft();
});

Deno.test("a record that was changed ends both sides by name, and is not redialled", async () => {
  const world = new World(10, MANY);
  world.relay.policy.wires = (parked, end) => {
    let passed = 0;
    const flipping = (wire: Wire): Wire => ({
      async put(bytes): Promise<void> {
        if (passed < 4_000 && passed + bytes.length >= 4_000) bytes[0] = (bytes[0] ?? 0) ^ 1;
        passed += bytes.length;
        await wire.put(bytes);
      },
      end: () => wire.end(),
    });
    const wireTo = (to: typeof end): Wire => to.who === "receiver" ? flipping(to.wire) : to.wire;
    return { toParked: wireTo(parked), toEnd: wireTo(end) };
  };
  const sender = world.sender(), receiver = world.receiver();
  await world.ended();
  assert.equal(receiver.outcome, "tampered");
  assert.equal(world.sink.isFinished, false);
  assert(receiver.endedMs <= 1_000, "not before the sender is told");
  assert.equal(sender.outcome, "tampered", "the receiver has told it");
  assert.equal(world.relay.traces.length, 2);
  world.assertNothingLeft();
});

/** The first time that something is said beyond the hellos to the receiver, this happens to it. */
function meddleWithAnswer(world: World, meddle: (cut: () => void) => void): void {
  const HELLO_BYTES = 56;
  let isOver = false;
  world.relay.policy.wires = (parked, end) => {
    let passed = 0, isLost = false;
    const cut = (): void => [parked, end].forEach(({ connection }) => connection.close());
    const wireTo = (to: typeof end): Wire =>
      to.who !== "receiver" ? to.wire : {
        async put(bytes): Promise<void> {
          passed += bytes.length;
          if (passed > HELLO_BYTES && !isOver) {
            isOver = isLost = true;
            meddle(cut);
          }
          if (!isLost) await to.wire.put(bytes);
        },
        end: () => isLost ? Promise.resolve() : to.wire.end(),
      };
    return { toParked: wireTo(parked), toEnd: wireTo(end) };
  };
}

Deno.test("runReceive() whose guess was right and not answered goes on by the secret, and does not guess again", async () => {
  for (const isCut of [true, false]) {
    const world = new World(14);
    meddleWithAnswer(world, (cut) => isCut ? cut() : undefined);
    const sender = world.sender(), receiver = world.receiver();
    await world.ended();
    assert.deepEqual([sender.outcome, receiver.outcome], ["done", "done"], receiver.message);
    assertArrived(world.sink, world.tree);
    assert.deepEqual(world.kinds("receiver")[0], 1);
    assert(world.kinds("receiver").slice(1).every((type) => type === 2));
    const { lines } = receiver.book;
    assert.deepEqual(lines.map(({ act }) => act), ["spend", "proven"]);
    assert.equal(lines[0]?.secret, lines[1]?.secret);
    const told = story(receiver).filter((each) => each !== "waiting");
    assert.deepEqual(told.slice(0, 3), ["interrupted 1 lost", "paired 1", "offer"]);
    assert(receiver.endedMs < (isCut ? 3_000 : 35_000), `${receiver.endedMs} ms`);
    world.assertNothingLeft();
  }
});

Deno.test("runReceive() with a wrong code is told so at once, and looks for nobody", async () => {
  const world = new World(15);
  const sender = world.sender({ code: world.otherCode() }), receiver = world.receiver();
  await world.ended();
  assert.deepEqual([sender.outcome, receiver.outcome], ["mismatch", "mismatch"]);
  assert.deepEqual([sender.endedMs, receiver.endedMs], [0, 0]);
  assert.deepEqual(world.kinds("receiver"), [1]);
  world.assertNothingLeft();
});

Deno.test("runReceive() with a wrong code fails with mismatch a little later when nobody tells it, and guesses once", async () => {
  for (const isRelayGone of [true, false]) {
    const world = new World(16);
    meddleWithAnswer(world, (cut) => {
      cut();
      if (isRelayGone) world.relay.policy.dialled = () => Promise.reject(refused());
    });
    world.sender({ code: world.otherCode() });
    const receiver = world.receiver();
    await world.ended();
    assert.equal(receiver.outcome, "mismatch");
    assert.match(receiver.message, /^the code does not match/);
    assert(receiver.endedMs > 15_000 && receiver.endedMs < 25_000, `${receiver.endedMs} ms`);
    assert.equal(world.kinds("receiver").filter((type) => type === 1).length, 1);
    assert.deepEqual(receiver.book.lines.map(({ act }) => act), ["spend"]);
    world.assertNothingLeft();
  }
});

Deno.test("runReceive() leaves nothing behind when it is ended, or cannot write, after a guess that was not answered", async () => {
  const stopped = new World(17), reason = new Error("enough");
  meddleWithAnswer(stopped, (cut) => cut());
  stopped.sender({ code: stopped.otherCode() });
  const receiver = stopped.receiver();
  await stopped.until("it looks for its sender", () => story(receiver).length > 0);
  receiver.stop.abort(reason);
  await stopped.ended();
  assert.deepEqual(receiver.outcome, { unexpected: reason });
  stopped.assertNothingLeft();

  const full = new World(18), failure = new TransferError("storage", "cannot write");
  meddleWithAnswer(full, (cut) => cut());
  full.sender({ graceMs: 10_000 });
  const memory = { spend: () => Promise.resolve(), proven: () => Promise.reject(failure) };
  const writing = full.receiver({ memory });
  await full.ended();
  assert.deepEqual([writing.outcome, writing.message], ["storage", failure.message]);
  full.assertNothingLeft();
});

Deno.test("runReceive() closes the link when there is no place for what would come", async () => {
  const world = new World(11);
  const failure = new TransferError("storage", "cannot use the folder");
  const sender = world.sender();
  const receiver = world.receiver({
    sinkFor: () => Promise.reject(failure),
  });
  await world.ended();
  assert.deepEqual([receiver.outcome, receiver.message], ["storage", failure.message]);
  assert.equal(receiver.endedMs, 0);
  assert.equal(sender.outcome, "lost");
  world.assertNothingLeft();
});

import assert from "node:assert/strict";
import { call, contract, stream, upload } from "../../../src/protocol/rpc/contract.ts";
import { ApplicationError, ConnectionError, RpcError } from "../../../src/protocol/rpc/errors.ts";
import { implement } from "../../../src/protocol/rpc/implement.ts";
import { CountedSignal } from "./counted_signal.ts";
import { COUNT, ECHO, everything, SLOW, SUM, watched } from "./everything.ts";
import { settled } from "./fake_timers.ts";
import { Stage } from "./session_stage.ts";

const WHERE_TO_LOOK = 'the event "handler_failed" of the side that serves it says why';

function violation(reason: string): (error: unknown) => boolean {
  return (error) => error instanceof ConnectionError && error.reason === reason && error.by === "here";
}

Deno.test("a session answers a call, at once where the handler does", () => {
  const stage = new Stage({ serves: watched().served });
  stage.receive({ kind: "call", method: ECHO, id: 1, body: '{"a":1}' });
  assert.deepEqual(stage.sink.take(), [{ kind: "reply", id: 1, body: '{"a":1}' }]);
  assert.equal(stage.session.counts().handlers, 0);
});

Deno.test("a session tells the handler of a cancel, and answers when it has settled", async () => {
  const { served, signals, finish } = watched();
  const stage = new Stage({ serves: served });
  stage.receive({ kind: "call", method: SLOW, id: 1, body: "null" });
  stage.receive({ kind: "cancel", id: 1, value: 3 });
  assert.equal(signals[0]?.aborted, true);
  assert.equal((signals[0]?.reason as RpcError).code, "cancelled");
  await settled();
  assert.deepEqual(stage.sink.take(), []);
  assert.equal(stage.session.counts().handlers, 1);
  finish[0]?.(7);
  await settled();
  assert.deepEqual(stage.sink.take(), [{ kind: "reply", id: 1, body: "7" }]);
  assert.equal(stage.session.counts().handlers, 0);
});

Deno.test("a session tells the handler when its deadline passes, without a timer left behind", async () => {
  const { served, signals, finish } = watched();
  const stage = new Stage({ serves: served, limits: { keepAliveMs: Infinity } });
  stage.receive({ kind: "call", method: SLOW, id: 1, value: 100, body: "null" });
  stage.receive({ kind: "call", method: SLOW, id: 3, value: 50, body: "null" });
  await stage.timers.pass(99);
  assert.deepEqual(signals.map((signal) => signal.aborted), [false, true]);
  await stage.timers.pass(1);
  assert.deepEqual(signals.map((signal) => (signal.reason as RpcError | undefined)?.code), [
    "deadline_exceeded",
    "deadline_exceeded",
  ]);
  for (const act of finish) act(null);
  await settled();
  assert.equal(stage.timers.pending, 0);
  assert.equal(stage.session.counts().timers, 0);
});

Deno.test("a deadline passes on both sides, and the late reply is dropped", async () => {
  const stage = new Stage({ role: "dialler", calls: everything });
  const outcome = stage.session.client.slow(null, { deadlineMs: 100 }).catch((error) => error);
  assert.deepEqual(stage.sink.take(), [{ kind: "call", method: SLOW, id: 1, value: 100, body: "null" }]);
  await stage.timers.pass(100);
  const error: unknown = await outcome;
  assert(error instanceof RpcError && error.code === "deadline_exceeded");
  assert.deepEqual(stage.sink.take(), [{ kind: "cancel", id: 1, value: 4 }]);
  assert.equal(stage.session.counts().pending, 1);
  stage.receive({ kind: "reply", id: 1, body: "7" });
  assert.equal(stage.session.counts().pending, 0);
  stage.receive({ kind: "reply", id: 1, body: "8" });
  assert.deepEqual(stage.closings, []);
});

Deno.test("a call names the time that is left, the default where it says nothing, none where it says 0", async () => {
  const stage = new Stage({
    role: "dialler",
    calls: everything,
    told: { maxConcurrentCalls: 3 },
    limits: { defaultDeadlineMs: 5000 },
  });
  const { slow, count } = stage.session.client;
  const outcomes = [slow(0), slow(0, { deadlineMs: 0 }), slow(0, { deadlineMs: 0.2 })];
  void outcomes.map((outcome) => outcome.catch(() => {}));
  assert.deepEqual(stage.sink.take().map(({ value }) => value), [5000, undefined, 1]);
  const waiting = slow(0, { deadlineMs: 1000 });
  waiting.catch(() => {});
  await stage.timers.pass(300);
  stage.receive({ kind: "reply", id: 3, body: "null" });
  assert.deepEqual(stage.sink.take().filter(({ kind }) => kind === "call").map(({ value }) => value), [700]);
  stage.receive({ kind: "reply", id: 1, body: "null" });
  count(3);
  assert.deepEqual(stage.sink.take().map(({ value }) => value), [undefined]);
  stage.session.end(new ConnectionError("normal", "here", "the test is over"));
});

for (const deadlineMs of [NaN, -1, "5" as unknown as number]) {
  Deno.test(`a call with the deadline ${JSON.stringify(deadlineMs)} is refused as a TypeError`, async () => {
    const stage = new Stage({ role: "dialler", calls: everything });
    await assert.rejects(stage.session.client.echo(1, { deadlineMs }), TypeError);
    assert.deepEqual(stage.sink.take(), []);
    assert.deepEqual(stage.session.counts().timers, 0);
  });
}

Deno.test("a call that was given up holds its place until the other side has ended it", async () => {
  const stage = new Stage({ role: "dialler", calls: everything, told: { maxConcurrentCalls: 1 } });
  const controller = new AbortController();
  const first = stage.session.client.slow(1, { signal: controller.signal }).catch((error) => error);
  const second = stage.session.client.echo(2);
  assert.equal(stage.session.counts().waiting, 1);
  controller.abort("enough");
  const error: unknown = await first;
  assert(error instanceof RpcError && error.code === "cancelled" && error.cause === "enough");
  assert.deepEqual(stage.sink.take().map(({ kind }) => kind), ["call", "cancel"]);
  stage.receive({ kind: "error", id: 1, value: 3, body: "cancelled" });
  assert.deepEqual(stage.sink.take().map(({ kind, id }) => [kind, id]), [["call", 3]]);
  stage.receive({ kind: "reply", id: 3, body: "2" });
  assert.equal(await second, 2);
});

Deno.test("waiting calls are sent in order, and any of them can be given up before", async () => {
  const stage = new Stage({ role: "dialler", calls: everything, told: { maxConcurrentCalls: 1 } });
  const controller = new AbortController();
  const { echo } = stage.session.client;
  const outcomes = [echo("a"), echo("b", { signal: controller.signal }), echo("c"), echo("d")];
  const cancelled = outcomes[1]?.catch((error: RpcError) => error.code);
  controller.abort();
  for (const id of [1, 3, 5]) stage.receive({ kind: "reply", id, body: String(id) });
  assert.deepEqual(stage.sink.take().map(({ kind, body }) => [kind, body]), [
    ["call", '"a"'],
    ["call", '"c"'],
    ["call", '"d"'],
  ]);
  assert.equal(await cancelled, "cancelled");
  assert.deepEqual(await Promise.all([outcomes[0], outcomes[2], outcomes[3]]), [1, 3, 5]);
});

Deno.test("a call that finds too many waiting fails as exhausted", async () => {
  const stage = new Stage({
    role: "dialler",
    calls: everything,
    told: { maxConcurrentCalls: 1 },
    limits: { maxWaitingCalls: 1 },
  });
  const { echo } = stage.session.client;
  const settledLater = [echo(1), echo(2)].map((outcome) => outcome.catch((error: RpcError) => error.code));
  await assert.rejects(echo(3), { code: "exhausted" });
  stage.session.end(new ConnectionError("lost", "there", "gone"));
  assert.deepEqual(await Promise.all(settledLater), ["disconnected", "unavailable"]);
});

Deno.test("calls wait while the outbox has no room", async () => {
  const stage = new Stage({ role: "dialler", calls: everything });
  stage.sink.hasRoom = false;
  const outcome = stage.session.client.echo(1);
  assert.deepEqual(stage.sink.take(), []);
  stage.sink.makeRoom();
  assert.deepEqual(stage.sink.take().map(({ kind }) => kind), ["call"]);
  stage.receive({ kind: "reply", id: 1, body: "1" });
  assert.equal(await outcome, 1);
});

Deno.test("answers that find no room wait, and count as open, so that who reads nothing is stopped", () => {
  const stage = new Stage({ serves: watched().served, limits: { maxConcurrentCalls: 3 } });
  stage.sink.hasRoom = false;
  for (const id of [1, 3, 5]) stage.receive({ kind: "call", method: ECHO, id, body: String(id) });
  assert.deepEqual(stage.sink.take(), []);
  assert.throws(
    () => stage.receive({ kind: "call", method: ECHO, id: 7, body: "7" }),
    violation("limit_exceeded"),
  );
  stage.sink.makeRoom();
  assert.deepEqual(stage.sink.take().map(({ id }) => id), [1, 3, 5]);
  assert.equal(stage.session.counts().handlers, 0);
});

Deno.test("handlers' errors arrive typed: their own as they are, others without a word of what they were", () => {
  const failing = contract({ fail: call<string, null>() });
  const secret = new Error("/etc/secret");
  const errors: Record<string, unknown> = {
    mine: new ApplicationError("no_stock", "sold out"),
    rpc: new RpcError("invalid_argument", "not like that"),
    other: secret,
    elsewhere: new RpcError("disconnected", "some other connection"),
  };
  const stage = new Stage({
    serves: implement(failing, {
      fail: (which) => {
        throw errors[which];
      },
    }),
  });
  let id = 1;
  for (const which of Object.keys(errors)) {
    stage.receive({ kind: "call", id, body: JSON.stringify(which) });
    id += 2;
  }
  assert.deepEqual(stage.sink.take(), [
    { kind: "error", id: 1, value: 1, body: "no_stock\nsold out" },
    { kind: "error", id: 3, value: 6, body: "not like that" },
    { kind: "error", id: 5, value: 2, body: `"fail" failed; ${WHERE_TO_LOOK}` },
    { kind: "error", id: 7, value: 2, body: "some other connection" },
  ]);
  assert.deepEqual(stage.handlerFailures, [secret]);
});

Deno.test("frames of calls that ended are dropped", async () => {
  const stage = new Stage({ serves: watched().served });
  stage.receive({ kind: "call", method: SUM, id: 1, body: "null" });
  stage.receive({ kind: "end", id: 1 });
  await settled();
  assert.deepEqual(stage.sink.take(), [{ kind: "reply", id: 1, body: "0" }]);
  for (const kind of ["item", "end", "stop"] as const) assert.equal(stage.receive({ kind, id: 1 }), null);
  for (const kind of ["cancel", "error"] as const) {
    assert.equal(stage.receive({ kind, id: 1, value: 3 }), null);
  }
  assert.equal(stage.receive({ kind: "credit", id: 1, value: 100 }), null);
});

Deno.test("an item without credit closes as limit_exceeded, however the reader reads", async () => {
  const held = contract({ hold: upload<null, string, null>() });
  const stage = new Stage({
    serves: implement(held, { hold: () => new Promise(() => {}) }),
    limits: { streamWindowBytes: 100 },
  });
  stage.receive({ kind: "call", id: 1, body: "null" });
  const body = JSON.stringify("x".repeat(40));
  stage.receive({ kind: "item", id: 1, body });
  stage.receive({ kind: "item", id: 1, body });
  await settled();
  assert.throws(() => stage.receive({ kind: "item", id: 1, body }), violation("limit_exceeded"));
});

Deno.test("items are sent as far as credit goes, and no item is asked for without", async () => {
  let made = 0;
  const endless = contract({ all: stream<null, string>() });
  const stage = new Stage({
    serves: implement(endless, {
      *all(): Generator<string> {
        for (;;) {
          made++;
          yield "x".repeat(30);
        }
      },
    }),
    told: { streamWindowBytes: 100 },
  });
  stage.receive({ kind: "call", id: 1, body: "null" });
  await settled();
  // 32 bytes and 16 of the header each: the third goes beyond the window, as it may.
  assert.equal(stage.sink.take().length, 3);
  assert.equal(made, 3);
  stage.receive({ kind: "credit", id: 1, value: 44 });
  await settled();
  assert.equal(made, 3);
  stage.receive({ kind: "credit", id: 1, value: 48 });
  await settled();
  assert.equal(made, 4);
  stage.receive({ kind: "stop", id: 1 });
  await settled();
  assert.deepEqual(stage.sink.take().at(-1), { kind: "end", id: 1 });
  assert.equal(stage.session.counts().streams, 0);
});

Deno.test("a handler's stream that is cut by its deadline does not look complete", async () => {
  const endless = contract({ all: stream<null, number>() });
  const stage = new Stage({
    serves: implement(endless, {
      async *all(_input, { signal }): AsyncGenerator<number> {
        yield 1;
        await new Promise((resolve) => signal.addEventListener("abort", resolve));
      },
    }),
  });
  stage.receive({ kind: "call", id: 1, value: 10, body: "null" });
  await stage.timers.pass(10);
  assert.deepEqual(stage.sink.take().map(({ kind, value }) => [kind, value]), [["item", undefined], [
    "error",
    4,
  ]]);
});

Deno.test("a call lets go of its signal when it is answered", async () => {
  const stage = new Stage({ role: "dialler", calls: everything });
  const counted = new CountedSignal();
  const outcome = stage.session.client.echo(1, { signal: counted.signal });
  assert.equal(counted.listeners, 1);
  stage.receive({ kind: "reply", id: 1, body: "1" });
  assert.equal(await outcome, 1);
  assert.equal(counted.listeners, 0);
});

Deno.test("an id that is still open after all others were used is refused", () => {
  const stage = new Stage({ serves: watched().served });
  stage.receive({ kind: "call", method: SLOW, id: 1, body: "1" });
  for (const turn of [1, 2, 3]) {
    stage.receive({ kind: "call", method: ECHO, id: (1 + turn * 2 ** 30) >>> 0, body: "1" });
  }
  assert.throws(
    () => stage.receive({ kind: "call", method: ECHO, id: 1, body: "1" }),
    violation("malformed"),
  );
});

Deno.test("items that a handler reads after its call is over end", async () => {
  const odd = contract({ odd: upload<null, number, null>() });
  const kept: AsyncIterator<number>[] = [];
  const stage = new Stage({
    serves: implement(odd, {
      odd: (_input, items) => {
        kept.push(items);
        return null;
      },
    }),
  });
  stage.receive({ kind: "call", id: 1, body: "null" });
  assert.deepEqual(await kept[0]?.next(), { done: true, value: undefined });
});

Deno.test("items wait while the outbox has no room", async () => {
  const stage = new Stage({ serves: watched().served });
  stage.sink.hasRoom = false;
  stage.receive({ kind: "call", method: COUNT, id: 1, body: "2" });
  await settled();
  assert.deepEqual(stage.sink.take(), []);
  stage.sink.makeRoom();
  await settled();
  assert.deepEqual(stage.sink.take().map(({ kind }) => kind), ["item", "item", "end"]);
});

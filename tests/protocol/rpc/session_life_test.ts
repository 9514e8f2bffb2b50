/** Signs of life, and how a session ends. */
import assert from "node:assert/strict";
import { ConnectionError, type RpcError } from "../../../src/protocol/rpc/errors.ts";
import { ECHO, everything, SLOW, watched } from "./everything.ts";
import { settled } from "./fake_timers.ts";
import { Stage } from "./session_stage.ts";

Deno.test("silence is asked about, and closes if nothing comes", async () => {
  const stage = new Stage({ limits: { keepAliveMs: 100, keepAliveTimeoutMs: 50 } });
  await stage.timers.pass(60);
  stage.session.heard();
  await stage.timers.pass(99);
  assert.deepEqual(stage.sink.take(), []);
  await stage.timers.pass(1);
  assert.deepEqual(stage.sink.take(), [{ kind: "ping", value: 1 }]);
  await stage.timers.pass(40);
  stage.session.heard();
  stage.receive({ kind: "pong", value: 1 });
  await stage.timers.pass(100);
  assert.deepEqual(stage.sink.take(), [{ kind: "ping", value: 2 }]);
  await stage.timers.pass(49);
  assert.deepEqual(stage.closings, []);
  await stage.timers.pass(1);
  assert.deepEqual(stage.closings.map(({ reason }) => reason), ["silent"]);
  stage.session.end(new ConnectionError("silent", "here", "silent"));
  assert.equal(stage.timers.pending, 0);
});

Deno.test("ping() measures, one pong answers those before it, and gives up in time", async () => {
  const stage = new Stage({ limits: { keepAliveMs: Infinity } });
  const pings = [stage.session.ping(), stage.session.ping()];
  await stage.timers.pass(20);
  stage.receive({ kind: "pong", value: 2 });
  assert.deepEqual(await Promise.all(pings), [20, 20]);
  const late = stage.session.ping(100).catch((error: RpcError) => error.code);
  await stage.timers.pass(100);
  assert.equal(await late, "deadline_exceeded");
  stage.receive({ kind: "pong", value: 3 });
  const cut = stage.session.ping(100).catch((error: RpcError) => error.code);
  stage.session.end(new ConnectionError("lost", "there", "gone"));
  assert.equal(await cut, "disconnected");
  assert.equal(stage.timers.pending, 0);
});

Deno.test("drain finishes what runs, refuses what comes and closes", async () => {
  const { served, finish } = watched();
  const stage = new Stage({ serves: served, calls: everything });
  stage.receive({ kind: "call", method: SLOW, id: 1, body: "1" });
  const ours = stage.session.client.echo("x");
  stage.sink.take();
  stage.session.drain();
  assert.equal(stage.session.isAccepting, false);
  await assert.rejects(stage.session.client.echo("y"), { code: "unavailable" });
  assert.deepEqual(stage.sink.take(), [{ kind: "drain" }, { kind: "ping", value: 1 }]);
  // It was sent before the other side knew, and so is served.
  stage.receive({ kind: "call", method: ECHO, id: 3, body: "3" });
  stage.receive({ kind: "pong", value: 1 });
  await settled();
  stage.receive({ kind: "call", method: ECHO, id: 5, body: "5" });
  assert.deepEqual(stage.sink.take().map(({ kind, id, value }) => [kind, id, value]), [
    ["reply", 3, undefined],
    ["error", 5, 8],
  ]);
  stage.receive({ kind: "reply", id: 2, body: '"x"' });
  assert.equal(await ours, "x");
  assert.deepEqual(stage.closings, []);
  finish[0]?.("late");
  await settled();
  assert.deepEqual(stage.sink.take(), [{ kind: "reply", id: 1, body: '"late"' }]);
  assert.deepEqual(stage.closings.map(({ reason }) => reason), ["normal"]);
});

Deno.test("drain closes when the time for it is over", async () => {
  const stage = new Stage({
    serves: watched().served,
    limits: { drainTimeoutMs: 1000, keepAliveMs: Infinity },
  });
  stage.receive({ kind: "call", method: SLOW, id: 1, body: "1" });
  stage.session.drain();
  await stage.timers.pass(999);
  assert.deepEqual(stage.closings, []);
  await stage.timers.pass(1);
  assert.deepEqual(stage.closings.map(({ reason }) => reason), ["drain_timeout"]);
  stage.session.end(new ConnectionError("drain_timeout", "here", "over"));
  assert.equal(stage.timers.pending, 0);
});

Deno.test("the other side's drain lets open calls finish, and waiting ones fail as not begun", async () => {
  const stage = new Stage({ role: "dialler", calls: everything, told: { maxConcurrentCalls: 1 } });
  const { echo } = stage.session.client;
  const open = echo(1), waiting = echo(2).catch((error: RpcError) => error.code);
  stage.receive({ kind: "drain" });
  assert.equal(stage.session.isAccepting, false);
  assert.equal(await waiting, "unavailable");
  await assert.rejects(echo(3), { code: "unavailable" });
  stage.receive({ kind: "reply", id: 1, body: "1" });
  assert.equal(await open, 1);
  const close = stage.receive({ kind: "close", body: "bye" });
  assert.deepEqual([close?.reason, close?.by, close?.message], ["normal", "there", "bye"]);
});

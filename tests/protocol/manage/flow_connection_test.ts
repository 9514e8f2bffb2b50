import assert from "node:assert/strict";
import { FlowConnection } from "../../../src/protocol/manage/flow_connection.ts";
import { ResetError } from "../../../src/protocol/manage/reset_code.ts";
import { transportConformance } from "../../../src/protocol/transport/conformance.ts";
import { type Connection, TransportError } from "../../../src/protocol/transport/transport.ts";
import { FakeTimers, settled } from "../rpc/fake_timers.ts";
import { endPair, type LinkPair, linkPair, openFlow } from "./link_pair.ts";

/** All cases share one link, so that its numbers are used again and again. No time passes on it. */
const shared = linkPair(new FakeTimers());
let opened = 0;
/** Flows of both halves. */
const CASES = transportConformance(() => openFlow(shared, ++opened % 2 === 0 ? "dialler" : "server"), {
  connections: 100,
  stallMs: 50,
  largeWriteBytes: 16 * 1024 * 1024,
});
for (const { name, run } of CASES) Deno.test(`a flow as a connection ${name}`, run);

Deno.test("a link on which all those flows were has none left", async () => {
  await settled();
  assert.deepEqual([shared.dialler.openFlows, shared.server.openFlows], [0, 0]);
  assert(opened > 127, "numbers were used again");
  await endPair(shared);
});

async function withPair(act: (pair: LinkPair) => Promise<void>): Promise<void> {
  const pair = linkPair(new FakeTimers());
  try {
    await act(pair);
  } finally {
    await endPair(pair);
  }
}

/** What a promise is rejected with, by its code and that of its cause. */
async function failureOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
  } catch (error) {
    assert(error instanceof TransportError, String(error));
    const { cause } = error;
    return cause instanceof ResetError ? `${error.code}: ${cause.code} by ${cause.by}` : error.code;
  }
  return "no failure";
}

async function readAll(connection: Connection): Promise<string> {
  const buffer = new Uint8Array(7);
  let all = "";
  for (let count = await connection.read(buffer); count !== null; count = await connection.read(buffer)) {
    all += buffer.subarray(0, count).toHex();
  }
  return all;
}

Deno.test("FlowConnection.reset() reaches whoever reads and writes at both ends, with code and text", () =>
  withPair(async (pair) => {
    const [near, far] = await openFlow(pair, "dialler", { opener: 10, taker: 10 });
    const [other, otherFar] = await openFlow(pair, "server", { opener: 10, taker: 10 });
    const waits = [
      failureOf(near.read(new Uint8Array(1))),
      failureOf(far.read(new Uint8Array(1))),
      failureOf(other.write(new Uint8Array(100))),
      failureOf(otherFar.write(new Uint8Array(100))),
    ];
    await settled();
    near.reset("revoked", "web1 was revoked");
    other.reset("expired", "");
    assert.deepEqual(await Promise.all(waits), [
      "lost: revoked by here",
      "lost: revoked by there",
      "lost: expired by here",
      "lost: expired by there",
    ]);
    for (const [end, by] of [[near, "here"], [far, "there"]] as const) {
      assert.deepEqual([end.failure?.code, end.failure?.by, end.failure?.message], [
        "revoked",
        by,
        "web1 was revoked",
      ]);
      assert.equal(await end.closed, end.failure);
      assert.equal(await failureOf(end.read(new Uint8Array(1))), `lost: revoked by ${by}`);
      assert.equal(await failureOf(end.write(new Uint8Array(1))), `lost: revoked by ${by}`);
      assert.equal(await failureOf(end.closeWrite()), `lost: revoked by ${by}`);
    }
    await settled();
    assert.deepEqual([pair.dialler.openFlows, pair.server.openFlows], [0, 0]);
  }));

Deno.test("FlowConnection.reset() drops what arrived and was not read, but not what is complete", () =>
  withPair(async (pair) => {
    const [near, far] = await openFlow(pair);
    await near.write(new Uint8Array(10));
    await settled();
    near.reset("cancelled", "");
    await settled();
    assert.equal(await failureOf(far.read(new Uint8Array(1))), "lost: cancelled by there");
    const [whole, other] = await openFlow(pair);
    await whole.write(Uint8Array.of(1, 2));
    await whole.closeWrite();
    whole.reset("cancelled", "");
    await settled();
    assert.equal(await readAll(other), "0102");
    assert.equal(other.failure?.code, "cancelled");
  }));

Deno.test("FlowConnection.close() is a reset for the other end, and 'closed' here", () =>
  withPair(async (pair) => {
    const [near, far] = await openFlow(pair);
    near.close();
    await settled();
    assert.equal(await failureOf(near.read(new Uint8Array(1))), "closed");
    assert.equal(await failureOf(near.write(new Uint8Array(1))), "closed");
    assert.equal(await failureOf(far.read(new Uint8Array(1))), "lost: cancelled by there");
    assert.deepEqual([near.failure?.by, far.failure?.by], ["here", "there"]);
  }));

Deno.test("FlowConnection.closed is null when both ends have ended, also if asked late, and reset does nothing then", () =>
  withPair(async (pair) => {
    const [near, far] = await openFlow(pair);
    const early = near.closed;
    await near.write(Uint8Array.of(7));
    await Promise.all([near.closeWrite(), far.closeWrite()]);
    await settled();
    assert.deepEqual([await early, await near.closed, await far.closed], [null, null, null]);
    far.reset("internal", "too late");
    await settled();
    assert.deepEqual([near.failure, far.failure], [null, null]);
    assert.equal(await readAll(far), "07");
    assert.deepEqual([pair.dialler.openFlows, pair.server.openFlows], [0, 0]);
  }));

Deno.test("FlowConnection keeps what arrived when the link ends, then says why", async () => {
  const pair = linkPair(new FakeTimers());
  const [near, far] = await openFlow(pair);
  await near.write(Uint8Array.of(1, 2, 3));
  await settled();
  pair.dialler.close("shutting_down", "for an update");
  await Promise.all([pair.dialler.closed, pair.server.closed]);
  assert.equal(await far.read(new Uint8Array(9)), 3);
  assert.equal(await failureOf(far.read(new Uint8Array(9))), "lost: lost by there");
  assert.match(far.failure?.message ?? "", /for an update/);
  assert((far.failure?.cause as ResetError).code === "shutting_down");
  assert.equal(await failureOf(near.write(Uint8Array.of(1))), "lost: lost by here");
});

Deno.test("FlowConnection.bytes counts what arrived and what was given out", () =>
  withPair(async (pair) => {
    const [near, far] = await openFlow(pair);
    await near.write(new Uint8Array(300_000));
    await settled();
    assert.deepEqual([near.bytes, far.bytes], [{ received: 0, sent: 300_000 }, {
      received: 300_000,
      sent: 0,
    }]);
  }));

Deno.test("FlowConnection.read() is filled from all frames that come at once", () =>
  withPair(async (pair) => {
    const [near, far] = await openFlow(pair);
    const buffer = new Uint8Array(200_000);
    const reading = far.read(buffer);
    await near.write(new Uint8Array(150_000).fill(1));
    const first = await reading;
    assert(first !== null && first > 65_535 - 4096, `${first} bytes at once`);
  }));

Deno.test("FlowConnection.read() and write() refuse a second one while one waits", () =>
  withPair(async (pair) => {
    const [near, far] = await openFlow(pair, "dialler", { taker: 1 });
    const reading = near.read(new Uint8Array(1));
    await assert.rejects(near.read(new Uint8Array(1)), TypeError);
    const writing = near.write(new Uint8Array(10));
    await assert.rejects(near.write(new Uint8Array(10)), TypeError);
    await assert.rejects(near.closeWrite(), TypeError);
    far.close();
    assert.deepEqual(await Promise.all([failureOf(reading), failureOf(writing)]), [
      "lost: cancelled by there",
      "lost: cancelled by there",
    ]);
  }));

Deno.test("FlowConnection.read() tells its link how much was taken, and whether more waits", async () => {
  const consumed: (readonly [number, boolean])[] = [];
  const none = (): void => {};
  const port = {
    send: none,
    end: none,
    reset: none,
    consumed: (_flow: number, bytes: number, isDrained: boolean) => void consumed.push([bytes, isDrained]),
  };
  for (const isLent of [true, false]) {
    const flow = new FlowConnection(port, 1, { remoteAddress: null, localAddress: null });
    flow.deliver(Uint8Array.of(1, 2, 3), isLent);
    flow.deliver(Uint8Array.of(4), isLent);
    flow.settle();
    const buffer = new Uint8Array(2);
    assert.deepEqual([await flow.read(buffer), [...buffer]], [2, [1, 2]]);
    assert.deepEqual([await flow.read(buffer), [...buffer]], [2, [3, 4]]);
    assert.deepEqual(consumed.splice(0), [[2, false], [2, true]]);
  }
});

Deno.test("FlowConnection.read() takes a flood of frames of one byte each in one go, whoever's memory they lie in", async () => {
  const taken: number[] = [];
  const flow = new FlowConnection(
    {
      send: () => {},
      end: () => {},
      reset: () => {},
      consumed: (_flow, bytes) => void taken.push(bytes),
    },
    1,
    { remoteAddress: null, localAddress: null },
  );
  // With work that grows by the square of it, as many take minutes; a read of 256 KiB brings 43,000 at once.
  const frames = 300_000;
  const memory = Uint8Array.from({ length: frames }, (_, at) => at);
  for (let at = 0; at < frames; at++) flow.deliver(memory.subarray(at, at + 1), true);
  flow.settle();
  const first = new Uint8Array(frames / 2);
  assert.equal(await flow.read(first), frames / 2);
  assert.equal(flow.hasLent, true);
  flow.keepLent();
  assert.equal(flow.hasLent, false);
  const second = new Uint8Array(frames);
  assert.equal(await flow.read(second), frames / 2);
  assert.deepEqual([first.at(-1), second[0]], [memory[frames / 2 - 1], memory[frames / 2]]);
  assert.deepEqual(taken, [frames / 2, frames / 2]);
});

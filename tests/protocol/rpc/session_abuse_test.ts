/** What an authenticated but hostile other side, or a careless program on this one, must not be able to do. */
import assert from "node:assert/strict";
import { call, contract, stream } from "../../../src/protocol/rpc/contract.ts";
import { RpcError } from "../../../src/protocol/rpc/errors.ts";
import { implement } from "../../../src/protocol/rpc/implement.ts";
import { ReceivingStream } from "../../../src/protocol/rpc/receiving_stream.ts";
import { ECHO, SLOW, watched } from "./everything.ts";
import { settled } from "./fake_timers.ts";
import { Stage } from "./session_stage.ts";

const MIB = 1024 * 1024;

Deno.test("a call that stays open while the ids of others go all the way round is still known", () => {
  const { served, signals } = watched();
  const stage = new Stage({ serves: served });
  stage.receive({ kind: "call", method: SLOW, id: 1, body: "1" });
  for (const turn of [1, 2, 3]) {
    stage.receive({ kind: "call", method: ECHO, id: (1 + turn * 2 ** 30) >>> 0, body: "1" });
    assert.equal(stage.receive({ kind: "cancel", id: 1, value: 3 }), null);
  }
  assert.equal(signals[0]?.aborted, true);
});

Deno.test("credit that comes while the outbox has no room makes nobody wait twice", async () => {
  const endless = contract({ all: stream<null, string>() });
  const stage = new Stage({
    serves: implement(endless, {
      *all(): Generator<string> {
        for (;;) yield "item";
      },
    }),
    told: { streamWindowBytes: 100 },
  });
  stage.receive({ kind: "call", id: 1, body: "null" });
  await settled();
  stage.sink.hasRoom = false;
  for (let i = 0; i < 50; i++) {
    stage.receive({ kind: "credit", id: 1, value: 1 });
    await settled();
  }
  assert.equal(stage.sink.waiting, 1);
});

Deno.test("a stream whose reader is always one item behind keeps nothing of those it has given", async () => {
  const count = 2_000_000;
  const items = new ReceivingStream(1 << 30, { credit: () => {}, stopped: () => {}, check: null });
  const before = Deno.memoryUsage().heapUsed;
  items.push(0, 0);
  for (let i = 1; i < count; i++) {
    items.push(i, 0);
    const result = await items.next();
    if (result.value !== i - 1) assert.equal(result.value, i - 1);
  }
  const grown = Deno.memoryUsage().heapUsed - before;
  assert(grown < 8 * MIB, `${grown} bytes more after ${count} items`);
  items.close();
});

const oddThenables: readonly (readonly [string, () => unknown, string])[] = [
  ["throws when it is asked for then", () => ({
    get then(): unknown {
      throw new Error("secret");
    },
  }), "error"],
  ["throws in then", () => ({
    then(): void {
      throw new Error("secret");
    },
  }), "error"],
  ["settles twice", () => ({
    then(resolve: (value: unknown) => void, reject: (error: unknown) => void): void {
      resolve(1);
      resolve(2);
      reject(new Error("secret"));
    },
  }), "reply"],
];

for (const [what, output, kind] of oddThenables) {
  Deno.test(`a handler that gives a promise of its own making that ${what} is answered once`, async () => {
    const odd = contract({ odd: call<null, unknown>(), all: stream<null, unknown>() });
    const stage = new Stage({ serves: implement(odd, { odd: output, all: output as () => never }) });
    const all = 0, one = 1;
    stage.receive({ kind: "call", method: all, id: 1, body: "null" });
    stage.receive({ kind: "call", method: one, id: 3, body: "null" });
    await settled();
    const sent = stage.sink.take();
    // What it gives, where it gives anything, is no iterable.
    assert.deepEqual(sent.filter(({ id }) => id === 1).map((frame) => frame.kind), ["error"]);
    assert.deepEqual(sent.filter(({ id }) => id === 3).map((frame) => frame.kind), [kind]);
    assert(!JSON.stringify(sent).includes("secret"));
    assert.equal(stage.session.counts().handlers, 0);
  });
}

Deno.test("an RpcError with a code that is none reaches the caller as internal", async () => {
  const odd = contract({ odd: call<null, null>() });
  const thrown = Object.assign(new RpcError("cancelled", "no such file"), { code: "ENOENT" });
  const stage = new Stage({ serves: implement(odd, { odd: () => Promise.reject(thrown) }) });
  stage.receive({ kind: "call", id: 1, body: "null" });
  await settled();
  assert.deepEqual(stage.sink.take(), [{ kind: "error", id: 1, value: 2, body: "no such file" }]);
});

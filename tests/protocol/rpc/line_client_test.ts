import assert from "node:assert/strict";
import { type CallOptions, contract, stream, upload } from "../../../src/protocol/rpc/contract.ts";
import type { Line } from "../../../src/protocol/rpc/line.ts";
import { lineClient } from "../../../src/protocol/rpc/line_client.ts";
import { RpcError } from "../../../src/protocol/rpc/errors.ts";
import { FakeTimers, settled } from "./fake_timers.ts";

const WORK = contract({ send: upload<string, number, string>(), watch: stream<string, string>() });

/** A line whose connection comes when a test says so, and a peer that notes what it is asked. */
function scene(): {
  client: ReturnType<typeof lineClient<typeof WORK>>;
  timers: FakeTimers;
  connect: () => void;
  waits: number[];
  signals: (AbortSignal | undefined)[];
  asked: unknown[][];
} {
  const timers = new FakeTimers(), waits: number[] = [], asked: unknown[][] = [];
  const signals: (AbortSignal | undefined)[] = [];
  const { promise, resolve } = Promise.withResolvers<unknown>();
  const client = {
    send: (...values: unknown[]) => Promise.resolve(String(asked.push(values))),
    watch: (...values: unknown[]) => {
      asked.push(values);
      return ["item"].values();
    },
  };
  const line = {
    peer: null,
    wait: (waitMs: number, signal: AbortSignal | undefined) => {
      waits.push(waitMs);
      signals.push(signal);
      const { promise: left, reject } = Promise.withResolvers<never>();
      signal?.addEventListener("abort", () => reject(new RpcError("cancelled", "left")));
      return Promise.race([promise, left]);
    },
  } as unknown as Line<typeof WORK>;
  return {
    client: lineClient({ contract: WORK, line, timers, defaultDeadlineMs: 30_000 }),
    timers,
    connect: () => resolve({ client }),
    waits,
    signals,
    asked,
  };
}

Deno.test("what a call has waited for a connection is taken off its deadline", async () => {
  const { client, timers, connect, waits, asked } = scene();
  const items = [1, 2], options: CallOptions = { deadlineMs: 1_000 };
  const calls = [
    client.send("a", items, options),
    client.send("b", items),
    client.send("c", items, { deadlineMs: 0 }),
  ];
  await timers.pass(400);
  connect();
  await Promise.all(calls);
  assert.deepEqual(waits, [1_000, 30_000, Infinity]);
  assert.deepEqual(asked, [
    ["a", items, { deadlineMs: 600 }],
    ["b", items, {}],
    ["c", items, { deadlineMs: 0 }],
  ]);
});

Deno.test("a connection that comes after the deadline is too late", async () => {
  const { client, timers, connect, asked } = scene();
  const late = client.send("a", [], { deadlineMs: 100 });
  await timers.pass(100);
  connect();
  await assert.rejects(late, (error: unknown) => error instanceof RpcError && error.code === "unavailable");
  assert.deepEqual(asked, []);
});

Deno.test("a stream that is left before there is a connection is never begun", async () => {
  const { client, connect, asked } = scene();
  const left = client.watch("left"), read = client.watch("read");
  assert.deepEqual(await left.return?.(), { done: true, value: undefined });
  connect();
  assert.deepEqual(await read.next(), { done: false, value: "item" });
  await settled();
  assert.deepEqual(asked, [["read", {}]]);
  assert.deepEqual(await left.next(), { done: true, value: undefined });
});

Deno.test("a stream that is left waits for no connection any more, and who reads it finds its end", async () => {
  const { client, signals, asked } = scene();
  const { signal } = new AbortController();
  const left = client.watch("left", { deadlineMs: 0, signal });
  const read = left.next();
  await left.return?.();
  assert.deepEqual(await read, { done: true, value: undefined });
  assert.deepEqual(signals.map((each) => each?.aborted), [true]);
  assert.equal(signal.aborted, false);
  assert.deepEqual(asked, []);
});

for (const deadlineMs of [-1, NaN, "5"]) {
  Deno.test(`a deadline of ${JSON.stringify(deadlineMs)} is refused as a TypeError without a connection too`, async () => {
    const { client, waits } = scene();
    const options = { deadlineMs } as CallOptions;
    await assert.rejects(client.send("a", [], options), TypeError);
    await assert.rejects(client.watch("a", options).next(), TypeError);
    assert.deepEqual(waits, []);
  });
}

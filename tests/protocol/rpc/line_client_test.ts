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
  asked: unknown[][];
} {
  const timers = new FakeTimers(), waits: number[] = [], asked: unknown[][] = [];
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
    wait: (waitMs: number) => {
      waits.push(waitMs);
      return promise;
    },
  } as unknown as Line<typeof WORK>;
  return {
    client: lineClient({ contract: WORK, line, timers, defaultDeadlineMs: 30_000 }),
    timers,
    connect: () => resolve({ client }),
    waits,
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

import assert from "node:assert/strict";
import type { Connection } from "../../../src/protocol/transport/transport.ts";
import { BodyPool } from "../../../src/protocol/rpc/body_pool.ts";
import { FRAME_KINDS, HEADER_BYTES } from "../../../src/protocol/rpc/frame.ts";
import { FrameWriter } from "../../../src/protocol/rpc/frame_writer.ts";
import { holdBlock } from "../../../src/protocol/rpc/held_body.ts";
import { Outbox } from "../../../src/protocol/rpc/outbox.ts";
import { settled } from "./fake_timers.ts";

interface Pending {
  readonly bytes: number;
  readonly kinds: readonly (number | undefined)[];
  resolve(): void;
  reject(error: Error): void;
}

/** A connection that notes what is written; each write settles when the test says so. */
function slowConnection(writes: Pending[]): Connection {
  return {
    transport: "test",
    remoteAddress: null,
    localAddress: null,
    confidential: true,
    read: () => new Promise(() => {}),
    write: (bytes) =>
      new Promise((resolve, reject) => {
        const kinds: (number | undefined)[] = [];
        for (let at = 4; at < bytes.length; at += HEADER_BYTES) kinds.push(bytes[at]);
        writes.push({ bytes: bytes.length, kinds, resolve, reject });
      }),
    closeWrite: () => Promise.resolve(),
    close: () => {},
  };
}

function outboxOf(maxQueuedBytes: number): { outbox: Outbox; writes: Pending[]; failures: unknown[] } {
  const writes: Pending[] = [], failures: unknown[] = [];
  const writer = new FrameWriter({ maxBodyBytes: 1000 });
  const outbox = new Outbox(
    slowConnection(writes),
    writer,
    maxQueuedBytes,
    (error) => failures.push(error),
  );
  return { outbox, writes, failures };
}

function addEnd(outbox: Outbox): void {
  outbox.add(FRAME_KINDS.end, 0, 1, 0, null);
}

Deno.test("Outbox writes what is added in one turn, and meanwhile, as one each", async () => {
  const { outbox, writes } = outboxOf(1000);
  for (let i = 0; i < 5; i++) addEnd(outbox);
  await settled();
  for (let i = 0; i < 3; i++) addEnd(outbox);
  await settled();
  assert.deepEqual(writes.map(({ bytes }) => bytes), [5 * HEADER_BYTES]);
  assert.equal(outbox.queuedBytes, 8 * HEADER_BYTES);
  writes[0]?.resolve();
  await settled();
  assert.deepEqual(writes.map(({ bytes }) => bytes), [5 * HEADER_BYTES, 3 * HEADER_BYTES]);
  writes[1]?.resolve();
  await settled();
  assert.equal(outbox.queuedBytes, 0);
});

Deno.test("Outbox does not make a write of each item of an async generator", async () => {
  const { outbox, writes } = outboxOf(1_000_000);
  async function* items(): AsyncGenerator<number> {
    for (let i = 0; i < 100; i++) yield i;
  }
  for await (const _item of items()) addEnd(outbox);
  await settled();
  assert.deepEqual(writes.map(({ bytes }) => bytes), [100 * HEADER_BYTES]);
});

Deno.test("Outbox has no room above its limit, and calls those who wait in order when it has", async () => {
  const { outbox, writes } = outboxOf(2 * HEADER_BYTES);
  addEnd(outbox);
  assert.equal(outbox.hasRoom, true);
  addEnd(outbox);
  assert.equal(outbox.hasRoom, false);
  const called: string[] = [];
  outbox.whenRoom(() => called.push("first"));
  outbox.whenRoom(() => called.push("second"));
  outbox.afterWritten(() => called.push("written"));
  await settled();
  assert.deepEqual(called, []);
  writes[0]?.resolve();
  await settled();
  assert.deepEqual(called, ["written", "first", "second"]);
});

Deno.test("Outbox calls who waits for what it has added, not for what was added before", async () => {
  const { outbox, writes } = outboxOf(1000);
  addEnd(outbox);
  await settled();
  let isWritten = false;
  addEnd(outbox);
  outbox.afterWritten(() => (isWritten = true));
  writes[0]?.resolve();
  await settled();
  assert.deepEqual([writes.length, isWritten], [2, false]);
  writes[1]?.resolve();
  await settled();
  assert.equal(isWritten, true);
});

Deno.test("Outbox keeps one answer of many pings", async () => {
  const { outbox, writes } = outboxOf(1000);
  for (let value = 1; value <= 1000; value++) outbox.pong(value);
  await settled();
  assert.deepEqual(writes.map(({ kinds }) => kinds), [[FRAME_KINDS.pong]]);
});

Deno.test("Outbox.finish() takes nothing more, pongs included, and waits for what there is", async () => {
  const { outbox, writes } = outboxOf(1000);
  outbox.pong(1);
  addEnd(outbox);
  let isFinished = false;
  void outbox.finish().then(() => (isFinished = true));
  addEnd(outbox);
  outbox.pong(2);
  await settled();
  assert.deepEqual(writes.map(({ kinds }) => kinds), [[FRAME_KINDS.end]]);
  assert.equal(isFinished, false);
  writes[0]?.resolve();
  await settled();
  assert.equal(isFinished, true);
});

for (const [size, writes] of [[100, 1], [20_000, 1], [40_000, 2]] as const) {
  Deno.test(`Outbox lets go of ${size} bytes only where no failed write looks at them`, async () => {
    const pool = new BodyPool(), lookedAt: Uint8Array[] = [];
    const fail = Promise.withResolvers<void>();
    const connection: Connection = {
      ...slowConnection([]),
      write(bytes): Promise<void> {
        return lookedAt.push(bytes) < writes ? Promise.resolve() : fail.promise;
      },
    };
    const outbox = new Outbox(connection, new FrameWriter({ maxBodyBytes: size }), 1, () => {});
    const held = holdBlock(pool.take(size).fill(7), pool);
    outbox.add(FRAME_KINDS.reply, 0, 1, 0, held.body);
    outbox.afterWritten(() => held.release());
    await settled();
    fail.reject(new Error("gone"));
    await settled();
    outbox.stop();
    // Whoever gets memory next: another body, and another connection.
    pool.take(size).fill(9);
    const next = new FrameWriter({ maxBodyBytes: size });
    next.add(FRAME_KINDS.reply, 0, 1, 0, new Uint8Array(size).fill(9));
    next.take();
    assert.equal(lookedAt.length, writes);
    const last = lookedAt.at(-1);
    assert.deepEqual([last?.includes(7), last?.includes(9)], [true, false]);
  });
}

Deno.test("Outbox tells of a write that failed, once, and lets go everyone who waits", async () => {
  const { outbox, writes, failures } = outboxOf(HEADER_BYTES);
  addEnd(outbox);
  const called: string[] = [];
  outbox.whenRoom(() => called.push("room"));
  await settled();
  outbox.afterWritten(() => called.push("written"));
  writes[0]?.reject(new Error("gone"));
  await settled();
  assert.equal(failures.length, 1);
  assert.deepEqual(called.toSorted(), ["room", "written"]);
  addEnd(outbox);
  outbox.whenRoom(() => called.push("later"));
  await settled();
  assert.equal(called.length, 3);
  assert.equal(writes.length, 1);
});

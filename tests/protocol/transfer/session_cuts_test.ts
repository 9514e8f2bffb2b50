import assert from "node:assert/strict";
import fc from "fast-check";
import { systemTimers } from "../../../src/protocol/rpc/timers.ts";
import { TransferError } from "../../../src/protocol/transfer/errors.ts";
import { DEFAULT_LIMITS } from "../../../src/protocol/transfer/limits.ts";
import { CHUNK_BYTES } from "../../../src/protocol/transfer/offer.ts";
import { receiveSession } from "../../../src/protocol/transfer/receiving.ts";
import { sendSession } from "../../../src/protocol/transfer/sending.ts";
import { RecordOpener, RecordSealer } from "../../../src/protocol/record/record.ts";
import { messagePack } from "../../../src/protocol/rpc/messagepack_codec.ts";
import { TransferChannel } from "../../../src/protocol/transfer/channel.ts";
import { memoryPair } from "../../../src/protocol/transport/memory.ts";
import type { Connection } from "../../../src/protocol/transport/transport.ts";
import { channelsOver, cutPair } from "./cut_link.ts";
import { MemorySink } from "./memory_sink.ts";
import { MemorySource, someBytes, type Tree } from "./memory_source.ts";
import { assertSameTree, type Outcome, outcomeOf } from "./session_stage.ts";
import { ZSTD } from "./test_compression.ts";

/** What travelled in one session, and how it ended. */
interface Session {
  readonly sent: Outcome;
  readonly received: Outcome;
}

async function session(source: MemorySource, sink: MemorySink, cutAtBytes: number): Promise<Session> {
  const [there, here] = channelsOver(cutPair({ bytes: cutAtBytes }), systemTimers);
  const options = { compression: ZSTD, timers: systemTimers };
  const [sent, received] = await Promise.all([
    outcomeOf(sendSession(there, { ...options, source })),
    outcomeOf(receiveSession(here, { ...options, sink, limits: DEFAULT_LIMITS })),
  ]);
  return { sent, received };
}

const sizes = fc.oneof(
  fc.constantFrom(0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES),
  fc.integer({ min: 0, max: 3 * CHUNK_BYTES }),
  fc.integer({ min: 0, max: 500 }),
);
const contents = fc.oneof(
  { weight: 1, arbitrary: fc.constant(null) },
  { weight: 4, arbitrary: fc.record({ size: sizes, seed: fc.nat(), isText: fc.boolean() }) },
);
const trees = fc.array(contents, { minLength: 1, maxLength: 6 }).map((list): Tree =>
  new Map(list.map((content, at) => [
    `entry ${at}`,
    content === null
      ? null
      : content.isText
      ? new Uint8Array(content.size).fill(65)
      : someBytes(content.size, content.seed),
  ]))
);
const cuts = fc.array(
  fc.oneof(fc.integer({ min: 0, max: 2_000 }), fc.integer({ min: 0, max: 3 * CHUNK_BYTES })),
  { maxLength: 6 },
);

Deno.test("sessions over links that break at any byte end in identical trees, and nothing that was kept is sent again", async () => {
  const property = fc.asyncProperty(trees, cuts, async (tree, cuts) => {
    const source = new MemorySource(tree), sink = new MemorySink();
    let isReceived = false;
    for (const cutAtBytes of [...cuts, Infinity]) {
      if (isReceived) break;
      const { sent, received } = await session(source, sink, cutAtBytes);
      for (const outcome of [sent, received]) {
        assert.ok(outcome === "done" || outcome.code === "lost", `found ${outcome}`);
      }
      // A sender may know that it is done and a receiver not, never the other way round.
      assert.ok(received !== "done" || sent === "done");
      const acts = sink.acts.splice(0), hasWritten = acts.some((act) => act.startsWith("write"));
      assert.ok(received === "done" || !hasWritten || acts.at(-1) === "flush");
      isReceived = received === "done";
    }
    assert.ok(isReceived);
    assert.deepEqual(sink.complaints, []);
    assertSameTree(sink.tree, tree);
    for (const [chunk, times] of sink.written) assert.equal(times, 1, `chunk ${chunk} came ${times} times`);
  });
  await holdsAsync(property, { numRuns: 40 });
});

Deno.test("a session that follows a lost one moves what is missing and no more", async () => {
  const chunks = 12, tree: Tree = new Map([["a", someBytes(chunks * CHUNK_BYTES)]]);
  const source = new MemorySource(tree), sink = new MemorySink();
  const first = await session(source, sink, 7.5 * CHUNK_BYTES);
  assert.ok(first.received instanceof TransferError && first.received.code === "lost");
  const kept = sink.written.size;
  assert.equal(kept, 7);
  source.reads.length = 0;
  // Without the chunks that are there: room for the others and a little more.
  const second = await session(source, sink, (chunks - kept) * CHUNK_BYTES + 10_000);
  assert.equal(second.received, "done");
  assert.equal(source.reads.length, chunks - kept);
  assertSameTree(sink.tree, tree);
});

Deno.test("a receiver that lost the link behind done says it again, without a chunk moved", async () => {
  const tree: Tree = new Map([["a", someBytes(3 * CHUNK_BYTES)], ["b", null], ["c", someBytes(0)]]);
  const source = new MemorySource(tree), sink = new MemorySink();
  sink.before = (act): void => {
    if (act === "finish") throw new TransferError("lost", "as if the link broke just then");
  };
  const first = await session(source, sink, Infinity);
  assert.ok(first.received instanceof TransferError && first.received.code === "lost");
  sink.before = (): void => {};
  source.reads.length = 0;
  const second = await session(source, sink, 2_000);
  assert.deepEqual(second, { sent: "done", received: "done" });
  assert.deepEqual(source.reads, []);
  assertSameTree(sink.tree, tree);
});

Deno.test("sessions end as malformed when the other side stops with a text that is too long", async () => {
  for (const role of ["send", "receive"] as const) {
    const [one, other] = memoryPair(), key = new Uint8Array(32).fill(1), sealer = new RecordSealer(key);
    const keys = { sealer: new RecordSealer(new Uint8Array(32)), opener: new RecordOpener(key) };
    const channel = new TransferChannel(one, keys, {
      limits: DEFAULT_LIMITS,
      timers: systemTimers,
    });
    const options = { compression: ZSTD, timers: systemTimers };
    const outcome = outcomeOf(
      role === "send"
        ? sendSession(channel, { ...options, source: new MemorySource(new Map([["a", someBytes(1)]])) })
        : receiveSession(channel, { ...options, sink: new MemorySink(), limits: DEFAULT_LIMITS }),
    );
    const text = "x".repeat(60_000), stop = messagePack.encode({ type: "stop", reason: "storage", text });
    assert.ok(stop instanceof Uint8Array);
    await other.write(await sealer.seal(stop.slice()));
    const drained = drain(other), error = await outcome;
    assert.ok(error instanceof TransferError && error.code === "malformed" && error.side === "here");
    assert.ok(error.message.length < 200);
    await drained;
    other.close();
  }
});

async function drain(connection: Connection): Promise<void> {
  const buffer = new Uint8Array(65_536);
  while (await connection.read(buffer) !== null);
}

/** As `holds` of tests/property.ts, for what takes time. */
async function holdsAsync<T>(property: fc.IAsyncProperty<T>, parameters: fc.Parameters<T>): Promise<void> {
  const seed = Deno.env.get("POSTERN_SEED");
  await fc.assert(property, seed === undefined ? parameters : { ...parameters, seed: Number(seed) });
}

import assert from "node:assert/strict";
import { TransferError, type TransferErrorCode } from "../../../src/protocol/transfer/errors.ts";
import type { TransferMessage } from "../../../src/protocol/transfer/messages.ts";
import { CHUNK_BYTES } from "../../../src/protocol/transfer/offer.ts";
import { sendSession } from "../../../src/protocol/transfer/sending.ts";
import { TransportError } from "../../../src/protocol/transport/transport.ts";
import { RecordError } from "../../../src/protocol/record/record.ts";
import { MemoryChannel } from "./memory_channel.ts";
import { quiet, RelayClock } from "./memory_relay_clock.ts";
import { MemorySink, type SinkAct } from "./memory_sink.ts";
import { fileEntry, hashOf, MemorySource, someBytes, type Tree } from "./memory_source.ts";
import {
  ended,
  failed,
  type Outcome,
  outcomeOf,
  play,
  type Played,
  saidMessage,
  stopSaid,
  victimReceiver,
  victimSender,
} from "./session_stage.ts";
import { NO_COMPRESSION, ZSTD } from "./test_compression.ts";

const TREE: Tree = new Map([
  ["a", someBytes(6 * CHUNK_BYTES + 1)],
  ["b", someBytes(0)],
  ["c", new Uint8Array(3 * CHUNK_BYTES)],
]);
/** Nobody but the person here may see such a thing. */
const SECRET = "/home/me/secret";

function failure(code: TransferErrorCode): TransferError {
  return new TransferError(code, `cannot touch ${SECRET}`);
}

/** It failed here with that code, and the other side knows why, but not more than it should. */
function assertBothKnow(here: Outcome, there: Outcome, code: TransferErrorCode): void {
  assert.ok(here instanceof TransferError && there instanceof TransferError);
  assert.deepEqual([here.code, here.side], [code, "here"]);
  assert.deepEqual([there.code, there.side], [code, "there"]);
  assert.match(there.message, /^the other side ended the transfer: [a-z ]+$/);
  assert.ok(!there.message.includes("secret"));
}

async function playFailing(act: SinkAct, error: unknown, at = 1): Promise<Played> {
  const sink = new MemorySink();
  let times = 0;
  sink.before = (each): void => {
    if (each === act && ++times === at) throw error;
  };
  const played = await play(TREE, { sink, compression: ZSTD });
  assert.equal(sink.acts.at(-1), act === "accept" ? "accept" : "flush");
  return played;
}

for (
  const code of ["path", "collision", "exists", "limit", "space", "refused", "changed", "storage"] as const
) {
  Deno.test(`receiveSession() ends as ${code}, and so does its sender, when the sink does not accept the offer`, async () => {
    const { received, sent, sink } = await playFailing("accept", failure(code));
    assertBothKnow(received, sent, code);
    assert.deepEqual(sink.acts, ["accept"]);
  });
}

const FAILING_ACTS: readonly (readonly [SinkAct, number])[] = [
  ["write", 1],
  ["write", 5],
  ["chunkHashes", 1],
  ["finishFile", 1],
  ["finishFile", 3],
  ["finish", 1],
];
for (const [act, at] of FAILING_ACTS) {
  Deno.test(`receiveSession() ends as space, and so does its sender, when ${act} ${at} of the sink fails`, async () => {
    const { received, sent, sink } = await playFailing(act, failure("space"), at);
    assertBothKnow(received, sent, "space");
    assert.ok(act === "finish" || !sink.acts.includes("finish"));
    assert.ok(!sink.isFinished);
  });
}

Deno.test("receiveSession() does nothing behind a write that failed", async () => {
  const { sink } = await playFailing("write", failure("space"), 3);
  assert.deepEqual(sink.acts, ["accept", "write 0:0", "write 0:1", "write 0:2", "flush"]);
});

Deno.test("receiveSession() waits for the files that are being finished before it flushes and ends", async () => {
  const sink = new MemorySink(), timers = new RelayClock();
  sink.before = async (act, file): Promise<void> => {
    if (act !== "finishFile") return;
    await timers.pause(file === 1 ? 1_000 : 5_000);
    if (file === 1) throw failure("exists");
  };
  const { received, sent, receiveEvents } = await play(TREE, { sink, timers });
  assertBothKnow(received, sent, "exists");
  assert.deepEqual([...sink.finished], [0, 2]);
  assert.equal(sink.acts.at(-1), "flush");
  assert.deepEqual(receiveEvents.filter(({ event }) => event === "file_done"), [
    { event: "file_done", file: 0 },
    { event: "file_done", file: 2 },
  ]);
});

Deno.test("receiveSession() ends as storage when the sink throws what is no error of a transfer", async () => {
  const cause = new Error(`ENOSPC: ${SECRET}`);
  const { received, sent } = await playFailing("write", cause);
  assertBothKnow(received, sent, "storage");
  assert.ok(received instanceof TransferError && received.cause === cause);
  assert.ok(!received.message.includes(SECRET));
});

Deno.test("receiveSession() tells what ended it, not that flushing failed too", async () => {
  const sink = new MemorySink();
  sink.before = (act): void => {
    if (act === "write") throw failure("space");
    if (act === "flush") throw failure("storage");
  };
  const { received } = await play(TREE, { sink });
  assert.ok(received instanceof TransferError && received.code === "space");
});

Deno.test("receiveSession() ends as malformed when decompression fails, in whatever order the chunks are ready", async () => {
  const timers = new RelayClock();
  let calls = 0;
  const { received, sent, sink } = await play(TREE, {
    timers,
    compression: {
      compress: (chunk) => Promise.resolve(chunk.slice(0, 10)),
      async decompress(body, sizeBytes): Promise<Uint8Array<ArrayBuffer>> {
        await timers.pause(1_000 - 100 * calls++);
        return await ZSTD.decompress(body, sizeBytes);
      },
    },
  });
  assertBothKnow(received, sent, "malformed");
  assert.equal(sink.written.size, 0);
  assert.ok(calls > 1);
});

Deno.test("receiveSession() writes what has come whole when the link breaks", async () => {
  const sink = new MemorySink(), victim = victimReceiver({}, sink);
  const later = Promise.withResolvers<void>();
  sink.before = (act): Promise<void> => act === "write" ? later.promise : Promise.resolve();
  await victim.there.send({ type: "offer", kind: "files", entries: 1, totalBytes: 8 * CHUNK_BYTES });
  await victim.there.send({ type: "entries", entries: [fileEntry("a", 8 * CHUNK_BYTES)] });
  await saidMessage(victim, "want");
  for (let chunk = 0; chunk < 3; chunk++) {
    await victim.there.sendChunk({ type: "data", file: 0, chunk }, someBytes(CHUNK_BYTES));
  }
  await victim.timers.pass(0);
  victim.there.cut();
  await victim.timers.pass(0);
  assert.deepEqual(sink.acts, ["accept", "write 0:0"]);
  later.resolve();
  await failed(victim, "lost");
  assert.deepEqual(sink.acts, ["accept", "write 0:0", "write 0:1", "write 0:2", "flush"]);
});

Deno.test("receiveSession() does not wait for a person when the link breaks, nor mind the answer that comes then", async () => {
  const victim = victimReceiver(), answer = Promise.withResolvers<void>();
  victim.sink.before = (): Promise<void> => answer.promise;
  await victim.there.send({ type: "offer", kind: "files", entries: 1, totalBytes: 1 });
  await victim.there.send({ type: "entries", entries: [fileEntry("a", 1)] });
  await victim.timers.pass(0);
  victim.there.cut();
  await failed(victim, "lost");
  answer.reject(failure("refused"));
  await quiet();
  assert.deepEqual(victim.sink.acts, ["accept"]);
});

for (const code of ["changed", "storage"] as const) {
  for (const act of ["read", "verifyUnchanged"] as const) {
    Deno.test(`sendSession() ends as ${code}, and so does its receiver, when ${act} of the source fails`, async () => {
      const source = new MemorySource(TREE);
      source.before = (each, file): void => {
        if (each === act && file === 2) throw failure(code);
      };
      const { sent, received, sink } = await play(TREE, { source });
      assertBothKnow(sent, received, code);
      assert.equal(sink.acts.at(-1), "flush");
      assert.ok(!sink.finished.has(2));
    });
  }
}

Deno.test("sendSession() ends as storage when the source throws what is no error of a transfer", async () => {
  const source = new MemorySource(TREE);
  source.before = (): void => {
    throw new Error(SECRET);
  };
  const { sent, received } = await play(TREE, { source });
  assertBothKnow(sent, received, "storage");
});

Deno.test("sendSession() ends as changed when the source gives a chunk of another length", async () => {
  const source = new MemorySource(TREE);
  source.read = (): Promise<Uint8Array<ArrayBuffer>> => Promise.resolve(new Uint8Array(5));
  const { sent, received } = await play(TREE, { source });
  assertBothKnow(sent, received, "changed");
});

Deno.test("sendSession() ends as storage when compression fails, once nothing of it goes on", async () => {
  const timers = new RelayClock();
  let calls = 0, underWay = 0;
  const { sent, received } = await play(TREE, {
    timers,
    compression: {
      async compress(): Promise<never> {
        underWay++;
        await timers.pause(100 * ++calls);
        underWay--;
        throw new Error("the worker has died");
      },
      decompress: NO_COMPRESSION.decompress,
    },
  });
  assertBothKnow(sent, received, "storage");
  assert.ok(calls > 1);
  assert.equal(underWay, 0);
});

Deno.test("sendSession() ends as storage when compression fails before the hash is made", async () => {
  const { sent, received } = await play(TREE, {
    compression: { compress: () => Promise.reject(new Error("x")), decompress: NO_COMPRESSION.decompress },
  });
  assertBothKnow(sent, received, "storage");
});

Deno.test("receiveSession() says why it stops before it waits for a slow disk", async () => {
  const victim = victimReceiver();
  victim.sink.before = (act): Promise<void> =>
    act === "flush" ? victim.timers.pause(10_000) : Promise.resolve();
  await victim.there.send({ type: "offer", kind: "files", entries: 1, totalBytes: 1 });
  await victim.there.send({ type: "entries", entries: [fileEntry("a", 1)] });
  await saidMessage(victim, "want");
  await victim.there.send({ type: "done" });
  await victim.timers.pass(0);
  await saidMessage(victim, "stop");
  assert.equal(victim.timers.monotonicMs(), 0);
  await victim.there.end();
  await failed(victim, "malformed");
  assert.equal(victim.timers.monotonicMs(), 10_000);
});

Deno.test("receiveSession() flushes once the files are finished that were being finished when the link broke", async () => {
  const victim = victimReceiver();
  victim.sink.before = (act): Promise<void> => {
    return act === "finishFile" ? victim.timers.pause(10_000) : Promise.resolve();
  };
  await victim.there.send({ type: "offer", kind: "files", entries: 2, totalBytes: 1 });
  await victim.there.send({ type: "entries", entries: [fileEntry("a", 0), fileEntry("b", 1)] });
  await saidMessage(victim, "want");
  await victim.there.send({ type: "hash", file: 0, hash: await hashOf(new Uint8Array(0)) });
  await victim.timers.pass(0);
  victim.there.cut();
  await failed(victim, "lost");
  assert.deepEqual(victim.sink.acts, ["accept", "chunkHashes 0", "finishFile 0", "flush"]);
  assert.deepEqual(victim.sink.complaints, []);
});

Deno.test("receiveSession() hears a stop while it puts the last files into their places", async () => {
  const victim = victimReceiver();
  victim.sink.before = (act): Promise<void> =>
    act === "finish" ? victim.timers.pause(10_000) : Promise.resolve();
  await victim.there.send({ type: "offer", kind: "files", entries: 1, totalBytes: 0 });
  await victim.there.send({ type: "entries", entries: [fileEntry("a", 0)] });
  await saidMessage(victim, "want");
  await victim.there.send({ type: "hash", file: 0, hash: await hashOf(new Uint8Array(0)) });
  await victim.timers.pass(0);
  await victim.there.send({ type: "stop", reason: "storage", text: "" });
  await victim.timers.settle([victim.outcome], 20_000);
  assert.equal(victim.there.waiting, 0, "done was said");
  await failed(victim, "storage", "there");
});

Deno.test("sendSession() ends when the link breaks while the source hangs", async () => {
  const victim = victimSender(new MemorySource(TREE));
  victim.source.before = (): Promise<void> => new Promise(() => {});
  await saidMessage(victim, "offer");
  await saidMessage(victim, "entries");
  await victim.there.send({ type: "want", ranges: [{ file: 0, first: 0, count: 3 }], last: true });
  await victim.timers.pass(0);
  victim.there.cut();
  await failed(victim, "lost");
  assert.equal(victim.timers.monotonicMs(), 3_000);
});

Deno.test("sendSession() ends at once when it is aborted while the receiver reads nothing", async () => {
  const victim = victimSender(new MemorySource(new Map([["a", someBytes(40 * CHUNK_BYTES)]])));
  await saidMessage(victim, "offer");
  await saidMessage(victim, "entries");
  await victim.there.send({ type: "want", ranges: [{ file: 0, first: 0, count: 40 }], last: true });
  await victim.timers.pass(5_000);
  victim.abort.abort();
  await failed(victim, "cancelled");
  assert.equal(victim.timers.monotonicMs(), 5_000);
});

Deno.test("sendSession() hears why the link was lost before it says that it was", async () => {
  const timers = new RelayClock(), [here] = MemoryChannel.pair(timers);
  const stop: TransferMessage = { type: "stop", reason: "space", text: "no room" };
  here.send = (): Promise<void> => Promise.reject(new TransferError("lost", "broken pipe"));
  here.receive = async (): Promise<{ message: typeof stop }> => {
    await timers.pause(1_000);
    return { message: stop };
  };
  const outcome = outcomeOf(
    sendSession(here, { source: new MemorySource(TREE), compression: NO_COMPRESSION, timers }),
  );
  await timers.settle([outcome], 10_000);
  const error = await outcome;
  assert.ok(error instanceof TransferError && error.code === "space" && error.side === "there");
});

Deno.test("a session ends though the other side neither reads its stop nor closes", async () => {
  const victim = victimReceiver({ limits: { maxEntries: 1 } });
  await victim.there.send({ type: "offer", kind: "files", entries: 2, totalBytes: 2 });
  await victim.timers.pass(0);
  const beganMs = victim.timers.monotonicMs();
  await victim.timers.settle([victim.outcome], 10_000);
  assert.equal(victim.timers.monotonicMs() - beganMs, 3_000);
  assert.equal(victim.there.waiting, 2, "nothing may come behind stop and the end");
  assert.ok(await ended(victim) instanceof TransferError);
});

Deno.test("a session hears the other side out after its stop, so that the stop is not lost with the connection", async () => {
  const victim = victimReceiver({ limits: { maxEntries: 1 } });
  await victim.there.send({ type: "offer", kind: "files", entries: 2, totalBytes: 2 });
  for (let more = 0; more < 100; more++) await victim.there.send({ type: "heartbeat", receivedBytes: 0 });
  await victim.timers.pass(0);
  assert.equal(victim.there.isClosed, false);
  await saidMessage(victim, "stop");
  await victim.there.end();
  await failed(victim, "limit");
  assert.equal(victim.timers.monotonicMs(), 0);
});

Deno.test("a session gives its stop time to arrive when it cannot read any more what comes", async () => {
  const timers = new RelayClock(), [here, there] = MemoryChannel.pair(timers);
  here.receive = (): Promise<never> => Promise.reject(new TransferError("tampered", "x"));
  const outcome = outcomeOf(
    sendSession(here, { source: new MemorySource(TREE), compression: NO_COMPRESSION, timers }),
  );
  await timers.pass(999);
  assert.equal(there.isClosed, false);
  await timers.pass(1);
  assert.ok(there.isClosed);
  const error = await outcome;
  assert.ok(error instanceof TransferError && error.code === "tampered" && error.side === "here");
  const stop = await stopSaid({ there });
  assert.deepEqual(stop, { type: "stop", reason: "tampered", text: "something was changed on the way" });
  assert.equal(timers.pending, 0);
});

Deno.test("a session gives errors of other layers the names of a transfer", async () => {
  const errors: readonly (readonly [unknown, TransferErrorCode])[] = [
    [new TransportError("lost", "x"), "lost"],
    [new TransportError("closed", "x"), "lost"],
    [new TransportError("tampered", "x"), "tampered"],
    [new RecordError("truncated", "x"), "lost"],
    [new RecordError("authentication", "x"), "tampered"],
    [new RecordError("after_end", "x"), "tampered"],
    [new TransferError("tampered", "x"), "tampered"],
    ["a word", "storage"],
  ];
  for (const [error, code] of errors) {
    const timers = new RelayClock(), [here, there] = MemoryChannel.pair(timers);
    here.receive = (): Promise<never> => Promise.reject(error);
    const outcome = outcomeOf(
      sendSession(here, { source: new MemorySource(TREE), compression: NO_COMPRESSION, timers }),
    );
    await timers.settle([outcome], 10_000);
    const found = await outcome;
    assert.ok(found instanceof TransferError);
    assert.equal(found.code, code);
    assert.ok(there.isClosed);
    assert.equal(timers.pending, 0);
  }
});

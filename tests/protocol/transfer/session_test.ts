import assert from "node:assert/strict";
import { TransferError } from "../../../src/protocol/transfer/errors.ts";
import { DEFAULT_LIMITS } from "../../../src/protocol/transfer/limits.ts";
import { CHUNK_BYTES } from "../../../src/protocol/transfer/offer.ts";
import { receiveSession } from "../../../src/protocol/transfer/receiving.ts";
import { sendSession } from "../../../src/protocol/transfer/sending.ts";
import type { SessionEvent } from "../../../src/protocol/transfer/session.ts";
import { MemoryChannel } from "./memory_channel.ts";
import { RelayClock } from "./memory_relay_clock.ts";
import { MemorySink } from "./memory_sink.ts";
import { fileEntry, hashOf, MemorySource, someBytes, type Tree } from "./memory_source.ts";
import {
  assertSameTree,
  ended,
  failed,
  outcomeOf,
  play,
  said,
  saidMessage,
  type Victim,
  victimReceiver,
  victimSender,
} from "./session_stage.ts";
import { NO_COMPRESSION, ZSTD } from "./test_compression.ts";

const SHAPES: Readonly<Record<string, Tree>> = {
  "one empty file": new Map([["a", someBytes(0)]]),
  "one byte": new Map([["a", someBytes(1)]]),
  "one chunk less a byte": new Map([["a", someBytes(CHUNK_BYTES - 1)]]),
  "exactly one chunk": new Map([["a", someBytes(CHUNK_BYTES)]]),
  "one chunk and a byte": new Map([["a", someBytes(CHUNK_BYTES + 1)]]),
  "nine chunks": new Map([["a", someBytes(9 * CHUNK_BYTES)]]),
  "an empty folder": new Map([["a", null]]),
  "folders, and files that are empty among others": new Map([
    ["a", null],
    ["a/b", null],
    ["a/b/first", someBytes(0)],
    ["a/b/second", someBytes(3 * CHUNK_BYTES + 7)],
    ["a/c", null],
    ["a/c/third", someBytes(0)],
    ["a/fourth", someBytes(12)],
    ["z", null],
  ]),
  "1,000 small files": new Map(
    Array.from({ length: 1000 }, (_, at) => [`file ${at}`, someBytes(at % 300, at)]),
  ),
};

for (const [shape, tree] of Object.entries(SHAPES)) {
  Deno.test(`sendSession() and receiveSession() move ${shape}`, async () => {
    const { sent, received, sink, source } = await play(tree);
    assert.equal(sent, "done");
    assert.equal(received, "done");
    assertSameTree(sink.tree, tree);
    assert.ok(sink.isFinished);
    assert.equal(new Set(source.reads).size, source.reads.length, "a chunk was read twice");
  });
}

Deno.test("sendSession() and receiveSession() move what pays compressed, and the rest as it is", async () => {
  const text = new TextEncoder().encode("all work and no play ".repeat(100_000)).slice();
  const tree: Tree = new Map([["text", text], ["noise", someBytes(2 * CHUNK_BYTES + 5)]]);
  const compressed: number[] = [];
  const { received, sink } = await play(tree, {
    compression: {
      compress: ZSTD.compress,
      decompress(body, sizeBytes): Promise<Uint8Array<ArrayBuffer>> {
        compressed.push(sizeBytes);
        return ZSTD.decompress(body, sizeBytes);
      },
    },
  });
  assert.equal(received, "done");
  assertSameTree(sink.tree, tree);
  assert.deepEqual(compressed, [CHUNK_BYTES, CHUNK_BYTES, text.length - 2 * CHUNK_BYTES]);
});

Deno.test("sendSession() sends a chunk as it is when compression gives it back, in other memory too", async () => {
  const tree: Tree = new Map([["a", someBytes(1000)]]);
  const { received, sink } = await play(tree, {
    compression: {
      compress: (chunk) => Promise.resolve(new Uint8Array(chunk.buffer.transfer())),
      decompress: () => Promise.reject(new Error("nothing is compressed")),
    },
  });
  assert.equal(received, "done");
  assertSameTree(sink.tree, tree);
});

Deno.test("sendSession() and receiveSession() move a text", async () => {
  const text = new TextEncoder().encode("the quick brown fox").slice();
  const source = new MemorySource(new Map([["text", text]]), "text");
  const { received, sink, receiveEvents } = await play(new Map(), { source });
  assert.equal(received, "done");
  assert.deepEqual(sink.tree.get("text"), text);
  assert.deepEqual(receiveEvents[0], { event: "offer", offer: source.offer });
});

Deno.test("sendSession() and receiveSession() tell how far they are", async () => {
  const tree: Tree = new Map([["a", someBytes(CHUNK_BYTES + 1)], ["b", someBytes(5)]]);
  const { sendEvents, receiveEvents, source } = await play(tree);
  const offer: SessionEvent = { event: "offer", offer: source.offer };
  assert.deepEqual(receiveEvents, [
    offer,
    { event: "accepted", missingBytes: CHUNK_BYTES + 6 },
    { event: "progress", receivedBytes: CHUNK_BYTES, file: 0, fileBytes: CHUNK_BYTES },
    { event: "progress", receivedBytes: CHUNK_BYTES + 1, file: 0, fileBytes: CHUNK_BYTES + 1 },
    { event: "file_done", file: 0 },
    { event: "progress", receivedBytes: CHUNK_BYTES + 6, file: 1, fileBytes: 5 },
    { event: "file_done", file: 1 },
  ]);
  assert.deepEqual(sendEvents, [
    offer,
    { event: "accepted", missingBytes: CHUNK_BYTES + 6 },
    { event: "progress", receivedBytes: 0, file: 0, fileBytes: CHUNK_BYTES },
    { event: "progress", receivedBytes: 0, file: 0, fileBytes: CHUNK_BYTES + 1 },
    { event: "progress", receivedBytes: 0, file: 1, fileBytes: 5 },
    { event: "progress", receivedBytes: CHUNK_BYTES + 6, file: 1, fileBytes: 5 },
  ]);
});

Deno.test("receiveSession() counts what has come of a chunk in progress and heartbeats, and never less than before", async () => {
  const victim = victimReceiver();
  const tree: Tree = new Map([["a", someBytes(2 * CHUNK_BYTES)]]), source = new MemorySource(tree);
  const { entries, totalBytes } = source.offer;
  await victim.there.send({ type: "offer", kind: "files", entries: entries.length, totalBytes });
  await victim.there.send({ type: "entries", entries });
  await saidMessage(victim, "want");
  const beats = async (part: number): Promise<number | undefined> => {
    victim.channel.partOfNext = part;
    await victim.timers.pass(1_000);
    const heard = await victim.there.receive();
    return heard?.message.type === "heartbeat" ? heard.message.receivedBytes : undefined;
  };
  assert.equal(await beats(0), 0);
  assert.equal(await beats(0.25), CHUNK_BYTES / 4);
  assert.equal(await beats(0.75), CHUNK_BYTES * 3 / 4);
  // It is read, and waits to be opened: less is no news.
  assert.equal(await beats(0), CHUNK_BYTES * 3 / 4);
  await victim.there.sendChunk({ type: "data", file: 0, chunk: 0 }, await source.read(0, 0));
  await victim.timers.pass(100);
  assert.equal(await beats(0.5), CHUNK_BYTES * 3 / 2);
  assert.deepEqual(victim.sink.written.size, 1, "only whole chunks are anywhere but on the screen");
  assert.deepEqual(victim.events.slice(2), [
    { event: "progress", receivedBytes: CHUNK_BYTES / 4, file: 0, fileBytes: CHUNK_BYTES / 4 },
    { event: "progress", receivedBytes: CHUNK_BYTES * 3 / 4, file: 0, fileBytes: CHUNK_BYTES * 3 / 4 },
    { event: "progress", receivedBytes: CHUNK_BYTES, file: 0, fileBytes: CHUNK_BYTES },
    { event: "progress", receivedBytes: CHUNK_BYTES * 3 / 2, file: 0, fileBytes: CHUNK_BYTES * 3 / 2 },
  ]);
  victim.abort.abort(new Error("enough"));
  await failed(victim, "cancelled");
});

Deno.test("receiveSession() tells progress at most ten times a second", async () => {
  const sink = new MemorySink(), timers = new RelayClock();
  let nowMs = 0;
  sink.before = async (act): Promise<void> => {
    if (act !== "write") return;
    await timers.pause(30);
    nowMs += 30;
  };
  const tree: Tree = new Map([["a", someBytes(40 * CHUNK_BYTES)]]);
  const { received, receiveEvents } = await play(tree, { sink, timers });
  assert.equal(received, "done");
  const told = receiveEvents.filter(({ event }) => event === "progress").length;
  assert.ok(told >= 8 && told <= nowMs / 100 + 2, `told ${told} times in ${nowMs} ms`);
});

Deno.test("sendSession() tells what the receiver says that it has", async () => {
  const victim = victimSender(new MemorySource(new Map([["a", someBytes(3 * CHUNK_BYTES)]])));
  await saidMessage(victim, "offer");
  await saidMessage(victim, "entries");
  await victim.there.send({ type: "heartbeat", receivedBytes: 0 });
  await victim.there.send({ type: "want", ranges: [{ file: 0, first: 2, count: 1 }], last: true });
  await saidMessage(victim, "data");
  await victim.timers.pass(100);
  await victim.there.send({ type: "heartbeat", receivedBytes: 2 * CHUNK_BYTES + 1 });
  await saidMessage(victim, "hash");
  await victim.timers.pass(0);
  await victim.there.send({ type: "done" });
  await victim.there.end();
  assert.equal(await ended(victim), "done");
  assert.deepEqual(victim.events.slice(1), [
    { event: "accepted", missingBytes: CHUNK_BYTES },
    { event: "progress", receivedBytes: 2 * CHUNK_BYTES, file: 0, fileBytes: 3 * CHUNK_BYTES },
    { event: "progress", receivedBytes: 2 * CHUNK_BYTES, file: 0, fileBytes: 3 * CHUNK_BYTES },
    { event: "progress", receivedBytes: 2 * CHUNK_BYTES + 1, file: 0, fileBytes: 3 * CHUNK_BYTES },
    { event: "progress", receivedBytes: 3 * CHUNK_BYTES, file: 0, fileBytes: 3 * CHUNK_BYTES },
  ]);
});

Deno.test("receiveSession() lets a person think an offer over for an hour", async () => {
  const sink = new MemorySink(), timers = new RelayClock();
  sink.before = (act): Promise<void> => act === "accept" ? timers.pause(3_600_000) : Promise.resolve();
  const { sent, received } = await play(new Map([["a", someBytes(10)]]), { sink, timers });
  assert.equal(sent, "done");
  assert.equal(received, "done");
  assert.ok(timers.monotonicMs() >= 3_600_000);
});

Deno.test("receiveSession() finishes files together, but no more than 256 at once", async () => {
  const tree: Tree = new Map(Array.from({ length: 600 }, (_, at) => [`${at}`, someBytes(at % 3, at)]));
  const sink = new MemorySink(), timers = new RelayClock();
  sink.before = (act): Promise<void> => act === "finishFile" ? timers.pause(1_000) : Promise.resolve();
  const { received, receiveEvents } = await play(tree, { sink, timers });
  assert.equal(received, "done");
  assertSameTree(sink.tree, tree);
  assert.equal(sink.mostFinishing, 256);
  assert.equal(receiveEvents.filter(({ event }) => event === "file_done").length, 600);
  // Three groups, and another second for the other side's end.
  assert.ok(timers.monotonicMs() < 5_000, `it took ${timers.monotonicMs()} ms`);
});

Deno.test("receiveSession() waits for a disk that takes minutes for each act", async () => {
  const sink = new MemorySink(), timers = new RelayClock();
  sink.before = (): Promise<void> => timers.pause(120_000);
  const tree: Tree = new Map([["a", someBytes(10 * CHUNK_BYTES)]]);
  const { sent, received } = await play(tree, { sink, timers });
  assert.equal(sent, "done");
  assert.equal(received, "done");
  assertSameTree(sink.tree, tree);
});

Deno.test("sendSession() waits for a disk that takes minutes for each act", async () => {
  const tree: Tree = new Map([["a", someBytes(6 * CHUNK_BYTES)]]);
  const source = new MemorySource(tree), timers = new RelayClock();
  source.before = (): Promise<void> => timers.pause(120_000);
  const { sent, received } = await play(tree, { source, timers });
  assert.equal(sent, "done");
  assert.equal(received, "done");
});

Deno.test("sendSession() reads only what is wanted when the other hashes are known", async () => {
  const tree: Tree = new Map([["a", someBytes(8 * CHUNK_BYTES)], ["b", someBytes(2 * CHUNK_BYTES)]]);
  const source = new MemorySource(tree), sink = new MemorySink();
  let writes = 0;
  sink.before = (act): void => {
    if (act === "write" && ++writes === 6) throw new TransferError("space", "no room");
  };
  const first = await play(tree, { source, sink });
  assert.ok(first.received instanceof TransferError && first.received.code === "space");
  source.reads.length = 0;
  for (let chunk = 0; chunk < 5; chunk++) assert.ok(source.knownHash(0, chunk) !== null);
  sink.before = (): void => {};
  const second = await play(tree, { source, sink });
  assert.equal(second.received, "done");
  assert.deepEqual(source.reads, ["0:5", "0:6", "0:7", "1:0", "1:1"]);
  assertSameTree(sink.tree, tree);
});

Deno.test("sendSession() reads a chunk for its hash alone, behind the wanted ones, when nobody knows it", async () => {
  const tree: Tree = new Map([["a", someBytes(6 * CHUNK_BYTES)]]);
  const victim = victimSender(new MemorySource(tree));
  await saidMessage(victim, "offer");
  await saidMessage(victim, "entries");
  await victim.there.send({
    type: "want",
    ranges: [{ file: 0, first: 1, count: 1 }, { file: 0, first: 4, count: 1 }],
    last: true,
  });
  assert.equal((await saidMessage(victim, "data")).chunk, 1);
  assert.equal((await saidMessage(victim, "data")).chunk, 4);
  const { hash } = await saidMessage(victim, "hash");
  assert.deepEqual(hash, await hashOf(someBytes(6 * CHUNK_BYTES)));
  assert.deepEqual(victim.source.reads, ["0:1", "0:4", "0:0", "0:2", "0:3", "0:5"]);
  victim.abort.abort();
  await failed(victim, "cancelled");
});

Deno.test("sendSession() goes on compressing when only chunks that are not sent were waited for", async () => {
  const source = new MemorySource(
    new Map([["a", someBytes(9 * CHUNK_BYTES)], ["b", someBytes(4 * CHUNK_BYTES)]]),
  );
  const compressed: number[] = [];
  const compress = (chunk: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> => {
    compressed.push(chunk.length);
    return Promise.resolve(chunk);
  };
  const victim = victimSender(source, { compression: { ...NO_COMPRESSION, compress } });
  source.before = async (act, file, chunk): Promise<void> => {
    if (act === "read" && file === 0 && chunk > 0) await victim.timers.pause(100);
  };
  const ranges = [{ file: 0, first: 0, count: 1 }, { file: 1, first: 0, count: 4 }];
  await victim.there.send({ type: "want", ranges, last: true });
  const isSent = sentUntilHashOf(victim, 1);
  await victim.timers.settle([isSent], 10_000);
  await isSent;
  assert.equal(compressed.length, 5);
  victim.abort.abort();
  await failed(victim, "cancelled");
});

async function sentUntilHashOf(victim: Pick<Victim, "there">, file: number): Promise<void> {
  for (;;) {
    const message = (await said(victim))?.message;
    assert.ok(message !== undefined, "nothing more is said");
    if (message.type === "hash" && message.file === file) return;
  }
}

Deno.test("sendSession() looks whether a file was changed once its last chunk was read", async () => {
  const source = new MemorySource(new Map([["a", someBytes(3 * CHUNK_BYTES)], ["b", someBytes(1)]]));
  const acts: string[] = [];
  source.before = (act, file): void => void acts.push(`${act} ${file}`);
  const { sent } = await play(new Map(), { source });
  assert.equal(sent, "done");
  for (const file of [0, 1]) {
    const lookedAt = acts.indexOf(`verifyUnchanged ${file}`);
    assert.ok(lookedAt > acts.lastIndexOf(`read ${file}`));
    assert.equal(acts.lastIndexOf(`verifyUnchanged ${file}`), lookedAt);
  }
});

Deno.test("sendSession() serves two receivers from one source at once", async () => {
  const tree: Tree = new Map([["a", someBytes(5 * CHUNK_BYTES + 3)], ["b", someBytes(100)]]);
  const source = new MemorySource(tree);
  const both = await Promise.all([play(tree, { source }), play(tree, { source })]);
  for (const { sent, received, sink } of both) {
    assert.equal(sent, "done");
    assert.equal(received, "done");
    assertSameTree(sink.tree, tree);
  }
});

Deno.test("sendSession() goes on with one receiver when another one is lost", async () => {
  const tree: Tree = new Map([["a", someBytes(5 * CHUNK_BYTES + 3)]]);
  const source = new MemorySource(tree);
  const lost = victimSender(source);
  const playing = play(tree, { source });
  await saidMessage(lost, "offer");
  lost.there.close();
  assert.equal((await failed(lost, "lost")).side, "here");
  const { sent, received } = await playing;
  assert.equal(sent, "done");
  assert.equal(received, "done");
});

Deno.test("a session that is aborted just closes its channel, and asks the sink to keep what came", async () => {
  const receiver = victimReceiver();
  const chunk = someBytes(CHUNK_BYTES);
  await receiver.there.send({ type: "offer", kind: "files", entries: 1, totalBytes: 3 * CHUNK_BYTES });
  await receiver.there.send({ type: "entries", entries: [fileEntry("a", 3 * CHUNK_BYTES)] });
  await saidMessage(receiver, "want");
  await receiver.there.sendChunk({ type: "data", file: 0, chunk: 0 }, chunk);
  await receiver.timers.pass(0);
  receiver.abort.abort(new Error("Ctrl-C"));
  const error = await failed(receiver, "cancelled");
  assert.equal((error.cause as Error).message, "Ctrl-C");
  assert.deepEqual(receiver.sink.acts, ["accept", "write 0:0", "flush"]);
  assert.equal(receiver.there.waiting, 0);
});

Deno.test("a session that is aborted once all is done has ended well", async () => {
  const victim = victimSender(new MemorySource(new Map([["a", someBytes(0)]])));
  await saidMessage(victim, "offer");
  await saidMessage(victim, "entries");
  await victim.there.send({ type: "want", ranges: [], last: true });
  await saidMessage(victim, "hash");
  await victim.there.send({ type: "done" });
  await victim.timers.pass(1_000);
  victim.abort.abort();
  assert.equal(await ended(victim), "done");
});

/** A receiver that has said `done` about an empty file, and the test's end of its channel. */
async function doneReceiver(here: MemoryChannel, there: MemoryChannel, timers: RelayClock): Promise<Victim> {
  const events: SessionEvent[] = [], abort = new AbortController();
  const outcome = outcomeOf(receiveSession(here, {
    sink: new MemorySink(),
    compression: NO_COMPRESSION,
    limits: DEFAULT_LIMITS,
    timers,
    onEvent: (event) => events.push(event),
    signal: abort.signal,
  }));
  const victim = { timers, there, events, outcome, abort };
  await there.send({ type: "offer", kind: "files", entries: 1, totalBytes: 0 });
  await there.send({ type: "entries", entries: [fileEntry("a", 0)] });
  await saidMessage(victim, "want");
  await there.send({ type: "hash", file: 0, hash: await hashOf(new Uint8Array(0)) });
  await saidMessage(victim, "done");
  return victim;
}

Deno.test("receiveSession() ends its records once it has heard that the sender knows", async () => {
  const timers = new RelayClock(), [here, there] = MemoryChannel.pair(timers);
  const victim = await doneReceiver(here, there, timers);
  await timers.pass(5_000);
  assert.equal(there.waiting, 0);
  await there.end();
  assert.equal(await there.receive(), null);
  assert.equal(await ended(victim), "done");
});

Deno.test("receiveSession() has ended well when it is aborted while it ends its records", async () => {
  const timers = new RelayClock(), [here, there] = MemoryChannel.pair(timers);
  here.end = (): Promise<void> => timers.pause(2_000);
  const victim = await doneReceiver(here, there, timers);
  await there.end();
  await timers.pass(1_000);
  victim.abort.abort();
  assert.equal(await ended(victim), "done");
});

Deno.test("a receiver that is aborted by what it tells does not wait for the sink", async () => {
  const victim = victimReceiver();
  victim.sink.before = (): Promise<void> => new Promise(() => {});
  victim.events.push = (): number => {
    victim.abort.abort();
    return 0;
  };
  await victim.there.send({ type: "offer", kind: "files", entries: 1, totalBytes: 1 });
  await victim.there.send({ type: "entries", entries: [fileEntry("a", 1)] });
  await failed(victim, "cancelled");
});

Deno.test("a session whose signal was aborted before says nothing", async () => {
  for (const session of ["send", "receive"] as const) {
    const timers = new RelayClock(), [here, there] = MemoryChannel.pair(timers);
    const options = { timers, compression: NO_COMPRESSION, signal: AbortSignal.abort() };
    const source = new MemorySource(new Map([["a", someBytes(1)]]));
    const outcome = await outcomeOf(
      session === "send"
        ? sendSession(here, { ...options, source })
        : receiveSession(here, { ...options, sink: new MemorySink(), limits: DEFAULT_LIMITS }),
    );
    assert.ok(outcome instanceof TransferError && outcome.code === "cancelled");
    assert.equal(there.waiting, 0);
    assert.equal(timers.pending, 0);
  }
});

Deno.test("a session takes its listener off the signal", async () => {
  const listeners = new Set<unknown>();
  const signal = new AbortController().signal;
  const add = signal.addEventListener.bind(signal), remove = signal.removeEventListener.bind(signal);
  signal.addEventListener = (name: string, listener: EventListener): void => {
    listeners.add(listener);
    add(name, listener);
  };
  signal.removeEventListener = (name: string, listener: EventListener): void => {
    listeners.delete(listener);
    remove(name, listener);
  };
  const { sent } = await play(new Map([["a", someBytes(1)]]), { signal });
  assert.equal(sent, "done");
  assert.equal(listeners.size, 0);
});

import assert from "node:assert/strict";
import { RecordSealer } from "../../../src/protocol/record/record.ts";
import { TransferError } from "../../../src/protocol/transfer/errors.ts";
import { encodeMessage } from "../../../src/protocol/transfer/message_codec.ts";
import { CHUNK_BYTES } from "../../../src/protocol/transfer/offer.ts";
import { memoryPair } from "../../../src/protocol/transport/memory.ts";
import { type Connection, TransportError } from "../../../src/protocol/transport/transport.ts";
import { joined } from "../rpc/byte_stream.ts";
import { FakeTimers, settled } from "../rpc/fake_timers.ts";
import {
  channelOver,
  channelPair,
  heard,
  heardAll,
  receiverKeys,
  senderKeys,
  WatchedOpener,
  WatchedSealer,
} from "./channel_ends.ts";

type Bytes = Uint8Array<ArrayBuffer>;
const MIB = 1024 * 1024;

/** A connection, of which some methods are other ones. */
function changed(connection: Connection, methods: Partial<Pick<Connection, "read" | "write">>): Connection {
  return {
    transport: connection.transport,
    confidential: connection.confidential,
    localAddress: null,
    remoteAddress: null,
    read: methods.read ?? ((buffer) => connection.read(buffer)),
    write: methods.write ?? ((bytes) => connection.write(bytes)),
    closeWrite: () => connection.closeWrite(),
    close: () => connection.close(),
  };
}

function data(chunk: number): { type: "data"; file: number; chunk: number } {
  return { type: "data", file: 0, chunk };
}

/** Bytes of a chunk that tell its number. */
function chunkOf(number: number, length: number = CHUNK_BYTES): Bytes {
  return new Uint8Array(length).fill(number);
}

Deno.test("TransferChannel carries messages and chunks in the order of the calls, both ways, to the end", async () => {
  const { sender, receiver } = channelPair();
  const lengths = [MIB, 1, 16_380, 16_384, 65_536, MIB, MIB, 5, MIB - 1];
  const sending = (async (): Promise<void> => {
    for (const [chunk, length] of lengths.entries()) {
      await sender.sendChunk(data(chunk), chunkOf(chunk, length));
      await sender.send({ type: "heartbeat", receivedBytes: chunk });
    }
    await sender.end();
  })();
  for (const [chunk, length] of lengths.entries()) {
    const received = await receiver.receive();
    assert(received !== null && "body" in received);
    assert.deepEqual(received.message, data(chunk));
    assert.deepEqual(received.body, chunkOf(chunk, length));
    assert.equal(await heard(receiver), `heartbeat ${chunk}`);
  }
  assert.equal(await heard(receiver), "end");
  await sending;
  await receiver.send({ type: "done" });
  await receiver.end();
  assert.deepEqual(await heardAll(sender), ["done", "end"]);
  sender.close();
  receiver.close();
});

Deno.test("TransferChannel keeps a data message and its chunk together when calls do not wait for one another", async () => {
  const { sender, receiver } = channelPair();
  const calls: Promise<void>[] = [];
  for (let chunk = 0; chunk < 40; chunk++) {
    calls.push(sender.sendChunk(data(chunk), chunkOf(chunk, 1 + chunk * 1000)));
    calls.push(sender.send({ type: "heartbeat", receivedBytes: chunk }));
  }
  calls.push(sender.end());
  const expected = Array.from({ length: 40 }, (_, chunk) => [
    `data 0 ${chunk} of ${1 + chunk * 1000}`,
    `heartbeat ${chunk}`,
  ]);
  assert.deepEqual(await heardAll(receiver), [...expected.flat(), "end"]);
  await Promise.all(calls);
  sender.close();
  receiver.close();
});

Deno.test("TransferChannel seals three records at once and opens three at once, and no more", async () => {
  const [a, b] = memoryPair();
  const sealer = new WatchedSealer(senderKeys.sending), opener = new WatchedOpener(receiverKeys.receiving);
  const sender = channelOver(a, senderKeys, { sealer }), receiver = channelOver(b, receiverKeys, { opener });
  const calls: Promise<void>[] = [];
  for (let chunk = 0; chunk < 12; chunk++) calls.push(sender.sendChunk(data(chunk), chunkOf(chunk)));
  calls.push(sender.end());
  assert.equal((await heardAll(receiver)).length, 13);
  await Promise.all(calls);
  assert.deepEqual([sealer.load.most, opener.load.most], [3, 3]);
  sender.close();
  receiver.close();
});

Deno.test("TransferChannel hears first what came behind the confirmation", async () => {
  const sealer = new RecordSealer(senderKeys.sending);
  const early = [
    await sealer.seal(encodeMessage({ type: "heartbeat", receivedBytes: 1 })),
    await sealer.seal(encodeMessage(data(0))),
    await sealer.seal(chunkOf(0)),
  ];
  const late = joined([await sealer.seal(encodeMessage({ type: "done" })), await sealer.sealEnd()]);
  const whole = joined([...early, late]);
  for (const length of [0, 1, 4, 100, joined(early).length + 3]) {
    const [end, hand] = memoryPair();
    const channel = channelOver(end, receiverKeys, { rest: whole.slice(0, length) });
    const writing = hand.write(whole.subarray(length));
    assert.deepEqual(await heardAll(channel), ["heartbeat 1", `data 0 0 of ${MIB}`, "done", "end"]);
    await writing;
    channel.close();
    hand.close();
  }
});

Deno.test("TransferChannel frees the memory of a chunk, and copies its ciphertext nowhere", async () => {
  const [a, b] = memoryPair();
  const written: Uint8Array[] = [];
  const tapped = changed(a, {
    write: async (bytes) => {
      await a.write(bytes);
      written.push(bytes);
    },
  });
  const sender = channelOver(tapped, senderKeys), receiver = channelOver(b, receiverKeys);
  const chunk = chunkOf(1);
  const sending = sender.sendChunk(data(0), chunk).then(() => sender.end());
  assert.deepEqual(await heardAll(receiver), [`data 0 0 of ${MIB}`, "end"]);
  await sending;
  assert.equal(chunk.buffer.detached, true);
  // The message with the length of the chunk, the chunk from where it was sealed, the end.
  assert.deepEqual(written.map(({ buffer }) => (buffer as ArrayBuffer).detached), [false, true, false]);
  sender.close();
  receiver.close();
});

Deno.test("TransferChannel leaves a buffer alone of which a chunk is only a part", async () => {
  const { sender, receiver } = channelPair();
  const whole = chunkOf(4, 1000);
  await sender.sendChunk(data(0), whole.subarray(100, 300));
  await sender.end();
  assert.deepEqual(await heardAll(receiver), ["data 0 0 of 200", "end"]);
  assert.deepEqual(whole, chunkOf(4, 1000));
  sender.close();
  receiver.close();
});

Deno.test("TransferChannel lets a sender wait while nothing can be written, with at most three chunks in memory", async () => {
  const [a, b] = memoryPair();
  const gate = Promise.withResolvers<void>(), reached = Promise.withResolvers<void>();
  const slow = changed(a, {
    write: async (bytes) => {
      reached.resolve();
      await gate.promise;
      await a.write(bytes);
    },
  });
  const sender = channelOver(slow, senderKeys), receiver = channelOver(b, receiverKeys);
  let sent = 0;
  const sending = (async (): Promise<void> => {
    for (; sent < 10; sent++) await sender.sendChunk(data(sent), chunkOf(sent));
    await sender.end();
  })();
  await reached.promise;
  await settled();
  assert.equal(sent, 2, "the third call waits");
  gate.resolve();
  assert.equal((await heardAll(receiver)).length, 11);
  await sending;
  sender.close();
  receiver.close();
});

Deno.test("TransferChannel reads no further than about 4 MiB ahead of whoever takes what came", async () => {
  const [a, b] = memoryPair();
  const timers = new FakeTimers();
  let readBytes = 0;
  const counted = changed(b, {
    read: async (buffer) => {
      const count = await b.read(buffer);
      readBytes += count ?? 0;
      return count;
    },
  });
  const sender = channelOver(a, senderKeys), receiver = channelOver(counted, receiverKeys, { timers });
  const sending = (async (): Promise<void> => {
    for (let chunk = 0; chunk < 20; chunk++) await sender.sendChunk(data(chunk), chunkOf(chunk));
    await sender.end();
  })();
  assert.equal(await heard(receiver), `data 0 0 of ${MIB}`);
  for (let before = -1; before !== readBytes;) {
    before = readBytes;
    for (let turn = 0; turn < 10; turn++) await settled();
  }
  assert(readBytes > 3 * MIB && readBytes < 5.1 * MIB, `${readBytes} bytes`);
  await timers.pass(60_000);
  assert.equal(receiver.heardMs, 60_000, "it is this side that does not listen");
  assert.equal((await heardAll(receiver)).length, 20);
  await sending;
  sender.close();
  receiver.close();
});

Deno.test("TransferChannel keeps no more than some 64 small records, whichever side waits", async () => {
  const [a, b] = memoryPair();
  const gate = Promise.withResolvers<void>(), reached = Promise.withResolvers<void>();
  const slow = changed(a, {
    write: async (bytes) => {
      reached.resolve();
      await gate.promise;
      await a.write(bytes);
    },
  });
  const message = { type: "stop", reason: "space", text: "x".repeat(1000) } as const;
  const recordBytes = 4 + encodeMessage(message).length + 16;
  let reads = 0, longest = 0;
  const counted = changed(b, {
    read: (buffer) => {
      reads++;
      longest = Math.max(longest, buffer.length);
      return b.read(buffer.subarray(0, recordBytes));
    },
  });
  const sender = channelOver(slow, senderKeys), receiver = channelOver(counted, receiverKeys);
  let sent = 0;
  const sending = (async (): Promise<void> => {
    for (; sent < 300; sent++) await sender.send(message);
    await sender.end();
  })();
  await reached.promise;
  await settled();
  assert(
    sent > 64 && sent < 64 + 40,
    `${sent} were taken: those that wait, and a batch that is being written`,
  );
  gate.resolve();
  assert.equal(await heard(receiver), "stop");
  for (let before = -1; before !== reads;) {
    before = reads;
    for (let turn = 0; turn < 10; turn++) await settled();
  }
  assert(reads > 50 && reads < 100, `${reads} reads`);
  assert.equal((await heardAll(receiver)).length, 300);
  await sending;
  assert(longest < 20_000, "a small record needs no large read");
  sender.close();
  receiver.close();
});

Deno.test("TransferChannel reads no more than 16 KiB beyond a chunk, so that little is moved", async () => {
  const [a, b] = memoryPair();
  const rooms: number[] = [];
  const counted = changed(b, {
    read: (buffer) => {
      rooms.push(buffer.length);
      return b.read(buffer);
    },
  });
  const sender = channelOver(a, senderKeys), receiver = channelOver(counted, receiverKeys);
  await Promise.all([
    heardAll(receiver),
    sender.sendChunk(data(0), chunkOf(0)).then(() => sender.send({ type: "done" })).then(() => sender.end()),
  ]);
  assert.equal(Math.max(...rooms) > MIB - 100_000, true);
  assert(Math.max(...rooms) <= MIB + 20 + 16 * 1024);
  assert((rooms.at(-1) ?? 0) <= 17_000, "nor beyond a message that comes after it");
  sender.close();
  receiver.close();
});

Deno.test("TransferChannel tells when bytes came and went for the last time, parts of a record too", async () => {
  const [a, b] = memoryPair();
  const timers = new FakeTimers();
  await timers.pass(5);
  const sender = channelOver(a, senderKeys, { timers });
  const receiver = channelOver(b, receiverKeys, { timers });
  assert.deepEqual([sender.saidMs, receiver.heardMs], [5, 5]);
  const hearing = heardAll(receiver);
  await timers.pass(100);
  assert.deepEqual([sender.saidMs, receiver.heardMs], [5, 5]);
  await sender.send({ type: "done" });
  await sender.end();
  assert.deepEqual(await hearing, ["done", "end"]);
  assert.equal(sender.saidMs, 105);
  sender.close();
  receiver.close();

  const [end, hand] = memoryPair();
  const slow = channelOver(end, receiverKeys, { timers }), waiting = heard(slow);
  const record = await new RecordSealer(senderKeys.sending).seal(encodeMessage({ type: "done" }));
  for (const part of [record.subarray(0, 3), record.subarray(3, 4), record.subarray(4)]) {
    await timers.pass(10);
    await hand.write(part);
    await settled();
    assert.equal(slow.heardMs, timers.monotonicMs());
  }
  assert.equal(await waiting, "done");
  slow.close();
  hand.close();
});

Deno.test("TransferChannel that has ended has closed the writing of its connection behind the last record", async () => {
  const [end, hand] = memoryPair();
  const channel = channelOver(end, senderKeys);
  await channel.end();
  const buffer = new Uint8Array(100);
  assert.deepEqual([await hand.read(buffer), await hand.read(buffer)], [20, null]);
  channel.close();
  hand.close();
});

Deno.test("TransferChannel that has ended still hears, and says nothing more", async () => {
  const { sender, receiver } = channelPair();
  await sender.end();
  assert.equal(await heard(receiver), "end");
  await assert.rejects(sender.send({ type: "done" }), TypeError);
  await assert.rejects(sender.sendChunk(data(0), chunkOf(0)), TypeError);
  await assert.rejects(sender.end(), TypeError);
  await receiver.send({ type: "done" });
  assert.equal(await heard(sender), "done");
  await receiver.end();
  assert.equal(await heard(sender), "end");
  sender.close();
  receiver.close();
});

Deno.test("TransferChannel that is closed while it seals, writes, and reads lets nobody wait, and says why", async () => {
  for (const reason of [new TransferError("silent", "nobody spoke"), undefined]) {
    const [a, b] = memoryPair();
    const sealer = new WatchedSealer(senderKeys.sending);
    const channel = channelOver(a, senderKeys, { sealer });
    const waiting = [
      channel.receive(),
      ...[0, 1, 2, 3, 4, 5].map((chunk) => channel.sendChunk(data(chunk), chunkOf(chunk))),
      channel.end(),
    ];
    channel.close(reason);
    channel.close(new TransferError("hash", "another reason"));
    const code = reason?.code ?? "cancelled";
    const outcomes = await Promise.allSettled(waiting);
    const codes = outcomes.map((each) => each.status === "rejected" ? each.reason.code : "done");
    // Two chunks had room before.
    assert.deepEqual(codes, [code, "done", "done", code, code, code, code, code]);
    await assert.rejects(channel.receive(), { name: "TransferError", code });
    await assert.rejects(channel.send({ type: "done" }).then(() => channel.end()), TypeError);
    assert.equal(await b.read(new Uint8Array(1)), null);
    b.close();
    await sealer.load.atRest();
  }
});

Deno.test("TransferChannel that is closed while a write waits lets nobody wait", async () => {
  const [a, b] = memoryPair();
  const reached = Promise.withResolvers<void>();
  const tapped = changed(a, {
    write: (bytes) => {
      if (bytes.length > MIB) reached.resolve();
      return a.write(bytes); // fills the pipe, and nobody reads
    },
  });
  const sealer = new WatchedSealer(senderKeys.sending);
  const channel = channelOver(tapped, senderKeys, { sealer });
  const waiting = [0, 1, 2, 3].map((chunk) => channel.sendChunk(data(chunk), chunkOf(chunk)));
  await reached.promise;
  channel.close();
  const outcomes = await Promise.allSettled(waiting);
  assert.deepEqual(outcomes.map(({ status }) => status), ["fulfilled", "fulfilled", "rejected", "rejected"]);
  b.close();
  await sealer.load.atRest();
});

Deno.test("TransferChannel that is closed gives out nothing that had come, not even what is being opened", async () => {
  const [a, b] = memoryPair();
  const opener = new WatchedOpener(receiverKeys.receiving);
  const sender = channelOver(a, senderKeys), receiver = channelOver(b, receiverKeys, { opener });
  await sender.sendChunk(data(0), chunkOf(0));
  for (let number = 0; number < 5; number++) await sender.send({ type: "heartbeat", receivedBytes: number });
  assert.equal(await heard(receiver), `data 0 0 of ${MIB}`);
  await settled();
  const waiting = heard(receiver);
  receiver.close();
  assert.deepEqual([await waiting, await heard(receiver)], ["cancelled", "cancelled"]);
  sender.close();
  await opener.load.atRest();
});

Deno.test("TransferChannel that is closed lets nobody wait, though its connection settles nothing", async () => {
  const [a, b] = memoryPair();
  const reached = Promise.withResolvers<void>();
  const stuck = changed(a, {
    read: () => new Promise(() => {}),
    write: () => {
      reached.resolve();
      return new Promise(() => {});
    },
  });
  const sealer = new WatchedSealer(senderKeys.sending);
  const channel = channelOver(stuck, senderKeys, { sealer });
  const waiting = [channel.receive(), channel.sendChunk(data(0), chunkOf(0)), channel.end()];
  await reached.promise;
  channel.close(new TransferError("silent", "nobody spoke"));
  const outcomes = await Promise.allSettled(waiting);
  const codes = outcomes.map((each) => each.status === "rejected" ? each.reason.code : "done");
  assert.deepEqual(codes, ["silent", "done", "silent"]);
  await sealer.load.atRest();
  b.close();
});

Deno.test("TransferChannel whose writing fails says lost to senders, and hears what the other side had said", async () => {
  const [a, b] = memoryPair();
  let writes = 0;
  const broken = changed(a, {
    write: () => {
      writes++;
      return Promise.reject(new TransportError("lost", "cut"));
    },
  });
  const sealer = new WatchedSealer(senderKeys.sending);
  const channel = channelOver(broken, senderKeys, { sealer }), other = channelOver(b, receiverKeys);
  await other.send({ type: "stop", reason: "space", text: "" });
  await other.end();
  const sending = [0, 1, 2, 3].map((chunk) => channel.sendChunk(data(chunk), chunkOf(chunk)));
  const outcomes = await Promise.allSettled(sending);
  assert.deepEqual(outcomes.map(({ status }) => status), ["fulfilled", "fulfilled", "rejected", "rejected"]);
  await assert.rejects(channel.send({ type: "done" }), { name: "TransferError", code: "lost" });
  await assert.rejects(channel.end(), { name: "TransferError", code: "lost" });
  assert.deepEqual(await heardAll(channel), ["stop", "end"]);
  await sealer.load.atRest();
  await settled();
  assert.equal(writes, 1, "nothing is tried again");
  channel.close();
  other.close();
  await sealer.load.atRest();
});

Deno.test("TransferChannel refuses what it cannot send before anything of it is sent", async () => {
  const { sender, receiver } = channelPair();
  const refused: readonly Promise<void>[] = [
    sender.sendChunk(data(0), new Uint8Array(0)),
    sender.sendChunk(data(0), new Uint8Array(CHUNK_BYTES + 1)),
    sender.sendChunk(data(-1), new Uint8Array(1)),
    sender.send({ type: "heartbeat", receivedBytes: -1 }),
  ];
  for (const each of refused) await assert.rejects(each, RangeError);
  await sender.send({ type: "done" });
  await sender.end();
  assert.deepEqual(await heardAll(receiver), ["done", "end"]);
  sender.close();
  receiver.close();
});

Deno.test("TransferChannel refuses a second receive() while one waits", async () => {
  const { sender, receiver } = channelPair();
  const first = heard(receiver);
  await assert.rejects(receiver.receive(), TypeError);
  await sender.send({ type: "done" });
  assert.equal(await first, "done");
  sender.close();
  receiver.close();
});

import assert from "node:assert/strict";
import { RecordSealer } from "../../../src/protocol/record/record.ts";
import { encodeMessage } from "../../../src/protocol/transfer/message_codec.ts";
import { memoryPair } from "../../../src/protocol/transport/memory.ts";
import { FakeTimers, settled } from "../rpc/fake_timers.ts";
import {
  changed,
  channelOver,
  channelPair,
  chunkOf,
  data,
  heard,
  heardAll,
  receiverKeys,
  senderKeys,
  WatchedOpener,
  WatchedSealer,
} from "./channel_ends.ts";

const MIB = 1024 * 1024;

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

Deno.test("TransferChannel seals two records at once and opens two at once, and no more", async () => {
  const [a, b] = memoryPair();
  const sealer = new WatchedSealer(senderKeys.sending), opener = new WatchedOpener(receiverKeys.receiving);
  const sender = channelOver(a, senderKeys, { sealer }), receiver = channelOver(b, receiverKeys, { opener });
  const calls: Promise<void>[] = [];
  for (let chunk = 0; chunk < 12; chunk++) calls.push(sender.sendChunk(data(chunk), chunkOf(chunk)));
  calls.push(sender.end());
  assert.equal((await heardAll(receiver)).length, 13);
  await Promise.all(calls);
  assert.deepEqual([sealer.load.most, opener.load.most], [2, 2]);
  sender.close();
  receiver.close();
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

Deno.test("TransferChannel lets a sender wait while nothing can be written, with at most two chunks in memory", async () => {
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
  assert.equal(sent, 1, "the second call waits");
  gate.resolve();
  assert.equal((await heardAll(receiver)).length, 11);
  await sending;
  sender.close();
  receiver.close();
});

Deno.test("TransferChannel reads no further than about 3 MiB ahead of whoever takes what came", async () => {
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
  assert(readBytes > 2 * MIB && readBytes < 4.1 * MIB, `${readBytes} bytes`);
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

Deno.test("TransferChannel tells how much of a chunk has come, and nothing of a message", async () => {
  const [end, hand] = memoryPair();
  const slow = channelOver(end, receiverKeys), sealer = new RecordSealer(senderKeys.sending);
  const waiting = heard(slow);
  assert.equal(slow.partOfNext, 0);
  const message = await sealer.seal(encodeMessage(data(0))), chunk = await sealer.seal(chunkOf(0));
  await hand.write(message.subarray(0, message.length - 1));
  await settled();
  assert.equal(slow.partOfNext, 0);
  await hand.write(message.subarray(-1));
  for (const quarter of [1, 2, 3]) {
    const bytes = chunk.length / 4;
    await hand.write(chunk.subarray((quarter - 1) * bytes, quarter * bytes));
    await settled();
    assert(Math.abs(slow.partOfNext - quarter / 4) < 1e-5, `${slow.partOfNext}`);
  }
  await hand.write(chunk.subarray(3 * chunk.length / 4));
  assert.equal(await waiting, `data 0 0 of ${MIB}`);
  assert.equal(slow.partOfNext, 0);
  slow.close();
  hand.close();
});

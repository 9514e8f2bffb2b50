/** How a channel ends: as it should, by its own side, or by the loss of its connection. */
import assert from "node:assert/strict";
import { TransferError } from "../../../src/protocol/transfer/errors.ts";
import { CHUNK_BYTES } from "../../../src/protocol/transfer/offer.ts";
import { memoryPair } from "../../../src/protocol/transport/memory.ts";
import { TransportError } from "../../../src/protocol/transport/transport.ts";
import { settled } from "../rpc/fake_timers.ts";
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
    // One chunk had room before.
    assert.deepEqual(codes, [code, "done", code, code, code, code, code, code]);
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
  assert.deepEqual(outcomes.map(({ status }) => status), ["fulfilled", "rejected", "rejected", "rejected"]);
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
  assert.deepEqual(outcomes.map(({ status }) => status), ["fulfilled", "rejected", "rejected", "rejected"]);
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

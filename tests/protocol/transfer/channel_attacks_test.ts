/** What somebody between the two sides, or the other side itself, can do to the records. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { RecordSealer } from "../../../src/protocol/record/record.ts";
import { encodeMessage } from "../../../src/protocol/transfer/message_codec.ts";
import type { TransferMessage } from "../../../src/protocol/transfer/messages.ts";
import { memoryPair } from "../../../src/protocol/transport/memory.ts";
import { RecordedConnection } from "../../../scripts/fuzz_recorded_connection.ts";
import { joined } from "../rpc/byte_stream.ts";
import {
  channelOver,
  channelPair,
  heard,
  heardAll,
  receiverKeys,
  senderKeys,
  WatchedOpener,
} from "./channel_ends.ts";

type Bytes = Uint8Array<ArrayBuffer>;
const CHUNK_BYTES = 200;
const encoder = new TextEncoder();

function heartbeat(receivedBytes: number): Bytes {
  return encodeMessage({ type: "heartbeat", receivedBytes });
}

function data(chunk: number): Bytes {
  return encodeMessage({ type: "data", file: 0, chunk });
}

/** Plaintexts of a short conversation, and what is heard of it. */
const plaintexts: readonly Bytes[] = [
  heartbeat(7),
  data(5),
  new Uint8Array(CHUNK_BYTES).fill(0x61),
  encodeMessage({ type: "hash", file: 0, hash: new Uint8Array(32) }),
  heartbeat(8),
];
/** What is heard of the first records: of none, one, ... and all, with the last record. */
const heardOf: readonly (readonly string[])[] = [
  [],
  ["heartbeat 7"],
  ["heartbeat 7"],
  ["heartbeat 7", `data 0 5 of ${CHUNK_BYTES}`],
  ["heartbeat 7", `data 0 5 of ${CHUNK_BYTES}`, "hash"],
  ["heartbeat 7", `data 0 5 of ${CHUNK_BYTES}`, "hash", "heartbeat 8"],
  ["heartbeat 7", `data 0 5 of ${CHUNK_BYTES}`, "hash", "heartbeat 8", "end"],
];

/** What is heard when the first `count` records were right and then it went wrong. */
function upTo(count: number, word: string): string[] {
  return [...heardOf[count] ?? [], word];
}

/** Records of a direction, the last one included. */
async function recordsOf(plaintexts: readonly Bytes[], key: Bytes = senderKeys.sending): Promise<Bytes[]> {
  const sealer = new RecordSealer(key), records: Bytes[] = [];
  for (const plaintext of plaintexts) records.push(await sealer.seal(plaintext));
  return [...records, await sealer.sealEnd()];
}

/** What a receiver hears of bytes that came in pieces, and then nothing more. */
async function heardFrom(bytes: Bytes, pieceBytes: number): Promise<string[]> {
  const connection = new RecordedConnection(bytes, pieceBytes);
  const opener = new WatchedOpener(receiverKeys.receiving);
  const channel = channelOver(connection, receiverKeys, { opener });
  const words = await heardAll(channel);
  assert.equal(await heard(channel), words.at(-1), "and so it stays");
  assert.equal(await heard(channel), words.at(-1), "and so it stays");
  channel.close();
  await assert.rejects(connection.read(new Uint8Array(1)), { code: "closed" });
  await opener.load.atRest();
  return words;
}

async function hears(bytes: Bytes, expected: readonly string[], what: string): Promise<void> {
  for (const pieceBytes of [1, 33, 1_000_000]) {
    assert.deepEqual(await heardFrom(bytes, pieceBytes), expected, `${what}, in pieces of ${pieceBytes}`);
  }
}

const records = await recordsOf(plaintexts);
const whole = joined(records);
/** Where each record begins, and where the last one ends. */
const boundaries = records.reduce<number[]>((found, { length }) => [...found, (found.at(-1) ?? 0) + length], [
  0,
]);

Deno.test("TransferChannel hears what was carried unchanged, in pieces of any length", async () => {
  for (const pieceBytes of [1, 3, 20, 100, 1000]) {
    assert.deepEqual(await heardFrom(whole, pieceBytes), heardOf.at(-1));
  }
});

Deno.test("TransferChannel refuses a record that was replayed, dropped, or put in another place", async () => {
  await hears(joined(records.slice(0, -1)), upTo(5, "lost"), "the last record dropped");
  for (const [number, record] of records.slice(0, -1).entries()) {
    const replayed = records.toSpliced(number, 0, record), dropped = records.toSpliced(number, 1);
    await hears(joined(replayed), upTo(number + 1, "tampered"), `record ${number} replayed`);
    await hears(joined(dropped), upTo(number, "tampered"), `record ${number} dropped`);
    for (let place = number + 1; place < records.length; place++) {
      const moved = records.toSpliced(number, 1).toSpliced(place, 0, record);
      await hears(joined(moved), upTo(number, "tampered"), `record ${number} moved to ${place}`);
    }
  }
});

Deno.test("TransferChannel says lost wherever the bytes end before the last record", async () => {
  for (let cut = 0; cut < whole.length; cut++) {
    const complete = boundaries.filter((boundary) => boundary > 0 && boundary <= cut).length;
    assert.deepEqual(await heardFrom(whole.slice(0, cut), 50), upTo(complete, "lost"), `cut at ${cut}`);
  }
});

Deno.test("TransferChannel gives nothing of a record of which one bit was flipped, nor of any behind it", async () => {
  for (let at = 0; at < whole.length; at++) {
    const bytes = whole.slice();
    bytes[at] = (bytes[at] ?? 0) ^ 1 << at % 8;
    const number = boundaries.findLastIndex((boundary) => boundary <= at), start = boundaries[number] ?? 0;
    // A length that reaches beyond the bytes that come is known to be wrong only when they end.
    const length = new DataView(bytes.buffer).getUint32(start);
    const isLonger = length <= 1024 * 1024 + 16 && start + 4 + length > bytes.length;
    const expected = upTo(number, isLonger ? "lost" : "tampered");
    assert.deepEqual(await heardFrom(bytes, 1000), expected, `byte ${at} of record ${number}`);
  }
});

Deno.test("TransferChannel sets nothing aside for a length that no record has", async () => {
  const inboxes: number[] = [];
  for (const length of [0, 15, 1024 * 1024 + 17, 0x7fff_ffff, 0xffff_ffff]) {
    const bytes = new Uint8Array(4 + 100);
    new DataView(bytes.buffer).setUint32(0, length);
    const connection = new RecordedConnection(bytes, 1000), read = connection.read.bind(connection);
    connection.read = (buffer) => {
      inboxes.push(buffer.buffer.byteLength);
      return read(buffer);
    };
    assert.deepEqual(await heardAll(channelOver(connection, receiverKeys)), ["tampered"], `length ${length}`);
  }
  assert(inboxes.length >= 5 && inboxes.every((bytes) => bytes < 100_000));
});

Deno.test("TransferChannel refuses records of the other direction, of another transfer, and of another place", async () => {
  const [first, second, third] = records;
  assert(first && second && third);
  const back = await recordsOf(plaintexts, receiverKeys.sending);
  const other = await recordsOf(plaintexts, new Uint8Array(32).fill(9));
  for (const foreign of [back, other]) {
    await hears(joined(foreign), ["tampered"], "all of another");
    for (const [number, record] of foreign.entries()) {
      await hears(
        joined(records.with(number, record)),
        upTo(number, "tampered"),
        `record ${number} of another`,
      );
    }
  }
  const sealer = new RecordSealer(senderKeys.sending);
  await sealer.seal(heartbeat(0));
  const [a, b] = [heartbeat(7), heartbeat(7)];
  const later = await sealer.seal(a), latest = await sealer.seal(b);
  await hears(joined([later, latest]), ["tampered"], "the same message, sealed as a later record");
  const spliced = new Uint8Array([...second.subarray(0, 10), ...third.subarray(10)]);
  await hears(joined([first, spliced]), upTo(1, "tampered"), "two records spliced");
});

Deno.test("TransferChannel refuses its own records sent back", async () => {
  const [end, mirror] = memoryPair();
  const channel = channelOver(end, senderKeys);
  await channel.send({ type: "heartbeat", receivedBytes: 7 });
  const buffer = new Uint8Array(1000), count = await mirror.read(buffer);
  assert(count !== null);
  await mirror.write(buffer.subarray(0, count));
  assert.equal(await heard(channel), "tampered");
  channel.close();
  mirror.close();
});

Deno.test("TransferChannel refuses bytes behind the last record that come with it, and never looks at later ones", async () => {
  for (const behind of [records[0], records.at(-1), new Uint8Array(1), encoder.encode("anything")]) {
    assert(behind !== undefined);
    const bytes = joined([whole, behind]);
    assert.deepEqual(await heardFrom(bytes, bytes.length), upTo(5, "tampered"));
    assert.deepEqual(await heardFrom(bytes, 1), upTo(5, "end"));
  }
});

/** What is heard of plaintexts that were sealed as they should be. */
async function heardOfSealed(...plaintexts: readonly Bytes[]): Promise<string[]> {
  return await heardFrom(joined(await recordsOf(plaintexts)), 1_000_000);
}

Deno.test("TransferChannel refuses a data message without its chunk", async () => {
  assert.deepEqual(await heardOfSealed(heartbeat(7), data(0)), ["heartbeat 7", "malformed"]);
  const [first] = await recordsOf([data(0)]);
  assert(first !== undefined);
  assert.deepEqual(await heardFrom(first, 100), ["lost"]);
});

Deno.test("TransferChannel takes whatever comes behind a data message as the chunk, a heartbeat too", async () => {
  const words = await heardOfSealed(data(0), heartbeat(7), new Uint8Array(300).fill(0x61), heartbeat(8));
  assert.deepEqual(words, [`data 0 0 of ${heartbeat(7).length}`, "malformed"]);
});

Deno.test("TransferChannel takes a chunk of 1 byte to 1 MiB, and no more", async () => {
  const longest = new Uint8Array(1024 * 1024).fill(3);
  assert.deepEqual(await heardOfSealed(data(0), longest, data(1), Uint8Array.of(3)), [
    "data 0 0 of 1048576",
    "data 0 1 of 1",
    "end",
  ]);
  // Nobody can seal more: as bytes it is a record that says one byte too many, and has them.
  const longer = new Uint8Array(4 + 1024 * 1024 + 17);
  new DataView(longer.buffer).setUint32(0, longer.length - 4);
  const [first] = await recordsOf([data(0)]);
  assert(first !== undefined);
  assert.deepEqual(await heardFrom(joined([first, longer]), 1_000_000), ["tampered"]);
});

Deno.test("TransferChannel refuses what is no message, or longer than one, and gives nothing behind it", async () => {
  const bad: readonly Bytes[] = [
    Uint8Array.of(0),
    new Uint8Array(65_537),
    new Uint8Array(1024 * 1024),
    encoder.encode("hello"),
    new Uint8Array([...heartbeat(7), 0]),
  ];
  for (const plaintext of bad) {
    assert.deepEqual(await heardOfSealed(heartbeat(1), plaintext, heartbeat(2)), [
      "heartbeat 1",
      "malformed",
    ]);
  }
});

Deno.test("TransferChannel refuses an offer of more than it accepts as limit, and nothing comes behind it", async () => {
  const offer: TransferMessage = { type: "offer", kind: "files", entries: 100_001, totalBytes: 1 };
  assert.deepEqual(await heardOfSealed(encodeMessage(offer), heartbeat(2)), ["limit"]);
});

Deno.test("TransferChannel can say stop after it has refused what came, and reads nothing more", async () => {
  for (const [plaintext, word] of [[encoder.encode("x"), "malformed"], [null, "tampered"]] as const) {
    const [end, hand] = memoryPair();
    const channel = channelOver(end, receiverKeys), other = channelOver(hand, senderKeys);
    const sealer = new RecordSealer(senderKeys.sending);
    await hand.write(plaintext === null ? new Uint8Array(40) : await sealer.seal(plaintext));
    assert.equal(await heard(channel), word);
    await hand.write(await sealer.seal(heartbeat(1)));
    assert.equal(await heard(channel), word);
    await channel.send({ type: "stop", reason: word, text: "" });
    await channel.end();
    assert.deepEqual(await heardAll(other), ["stop", "end"]);
    channel.close();
    other.close();
  }
});

Deno.test("TransferChannel gives nothing but a beginning of what was sent, whatever is done to the bytes", async () => {
  const stream = joined(await recordsOf([...plaintexts, ...plaintexts]));
  const all = [...(heardOf[5] ?? []), ...(heardOf[6] ?? [])];
  const edit = fc.record({
    at: fc.nat(stream.length),
    cut: fc.nat(60),
    put: fc.uint8Array({ maxLength: 60 }),
  });
  const property = fc.asyncProperty(fc.array(edit, { minLength: 1, maxLength: 3 }), async (edits) => {
    const bytes = edits.reduce<Bytes>(
      (bytes, { at, cut, put }) =>
        new Uint8Array([...bytes.subarray(0, at), ...put, ...bytes.subarray(at + cut)]),
      stream,
    );
    const words = await heardFrom(bytes, 64), said = words.slice(0, -1), last = words.at(-1) ?? "";
    assert.deepEqual(said, all.slice(0, said.length));
    const isWhole = bytes.subarray(0, stream.length).toHex() === stream.toHex();
    assert(isWhole ? ["end", "tampered"].includes(last) : ["tampered", "lost"].includes(last), last);
  });
  const seed = Deno.env.get("POSTERN_SEED");
  await fc.assert(property, seed === undefined ? {} : { seed: Number(seed) });
});

Deno.test("TransferChannel hears the other side say it was lost when it closes without an end", async () => {
  const { sender, receiver } = channelPair();
  await sender.send({ type: "heartbeat", receivedBytes: 1 });
  assert.equal(await heard(receiver), "heartbeat 1");
  sender.close();
  assert.equal(await heard(receiver), "lost");
  await assert.rejects(receiver.send({ type: "done" }), { code: "lost" });
  await assert.rejects(receiver.end(), { code: "lost" });
});

import { decode as referenceDecode, encode as referenceEncode } from "@msgpack/msgpack";
import assert from "node:assert/strict";
import fc from "fast-check";
import { TransferError } from "../../../src/protocol/transfer/errors.ts";
import { DEFAULT_LIMITS, type TransferLimits } from "../../../src/protocol/transfer/limits.ts";
import {
  decodeMessage,
  encodeMessage,
  entriesMessages,
  MAX_ENTRY_PATH_BYTES,
  MAX_MESSAGE_BYTES,
  MAX_STOP_TEXT_BYTES,
  wantMessages,
} from "../../../src/protocol/transfer/message_codec.ts";
import type { TransferMessage } from "../../../src/protocol/transfer/messages.ts";
import type { ChunkRange, OfferEntry } from "../../../src/protocol/transfer/offer.ts";
import { holds } from "../../property.ts";
import vectors from "../../vectors/transfer-messages.json" with { type: "json" };

const hex = Uint8Array.fromHex;
const NO_LIMITS: TransferLimits = { maxEntries: Infinity, maxPathBytes: Infinity, maxTotalBytes: Infinity };

function decoded(bytes: Uint8Array<ArrayBuffer>): TransferMessage {
  return decodeMessage(bytes, NO_LIMITS);
}

/** A message of the vectors, where a hash is written as hex. */
function fromVector(message: object): TransferMessage {
  const { hash, ...rest } = message as { hash?: string };
  return (hash === undefined ? rest : { ...rest, hash: hex(hash) }) as unknown as TransferMessage;
}

const entry: fc.Arbitrary<OfferEntry> = fc.record({
  kind: fc.constantFrom("file", "folder"),
  path: fc.string({ unit: "grapheme", minLength: 1, maxLength: 40 }),
  sizeBytes: fc.maxSafeNat(),
  modifiedMs: fc.integer({ min: -8.64e15, max: 8.64e15 }),
  mode: fc.nat(0o777),
}, { noNullPrototype: true }).map((each) => each.kind === "folder" ? { ...each, sizeBytes: 0 } : each);
const range: fc.Arbitrary<ChunkRange> = fc.record({
  file: fc.nat(0xffff_ffff),
  first: fc.nat(0x7fff_ffff),
  count: fc.integer({ min: 1, max: 0x7fff_ffff }),
}, { noNullPrototype: true });
const bytes32 = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => new Uint8Array(bytes));
const message: fc.Arbitrary<TransferMessage> = fc.oneof(
  fc.record({
    type: fc.constant("offer" as const),
    kind: fc.constantFrom("files" as const, "text" as const),
    entries: fc.integer({ min: 1, max: 0xffff_ffff }),
    totalBytes: fc.maxSafeNat(),
  }, { noNullPrototype: true }),
  fc.array(entry, { minLength: 1, maxLength: 20 }).map((entries) => ({ type: "entries" as const, entries })),
  fc.tuple(fc.array(range), fc.boolean()).map(([ranges, last]) => ({
    type: "want" as const,
    ranges,
    last: last || ranges.length === 0,
  })),
  fc.nat(0xffff_ffff).map((chunk) => ({ type: "data" as const, file: 3, chunk })),
  bytes32.map((hash) => ({ type: "hash" as const, file: 3, hash })),
  fc.maxSafeNat().map((receivedBytes) => ({ type: "heartbeat" as const, receivedBytes })),
  fc.string({ unit: "grapheme", maxLength: 80 }).map((text) => ({
    type: "stop" as const,
    reason: "storage" as const,
    text,
  })),
);

Deno.test("encodeMessage() and decodeMessage() have the bytes of the vectors", () => {
  assert.equal(vectors.messages.length, 18);
  for (const { comment, message, bytes } of vectors.messages) {
    assert.equal(encodeMessage(fromVector(message)).toHex(), bytes, comment);
    assert.deepEqual(decoded(hex(bytes)), fromVector(message), comment);
  }
});

Deno.test("decodeMessage() refuses what the vectors say as malformed", () => {
  assert(vectors.refusals.length > 70);
  for (const { comment, bytes } of vectors.refusals) {
    assert.throws(() => decoded(hex(bytes)), { name: "TransferError", code: "malformed" }, comment);
  }
});

Deno.test("decodeMessage() gives what was encoded, and another implementation reads it too", () => {
  holds(fc.property(message, (message) => {
    const bytes = encodeMessage(message);
    assert.deepEqual(decoded(bytes), message);
    assert.deepEqual(referenceDecode(bytes), message);
  }));
});

Deno.test("decodeMessage() takes the fields of a message in no other order", () => {
  holds(fc.property(message, (message) => {
    fc.pre(Object.keys(message).length > 1);
    const turned = Object.fromEntries(Object.entries(message).toReversed());
    assert.throws(() => decoded(referenceEncode(turned)), { code: "malformed" });
    assert.deepEqual(encodeMessage(turned as unknown as TransferMessage), encodeMessage(message));
  }));
});

/** The message that comes of bytes, as bytes; null if they are refused as malformed, and nothing else may happen. */
function again(bytes: Uint8Array<ArrayBuffer>): Uint8Array | null {
  try {
    return encodeMessage(decoded(bytes));
  } catch (error) {
    assert(error instanceof TransferError && error.code === "malformed", String(error));
    return null;
  }
}

Deno.test("decodeMessage() refuses any bytes as malformed, or gives what encodes to them", () => {
  const noise = fc.uint8Array({ maxLength: 300 });
  const seed = fc.constantFrom(...vectors.messages.map(({ bytes }) => hex(bytes)));
  const damaged = fc.tuple(seed, fc.nat(), fc.nat(255), fc.nat(3)).map(([bytes, at, byte, how]) => {
    const place = at % bytes.length, [before, after] = [bytes.subarray(0, place), bytes.subarray(place + 1)];
    if (how === 0) return new Uint8Array([...before, byte, ...after]);
    if (how === 1) return new Uint8Array([...before, byte, bytes[place] ?? 0, ...after]);
    return new Uint8Array(how === 2 ? [...before, ...after] : before);
  });
  holds(
    fc.property(fc.oneof(noise, damaged), (bytes) => {
      const before = new Uint8Array(bytes), encoded = again(before);
      assert.deepEqual(before, new Uint8Array(bytes), "the reader changed its input");
      assert(encoded === null || encoded.toHex() === before.toHex());
    }),
    { numRuns: 2000 },
  );
});

Deno.test("decodeMessage() needs no more than a moment for the worst of messages", () => {
  const full = (part: string, head = ""): Uint8Array<ArrayBuffer> =>
    hex(
      (head + part.repeat(Math.ceil(MAX_MESSAGE_BYTES / (part.length / 2)))).slice(0, 2 * MAX_MESSAGE_BYTES),
    );
  const wants = "83a474797065a477616e74a672616e676573ddffffffff";
  const worst = [
    full("80", wants),
    full("91"),
    full("81a16180", "ddffffffff"),
    full("81a161", wants),
    full("c0"),
  ];
  const beganMs = performance.now();
  for (const bytes of worst) assert.equal(again(bytes), null);
  assert(performance.now() - beganMs < 2000);
});

Deno.test("decodeMessage() refuses an offer of more than is accepted as limit, and nothing else as that", () => {
  const offer = { type: "offer", kind: "files", entries: 5, totalBytes: 70 } as const;
  const limits = { ...DEFAULT_LIMITS, maxEntries: 5, maxTotalBytes: 70 };
  assert.deepEqual(decodeMessage(encodeMessage(offer), limits), offer);
  for (const excess of [{ ...offer, entries: 6 }, { ...offer, totalBytes: 71 }]) {
    assert.throws(() => decodeMessage(encodeMessage(excess), limits), { code: "limit", side: "here" });
  }
  const bad = encodeMessage({ ...offer, entries: 6 }).map((byte) => byte === 6 ? 0xc0 : byte);
  assert.throws(() => decodeMessage(bad, limits), { code: "malformed" });
});

Deno.test("encodeMessage() and decodeMessage() know messages of 65,536 bytes, and refuse longer ones", () => {
  const entry = { kind: "file", path: "", sizeBytes: 1, modifiedMs: 1, mode: 1 } as const;
  const paths = Array.from({ length: 15 }, () => "p".repeat(MAX_ENTRY_PATH_BYTES));
  const ofPaths = (last: number): TransferMessage => ({
    type: "entries",
    entries: [...paths, "q".repeat(last)].map((path) => ({ ...entry, path })),
  });
  const room = MAX_MESSAGE_BYTES - encodeMessage(ofPaths(300)).length + 300;
  const longest = encodeMessage(ofPaths(room));
  assert.equal(longest.length, MAX_MESSAGE_BYTES);
  assert.deepEqual(decoded(longest), ofPaths(room));
  assert.throws(() => encodeMessage(ofPaths(room + 1)), RangeError);
  const longer = referenceEncode(ofPaths(room + 1));
  assert.equal(longer.length, MAX_MESSAGE_BYTES + 1);
  assert.throws(() => decoded(longer), { code: "malformed" });
});

Deno.test("encodeMessage() refuses a message that no other side would take", () => {
  const stop = { type: "stop", reason: "storage" } as const;
  assert(encodeMessage({ ...stop, text: "x".repeat(MAX_STOP_TEXT_BYTES) }).length > MAX_STOP_TEXT_BYTES);
  const faulty: readonly object[] = [
    { ...stop, text: "x".repeat(MAX_STOP_TEXT_BYTES + 1) },
    { ...stop, text: "\ud800" },
    { ...stop, text: "", more: 1 },
    { type: "done", also: undefined },
    { type: "heartbeat", receivedBytes: 0.5 },
    { type: "nothing" },
    { type: "entries", entries: [] },
  ];
  for (const message of faulty) assert.throws(() => encodeMessage(message as TransferMessage), RangeError);
});

Deno.test("encodeMessage() gives memory that no later call changes", () => {
  const first = encodeMessage({ type: "done" }), copy = first.slice();
  encodeMessage({ type: "heartbeat", receivedBytes: 77 });
  assert.deepEqual(first, copy);
});

Deno.test("entriesMessages() holds every entry in order, in messages that can be sent, and in few of them", () => {
  const worst = (path: string): OfferEntry => ({
    kind: "folder",
    path,
    sizeBytes: 0,
    modifiedMs: 8.64e15,
    mode: 0o777,
  });
  const paths = fc.array(fc.string({ unit: "grapheme", minLength: 1, maxLength: 600, size: "max" }), {
    minLength: 200,
    maxLength: 400,
    size: "max",
  });
  holds(
    fc.property(paths, (paths) => {
      const entries = paths.map(worst);
      const messages = [...entriesMessages(entries)];
      assert.deepEqual(messages.flatMap(({ entries }) => entries), entries);
      const lengths = messages.map((message) => encodeMessage(message).length);
      assert(lengths.slice(0, -1).every((length) => length > MAX_MESSAGE_BYTES / 2));
    }),
    { numRuns: 10 },
  );
  assert.deepEqual([...entriesMessages([])], []);
});

Deno.test("wantMessages() holds every range in order and says which message is the last", () => {
  const counts = [0, 1, 1337, 5000];
  for (const count of counts) {
    const ranges = Array.from({ length: count }, (_, i) => ({
      file: 0xffff_ffff,
      first: 0x8000_0000 + i,
      count: 0x4000_0000,
    }));
    const messages = [...wantMessages(ranges)];
    assert.deepEqual(messages.flatMap(({ ranges }) => ranges), ranges);
    assert.deepEqual(messages.map(({ last }) => last), messages.map((_, i) => i === messages.length - 1));
    assert(messages.every((message) => encodeMessage(message).length <= MAX_MESSAGE_BYTES));
    assert(messages.length <= 1 + count / 1000);
  }
});

import assert from "node:assert/strict";
import fc from "fast-check";
import { CodecError, LONG_BODY_BYTES } from "../../../src/protocol/rpc/codec.ts";
import { FRAME_KINDS } from "../../../src/protocol/rpc/frame.ts";
import { FrameReader } from "../../../src/protocol/rpc/frame_reader.ts";
import { FrameWriter } from "../../../src/protocol/rpc/frame_writer.ts";
import { view } from "../../../src/protocol/rpc/view_codec.ts";
import { ARRAY_TYPES } from "../../../src/protocol/rpc/view_format.ts";
import { holds } from "../../property.ts";
import vectors from "../../vectors/rpc-view.json" with { type: "json" };
import { joined, readAll } from "./byte_stream.ts";

const hex = Uint8Array.fromHex;

function encoded(value: unknown): Uint8Array<ArrayBuffer> {
  const body = view.encode(value);
  assert(typeof body !== "string" || body === "");
  return joined(body === "" ? [] : body as readonly Uint8Array[]);
}

type Tagged = {
  readonly type: string;
  readonly value?: unknown;
  readonly fields?: Readonly<Record<string, Tagged>>;
};

/** The value that a vector describes. */
function valueOf({ type, value, fields }: Tagged): unknown {
  switch (type) {
    case "undefined":
      return undefined;
    case "null":
      return null;
    case "false":
    case "true":
      return type === "true";
    case "bigint":
      return BigInt(value as string);
    case "record":
      return Object.fromEntries(Object.entries(fields ?? {}).map(([name, field]) => [name, valueOf(field)]));
    case "number":
    case "text":
      return value;
    case "BigUint64Array":
      return BigUint64Array.from(value as string[], BigInt);
    case "BigInt64Array":
      return BigInt64Array.from(value as string[], BigInt);
    default: {
      const elements = value as number[],
        array = ARRAY_TYPES[type]?.make(new ArrayBuffer(64), 0, elements.length);
      assert(array !== undefined, type);
      for (const [i, element] of elements.entries()) array[i] = element;
      return array;
    }
  }
}

const arraySize = fc.oneof({ weight: 8, arbitrary: fc.nat(40) }, {
  weight: 1,
  arbitrary: fc.constantFrom(4096, 8190, 16_383, 16_384, 20_000),
});
/** Arrays of every class, somewhere within their buffers. */
const anyArray = fc.tuple(fc.constantFrom(...Object.values(ARRAY_TYPES)), arraySize, fc.nat(3), fc.nat(255))
  .map(([type, bytes, skipped, fill]) => {
    const from = skipped * type.elementBytes, length = Math.floor(bytes / type.elementBytes);
    const buffer = new ArrayBuffer(from + length * type.elementBytes + 5);
    new Uint8Array(buffer).forEach((_, i, all) => all[i] = fill + i & 0x3f);
    return type.make(buffer, from, length);
  });
const anyField = fc.oneof(
  fc.constant(null),
  fc.boolean(),
  fc.double(),
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 64n - 1n }),
  fc.string({ unit: "grapheme" }),
  fc.nat(9000).map((length) => "a€".repeat(length / 2)),
  anyArray,
);
const fieldName = fc.stringMatching(/^[A-Za-z_$][A-Za-z0-9_$]{0,20}$/).filter((name) => name !== "__proto__");
const anyValue = fc.oneof(
  fc.constant(undefined),
  anyField,
  fc.dictionary(fieldName, anyField, { maxKeys: 8, noNullPrototype: true }),
);

Deno.test("viewCodec() writes and reads the bytes of the vectors", () => {
  assert(vectors.values.length > 20);
  for (const { comment, value, bytes } of vectors.values) {
    assert.equal(encoded(valueOf(value as Tagged)).toHex(), bytes, comment);
    assert.deepEqual(view.decode(hex(bytes)), valueOf(value as Tagged), comment);
  }
});

Deno.test("viewCodec() refuses what the vectors say", () => {
  assert(vectors.refusals.length > 25);
  for (const { comment, bytes } of vectors.refusals) {
    assert.throws(() => view.decode(hex(bytes)), CodecError, comment);
  }
});

Deno.test("viewCodec() gives back every value through frames, and its bytes again", () => {
  holds(fc.property(fc.array(anyValue, { maxLength: 4 }), (values) => {
    const writer = new FrameWriter({ maxBodyBytes: 2 ** 20 });
    for (const value of values) writer.add(FRAME_KINDS.item, 0, 1, 0, view.encode(value));
    const found: unknown[] = [];
    readAll(joined(writer.take()), [1000, 70_000], { maxBodyBytes: 2 ** 20 }, (frame, reader) => {
      const body = frame.body.slice();
      const value = view.decode(reader.hold().body);
      assert.deepEqual(encoded(value), body);
      found.push(value);
      return { kind: 0, method: 0, id: 0, value: 0, body: "" };
    });
    assert.deepEqual(found, values);
  }));
});

Deno.test("viewCodec() gives arrays that lie in the body, which are empty once it is released", () => {
  const pixels = new Float32Array(100_000).fill(0.5);
  const writer = new FrameWriter({ maxBodyBytes: 2 ** 20 });
  const body = view.encode({ width: 10, pixels });
  assert(
    (body as readonly Uint8Array[]).some((part) => part.buffer === pixels.buffer),
    "not copied when written",
  );
  writer.add(FRAME_KINDS.call, 0, 1, 0, body);
  const reader = new FrameReader({ maxBodyBytes: 2 ** 20 });
  const wire = joined(writer.take());
  for (let at = 0; at < wire.length;) {
    const space = reader.space(), count = Math.min(space.length, wire.length - at);
    space.set(wire.subarray(at, at + count));
    reader.filled(count);
    at += count;
    const frame = reader.next();
    if (frame === null) continue;
    const held = reader.hold();
    const value = view.decode(held.body) as { pixels: Float32Array };
    assert.equal(value.pixels.buffer, held.body.buffer);
    assert.deepEqual(value.pixels, pixels);
    held.release();
    assert.equal(value.pixels.length, 0);
    return;
  }
  assert.fail("the frame did not arrive");
});

Deno.test("viewCodec() keeps the order of fields, and leaves those out that are undefined", () => {
  const value = { z: 1, a: undefined, b: "x" };
  assert.deepEqual(Object.entries(view.decode(encoded(value)) as object), [["z", 1], ["b", "x"]]);
  assert.deepEqual(view.decode(encoded({ a: undefined })), {});
});

Deno.test("viewCodec() copies memory that others could change while it is written", () => {
  const shared = new Uint8Array(new SharedArrayBuffer(LONG_BODY_BYTES)).fill(1);
  const resizable = new Uint8Array(new ArrayBuffer(LONG_BODY_BYTES, { maxByteLength: 2 * LONG_BODY_BYTES }))
    .fill(1);
  for (const array of [shared, resizable]) {
    const parts = view.encode(array) as readonly Uint8Array[];
    array.fill(2);
    assert(view.decode(joined(parts)) instanceof Uint8Array);
    assert(!joined(parts).includes(2));
  }
});

Deno.test("viewCodec() refuses values that it has no form for", () => {
  const released = new Uint8Array(8);
  released.buffer.transfer();
  const many = Object.fromEntries(Array.from({ length: 257 }, (_, i) => [`f${i}`, 1]));
  const refused = [
    [],
    [1],
    { a: {} },
    { a: [] },
    { 1: 2 },
    { "a b": 1 },
    { é: 1 },
    JSON.parse('{"__proto__":1}'),
    many,
  ];
  const alsoRefused = [
    2n ** 64n,
    -(2n ** 63n) - 1n,
    new Map(),
    new Date(),
    new ArrayBuffer(1),
    new DataView(new ArrayBuffer(1)),
  ];
  for (const value of [...refused, ...alsoRefused, released, { a: released }, (): void => {}, Symbol("a")]) {
    assert.throws(() => view.encode(value), CodecError);
  }
  assert.throws(() => view.encode({ ["a".repeat(65)]: 1 }), CodecError);
  const fits = Object.fromEntries(Array.from({ length: 256 }, (_, i) => [`f${i}`, i]));
  assert.deepEqual(view.decode(encoded(fits)), fits);
});

Deno.test("viewCodec() writes records of many fields that are long together", () => {
  const value = Object.fromEntries(
    Array.from(
      { length: 256 },
      (_, i) => [`f${i}`, i % 2 === 0 ? `${i}`.repeat(100) : new Uint8Array(300).fill(i)],
    ),
  );
  assert.deepEqual(view.decode(encoded(value)), value);
});

import { decode as referenceDecode, encode as referenceEncode } from "@msgpack/msgpack";
import assert from "node:assert/strict";
import fc from "fast-check";
import { CodecError, LONG_BODY_BYTES, MAX_DEPTH } from "../../../src/protocol/rpc/codec.ts";
import { messagePack, messagePackOfCopied } from "../../../src/protocol/rpc/messagepack_codec.ts";
import { holds } from "../../property.ts";
import vectors from "../../vectors/rpc-messagepack.json" with { type: "json" };

const hex = Uint8Array.fromHex;

/** A copy, as whoever gets the bytes makes one of those that are short. */
function encoded(value: unknown): Uint8Array<ArrayBuffer> {
  const bytes = messagePack.encode(value);
  assert(bytes instanceof Uint8Array);
  return new Uint8Array(bytes);
}

const scalar = fc.oneof(
  fc.constant(null),
  fc.boolean(),
  fc.integer({ min: -0x80000000, max: 0xffffffff }),
  fc.constantFrom(
    ...[0, 5, 7, 8, 15, 16, 31, 32].flatMap((
      bits,
    ) => [2 ** bits, 2 ** bits - 1, -(2 ** bits), -(2 ** bits) - 1]),
  ),
  fc.double().map((number) => number === 0 ? 0 : number), // the other implementation loses -0
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 64n - 1n }),
  fc.string({ unit: "grapheme", maxLength: 300 }),
  fc.uint8Array({ maxLength: 300 }),
  fc.date({ noInvalidDate: true }),
);
const anyValue = fc.letrec((tie) => ({
  value: fc.oneof(
    { weight: 3, arbitrary: scalar },
    { weight: 1, arbitrary: fc.array(tie("value"), { maxLength: 20 }) },
    {
      weight: 1,
      arbitrary: fc.dictionary(fc.string().filter((key) => key !== "__proto__"), tie("value"), {
        maxKeys: 20,
        noNullPrototype: true,
      }),
    },
  ),
})).value;

Deno.test("messagePackCodec() writes and reads the bytes of the vectors", () => {
  assert(vectors.values.length > 25);
  for (const { comment, value, bytes } of vectors.values) {
    assert.equal(encoded(value).toHex(), bytes, comment);
    assert.deepEqual(messagePack.decode(hex(bytes)), value, comment);
  }
});

Deno.test("messagePackCodec() refuses what the vectors say", () => {
  assert(vectors.refusals.length > 15);
  for (const { comment, bytes } of vectors.refusals) {
    assert.throws(() => messagePack.decode(hex(bytes)), CodecError, comment);
  }
});

Deno.test("messagePackCodec() writes what another implementation writes, and each reads the other", () => {
  holds(fc.property(anyValue, (value) => {
    const bytes = encoded(value);
    const reference = referenceEncode(value, { useBigInt64: true, maxDepth: 100 });
    assert.equal(bytes.toHex(), reference.toHex());
    assert.deepEqual(messagePack.decode(bytes), value);
    assert.deepEqual(referenceDecode(bytes, { useBigInt64: true }), value);
  }));
});

Deno.test("messagePackCodec() gives back undefined, and leaves undefined properties out as JSON does", () => {
  assert.equal(messagePack.encode(undefined), "");
  assert.equal(messagePack.decode(new Uint8Array(0)), undefined);
  assert.deepEqual(messagePack.decode(encoded({ a: undefined, b: [undefined] })), { b: [null] });
});

Deno.test("messagePackCodec() keeps -0, and reads floats of 32 bits", () => {
  assert(Object.is(messagePack.decode(encoded(-0)), -0));
  assert.equal(messagePack.decode(hex("ca3fc00000")), 1.5);
});

Deno.test("messagePackCodec() takes 64 arrays and maps inside one another, both ways, and no more", () => {
  let value: unknown = null;
  for (let depth = 0; depth < MAX_DEPTH; depth++) value = depth % 2 === 0 ? [value] : { a: value };
  assert.deepEqual(messagePack.decode(encoded(value)), value);
  assert.throws(() => messagePack.encode([value]), CodecError);
  assert.throws(() => messagePack.decode(new Uint8Array(4_000_000).fill(0x91)), CodecError);
});

Deno.test("messagePackCodec() copies binary data out of the body", () => {
  const body = encoded([Uint8Array.of(1, 2, 3)]);
  const [data] = messagePack.decode(body) as [Uint8Array];
  body.fill(9);
  assert.deepEqual(data, Uint8Array.of(1, 2, 3));
  assert.equal(data.buffer.byteLength, 3);
});

Deno.test("messagePackCodec() gives long bodies away and writes the next value elsewhere", () => {
  const long = messagePack.encode("a".repeat(LONG_BODY_BYTES)), before = new Uint8Array(long as Uint8Array);
  messagePack.encode("b".repeat(LONG_BODY_BYTES));
  messagePack.encode("b".repeat(100));
  assert.deepEqual(new Uint8Array(long as Uint8Array), before);
  assert.equal(messagePack.decode(before), "a".repeat(LONG_BODY_BYTES));
});

Deno.test("messagePackCodec() writes a value whose getter writes another one", () => {
  const value = {
    get a(): number {
      messagePack.encode("something else");
      return 1;
    },
    b: "c",
  };
  assert.deepEqual(messagePack.decode(encoded(["x", value])), ["x", { a: 1, b: "c" }]);
});

Deno.test("messagePackCodec() refuses values that it has no form for", () => {
  const circle: unknown[] = [];
  circle.push(circle);
  const failing = {
    get a(): never {
      throw new Error("no");
    },
  };
  const refused = [
    2n ** 64n,
    -(2n ** 63n) - 1n,
    circle,
    (): void => {},
    Symbol("a"),
    new Map(),
    new Set(),
    failing,
  ];
  const alsoRefused = [
    new Date(NaN),
    new Float64Array(1),
    new ArrayBuffer(1),
    /a/,
    JSON.parse('{"__proto__":1}'),
  ];
  for (const value of [...refused, ...alsoRefused]) {
    assert.throws(() => messagePack.encode(value), CodecError);
    assert.deepEqual(messagePack.decode(encoded(1)), 1, "and goes on");
  }
});

Deno.test("messagePackCodec() refuses keys that are no UTF-8, whatever keys it has read before", () => {
  for (let code = 0x80; code <= 0xff; code++) {
    messagePack.decode(encoded({ [String.fromCharCode(code)]: 1 }));
    for (let byte = 0x80; byte <= 0xff; byte++) {
      assert.throws(() => messagePack.decode(Uint8Array.of(0x81, 0xa1, byte, 1)), CodecError);
    }
  }
});

Deno.test("messagePackOfCopied writes what messagePack writes, and does not copy long bytes", () => {
  for (const length of [0, 1, LONG_BODY_BYTES - 1, LONG_BODY_BYTES, 0xffff, 0x10000, 200_000]) {
    const value = new Uint8Array(length).fill(7), body = messagePackOfCopied.encode(value);
    const parts = Array.isArray(body) ? body as readonly Uint8Array[] : null;
    assert.equal(parts !== null, length >= LONG_BODY_BYTES);
    assert.equal(parts?.[1]?.buffer ?? value.buffer, value.buffer);
    const written = parts === null ? body : new Uint8Array(parts.flatMap((part) => [...part]));
    assert.deepEqual(written, messagePack.encode(value), `${length} bytes`);
  }
  assert.deepEqual(messagePackOfCopied.encode({ a: 1 }), messagePack.encode({ a: 1 }));
});

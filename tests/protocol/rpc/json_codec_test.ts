import assert from "node:assert/strict";
import fc from "fast-check";
import { CodecError, MAX_DEPTH } from "../../../src/protocol/rpc/codec.ts";
import { json } from "../../../src/protocol/rpc/json_codec.ts";
import { holds } from "../../property.ts";
import vectors from "../../vectors/rpc-json-refusals.json" with { type: "json" };

const encoder = new TextEncoder();

function roundTrip(value: unknown): unknown {
  return json.decode(bytesOf(value));
}

function bytesOf(value: unknown): Uint8Array<ArrayBuffer> {
  const text = json.encode(value);
  assert(typeof text === "string");
  return encoder.encode(text);
}

function nested(depth: number): unknown {
  return Array.from({ length: depth }).reduce<unknown>(
    (inner, _, i) => i % 2 === 0 ? [inner] : { a: inner },
    null,
  );
}

Deno.test("jsonCodec() gives back every JSON value, and undefined", () => {
  assert.equal(roundTrip(undefined), undefined);
  assert.equal(json.encode(undefined), "");
  const values = fc.jsonValue({ maxDepth: 6, stringUnit: "binary" });
  const allowed = values.filter((value) => !JSON.stringify(value).includes("__proto__"));
  holds(fc.property(allowed, (value) => {
    const plain = JSON.parse(JSON.stringify(value));
    assert.deepEqual(roundTrip(value), plain);
  }));
});

Deno.test("jsonCodec() refuses what the vectors say", () => {
  assert(vectors.texts.length > 10 && vectors.bytes.length > 4);
  for (const text of vectors.texts) {
    assert.throws(() => json.decode(encoder.encode(text)), CodecError, text.slice(0, 80));
  }
  for (const bytes of vectors.bytes) {
    assert.throws(() => json.decode(Uint8Array.fromHex(bytes)), CodecError, bytes);
  }
});

Deno.test("jsonCodec() takes 64 arrays and objects inside one another, both ways, and no more", () => {
  assert.deepEqual(roundTrip(nested(MAX_DEPTH)), nested(MAX_DEPTH));
  assert.throws(() => json.encode(nested(MAX_DEPTH + 1)), CodecError);
  assert.throws(() => json.decode(encoder.encode(JSON.stringify(nested(MAX_DEPTH + 1)))), CodecError);
  const wide = Array.from({ length: 200 }, () => ({ a: [] }));
  assert.deepEqual(roundTrip(wide), wide, "many brackets that are not deep");
});

Deno.test("jsonCodec() refuses what would arrive as a plain object without a word, wherever it lies", () => {
  const lossy = [
    Uint8Array.of(1),
    new Float64Array(),
    new DataView(new ArrayBuffer(1)),
    new ArrayBuffer(2),
    new Map([[1, 2]]),
    new Set([1]),
  ];
  for (const value of lossy) {
    for (const around of [value, [{}, value], { a: { b: [value] } }]) {
      assert.throws(() => json.encode(around), CodecError);
    }
  }
  const kept = [{}, [{}], { 0: 1 }, { a: "{}" }, new Date(0), { toJSON: (): string => "{}", bytes: lossy }];
  for (const value of kept) assert.deepEqual(roundTrip(value), JSON.parse(JSON.stringify(value)));
});

Deno.test("jsonCodec() counts no brackets inside of texts", () => {
  const pieces = fc.array(fc.constantFrom("[", "{", '"', "\\", "]", "a", "\\\\", '\\"'), { maxLength: 200 });
  holds(fc.property(pieces, pieces, (one, other) => {
    const value = { [`k${one.join("")}`]: [other.join(""), "[".repeat(100), { b: one }] };
    assert.deepEqual(roundTrip(value), value);
  }));
});

Deno.test("jsonCodec() refuses the key __proto__ both ways, and takes it as a text", () => {
  assert.throws(() => json.encode(JSON.parse('{"a":[{"__proto__":1}]}')), CodecError);
  for (
    const value of ["__proto__", '"__proto__":', { 'a"__proto__': "__proto__" }, {
      a: "\u001b__proto__\\u005f",
    }]
  ) {
    assert.deepEqual(roundTrip(value), value);
  }
});

Deno.test("jsonCodec() repeats nothing of what it cannot read, in no error that led to another", () => {
  for (
    const text of ["[1234,x]", "1234 no JSON", '{"pin":1234x}', '{"pin":"1234", __proto__}', '["1234\\u0000']
  ) {
    assert.throws(() => json.decode(encoder.encode(text)), (error) => {
      assert.ok(error instanceof CodecError);
      assert.ok(!Deno.inspect(error, { depth: 10 }).includes("1234"));
      return true;
    });
  }
});

Deno.test("jsonCodec() refuses values that JSON has no form for", () => {
  const circle: unknown[] = [];
  circle.push(circle);
  for (const value of [1n, circle, (): void => {}, Symbol("a"), { toJSON: (): never => assert.fail() }]) {
    assert.throws(() => json.encode(value), CodecError);
  }
});

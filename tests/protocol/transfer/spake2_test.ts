import assert from "node:assert/strict";
import { ed25519 } from "@noble/curves/ed25519.js";
import { hkdf } from "@noble/hashes/hkdf.js";
import { sha256 } from "@noble/hashes/sha2.js";
import fc from "fast-check";
import { Spake2, SPAKE2_MESSAGE_BYTES, Spake2Error } from "../../../src/protocol/transfer/spake2.ts";
import { type RandomBytes, systemRandomBytes } from "../../../src/protocol/rpc/timers.ts";
import { holds } from "../../property.ts";
import vectors from "../../vectors/transfer-spake2.json" with { type: "json" };

type Side = (typeof vectors.exchanges)[number]["a"];

const bytesOf = (hex: string): Uint8Array<ArrayBuffer> => Uint8Array.fromHex(hex);
const textBytes = (text: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(text);
/** Draws these bytes, once. */
function drawing(hex: string): RandomBytes {
  const bytes = bytesOf(hex);
  return (length) => {
    assert.equal(length, bytes.length);
    return bytes;
  };
}

function sideOf({ password, idSymmetric, entropy }: Side): Spake2 {
  return new Spake2(bytesOf(password), bytesOf(idSymmetric), drawing(entropy));
}

/** A side of its own for each message, since it takes one only. */
function fresh(): Spake2 {
  return new Spake2(textBytes("password"), textBytes("id"), systemRandomBytes);
}

function refusal(act: () => void): string {
  try {
    act();
  } catch (error) {
    if (error instanceof Spake2Error) return error.refusal;
    throw error;
  }
  return "none";
}

for (const { name, a, b } of vectors.exchanges) {
  Deno.test(`Spake2 says and finds what python-spake2 does: ${name}`, () => {
    const sides = [sideOf(a), sideOf(b)] as const;
    assert.deepEqual(sides.map(({ message }) => message.toHex()), [a.message, b.message]);
    assert.equal(sides[0].finish(bytesOf(b.message)).toHex(), a.key);
    assert.equal(sides[1].finish(bytesOf(a.message)).toHex(), b.key);
  });
}

Deno.test("the vectors of SPAKE2 have equal keys exactly where passwords and ids are equal, and both orders", () => {
  for (const { name, a, b } of vectors.exchanges) {
    const same = a.password === b.password && a.idSymmetric === b.idSymmetric;
    assert.equal(a.key === b.key, same, name);
  }
  const aIsFirst = new Set(vectors.exchanges.map(({ a, b }) => a.message < b.message));
  assert.equal(aIsFirst.size, 2);
  assert.equal(vectors.exchanges.length, 6);
});

Deno.test("Spake2.finish() gives a key also if nothing but the neutral element is left, as python-spake2 does", () => {
  const { neutral } = vectors;
  const side = sideOf(neutral);
  assert.equal(side.message.toHex(), neutral.message);
  assert.equal(side.finish(bytesOf(neutral.theirs)).toHex(), neutral.key);
});

Deno.test("Spake2.finish() refuses every element of low order, with a part of it, or in another encoding", () => {
  const names = vectors.refusals.map(({ name }) => name);
  assert.equal(names.filter((name) => name.startsWith("low order")).length, 8);
  assert.equal(names.filter((name) => name.startsWith("an element with a part")).length, 7);
  assert(names.filter((name) => name.startsWith("not canonical")).length > 6);
  assert(names.filter((name) => name.startsWith("not on the curve")).length > 3);
  for (const { name, message } of vectors.refusals) {
    assert.equal(refusal(() => fresh().finish(bytesOf(message))), "malformed", name);
  }
});

Deno.test("Spake2.finish() refuses its own message, and nothing else for that reason", () => {
  const side = fresh();
  assert.equal(refusal(() => side.finish(side.message)), "reflected");
  const other = fresh();
  assert.equal(refusal(() => other.finish(fresh().message)), "none");
});

Deno.test("Spake2.finish() works once", () => {
  const side = fresh();
  side.finish(fresh().message);
  assert.throws(() => side.finish(fresh().message), TypeError);
  const refused = fresh();
  assert.equal(refusal(() => refused.finish(new Uint8Array(0))), "malformed");
  assert.throws(() => refused.finish(fresh().message), TypeError);
});

Deno.test("Spake2 agrees on a key for any password and id, and on none for two of them", () => {
  const bytes = fc.uint8Array({ maxLength: 40 });
  holds(
    fc.property(bytes, bytes, bytes, (password, id, other) => {
      const [a, b] = [password, password].map((each) => new Spake2(each, id, systemRandomBytes)) as [
        Spake2,
        Spake2,
      ];
      assert.equal(a.message.length, SPAKE2_MESSAGE_BYTES);
      assert.notDeepEqual(a.message, b.message);
      const key = a.finish(b.message);
      assert.deepEqual(b.finish(a.message), key);
      const c = new Spake2(password, Uint8Array.from([...id, ...other, 0]), systemRandomBytes);
      const d = new Spake2(Uint8Array.from([...password, 0]), id, systemRandomBytes);
      const e = new Spake2(password, id, systemRandomBytes);
      assert.notDeepEqual(c.finish(e.message), e.finish(c.message));
      const f = new Spake2(password, id, systemRandomBytes);
      assert.notDeepEqual(d.finish(f.message), f.finish(d.message));
    }),
    { numRuns: 15 },
  );
});

Deno.test("Spake2.finish() takes any 32 bytes as an element of the group, or refuses them as malformed", () => {
  const { Point } = ed25519;
  holds(
    fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), (bytes) => {
      const found = refusal(() => fresh().finish(Uint8Array.of(0x53, ...bytes)));
      assert(found === "malformed" || found === "none");
      if (found === "malformed") return;
      const element = Point.fromBytes(bytes);
      assert.deepEqual(element.toBytes(), bytes);
      assert(element.isTorsionFree() && !element.is0());
    }),
    { numRuns: 40 },
  );
});

Deno.test("a Spake2Error names no byte of what was refused", () => {
  const message = Uint8Array.of(0x53, ...new Uint8Array(32).fill(0xab));
  assert.throws(() => fresh().finish(message), (error: unknown) => {
    assert(error instanceof Spake2Error);
    assert.equal(error.name, "Spake2Error");
    return /^cannot take a message of SPAKE2: found [a-z ]+$/.test(error.message);
  });
});

/** `arbitrary_element` of python-spake2. That the code uses this element is shown by every vector. */
Deno.test('the element that blinds is the word "symmetric" hashed to the curve, so nobody knows its logarithm', () => {
  const { Point } = ed25519;
  const info = textBytes("SPAKE2 arbitrary element");
  const hash = hkdf(sha256, textBytes("symmetric"), undefined, info, 32 + 16);
  let y = BigInt(`0x${hash.toHex()}`) % Point.Fp.ORDER;
  while (!isOnCurve(y)) y++;
  assert.equal(Point.fromBytes(Point.Fp.toBytes(y)).clearCofactor().toHex(), vectors.blinding);
});

function isOnCurve(y: bigint): boolean {
  const { Fp } = ed25519.Point;
  const y2 = Fp.sqr(y);
  const x2 = Fp.div(Fp.sub(y2, Fp.ONE), Fp.add(Fp.mul(ed25519.Point.CURVE().d, y2), Fp.ONE));
  return Fp.pow(x2, (Fp.ORDER - 1n) / 2n) === Fp.ONE;
}

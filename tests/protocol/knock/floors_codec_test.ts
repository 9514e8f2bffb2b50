import assert from "node:assert/strict";
import { decode } from "@msgpack/msgpack";
import fc from "fast-check";
import { decodeFloors, encodeFloors, FloorsCodecError } from "../../../src/protocol/knock/floors_codec.ts";
import vectors from "../../vectors/floors-v1.json" with { type: "json" };
import { holds } from "../../property.ts";
import { MAX_U128, MAX_U64, u128, u64 } from "./arbitraries.ts";

type Entry = readonly [keyId: bigint, floor: bigint];

function entriesOf(floors: readonly string[][]): Entry[] {
  return floors.map(([keyId, floor]) => [BigInt(`0x${keyId}`), BigInt(floor ?? "")]);
}

function isRefused(bytes: Uint8Array): boolean {
  try {
    decodeFloors(bytes);
    return false;
  } catch (error) {
    assert(error instanceof FloorsCodecError, `threw ${error}`);
    assert.equal(error.name, "FloorsCodecError");
    return true;
  }
}

/** Reads a floors file with the general MessagePack library. */
function decodeByLibrary(bytes: Uint8Array): Entry[] {
  const [map] = decode(bytes, {
    mapKeyConverter: (key) => (key as number[]).map((byte) => byte.toString(16).padStart(2, "0")).join(""),
  }) as [Record<string, Uint8Array>];
  return Object.entries(map).map(([keyId, floor]) => [BigInt(`0x${keyId}`), BigInt(`0x${floor.toHex()}`)]);
}

function floorsMap(): fc.Arbitrary<Map<bigint, bigint>> {
  return fc.array(fc.tuple(u64(), u128()), { maxLength: 40 }).map((entries) => new Map(entries));
}

Deno.test("each floors vector is read, and written to the same bytes", () => {
  assert(vectors.files.length >= 10);
  for (const { comment, floors, bytes } of vectors.files) {
    const decoded = decodeFloors(Uint8Array.fromHex(bytes));
    assert.deepEqual([...decoded], entriesOf(floors), comment);
    assert.equal(encodeFloors(decoded).toHex(), bytes, comment);
  }
});

Deno.test("each floors refusal vector is refused", () => {
  assert(vectors.refusals.length >= 30);
  for (const { comment, bytes } of vectors.refusals) {
    assert(isRefused(Uint8Array.fromHex(bytes)), comment);
  }
});

Deno.test("encodeFloors() writes what can be checked by hand", () => {
  assert.equal(
    encodeFloors(new Map([[0x01ff007f80020304n, 0x1234n]])).toHex(),
    "91" + "81" + "98" + "01" + "ccff" + "00" + "7f" + "cc80" + "02" + "03" + "04" + "c410" +
      "00".repeat(14) + "1234",
  );
});

Deno.test("decodeFloors() reads back any floors, in their order", () => {
  holds(fc.property(floorsMap(), (floors) => {
    assert.deepEqual([...decodeFloors(encodeFloors(floors))], [...floors]);
  }));
});

Deno.test("a MessagePack library reads the same floors from what encodeFloors() writes", () => {
  holds(fc.property(floorsMap(), (floors) => {
    assert.deepEqual(new Map(decodeByLibrary(encodeFloors(floors))), floors);
  }));
});

Deno.test("the map's head has the shortest form around each of its limits", () => {
  const heads = [[0, "80"], [15, "8f"], [16, "de0010"], [65535, "deffff"], [65536, "df00010000"]] as const;
  for (const [entries, head] of heads) {
    const floors = new Map(Array.from({ length: entries }, (_, i) => [BigInt(i), MAX_U128 - BigInt(i)]));
    const bytes = encodeFloors(floors);
    assert.equal(bytes.subarray(1, 1 + head.length / 2).toHex(), head);
    assert.deepEqual(decodeFloors(bytes), floors);
  }
});

Deno.test("decodeFloors() refuses a file that is cut off at any byte, or goes on", () => {
  const bytes = encodeFloors(new Map([[1n, 2n], [MAX_U64, MAX_U128]]));
  for (let length = 0; length < bytes.length; length++) {
    assert(isRefused(bytes.subarray(0, length)), `${length} bytes`);
  }
  assert(isRefused(Uint8Array.from([...bytes, 0])));
  assert(!isRefused(bytes));
});

Deno.test("decodeFloors() reads within a larger buffer", () => {
  const bytes = encodeFloors(new Map([[1n, 2n]]));
  const buffer = new Uint8Array(bytes.length + 9).fill(0xee);
  buffer.set(bytes, 5);
  assert.deepEqual(decodeFloors(buffer.subarray(5, 5 + bytes.length)), new Map([[1n, 2n]]));
});

Deno.test("decodeFloors() refuses, or writes the same bytes again, whatever is changed in a file", () => {
  const changes = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 4 });
  holds(
    fc.property(floorsMap(), changes, fc.nat(60), (floors, bytesAt, cut) => {
      const bytes = encodeFloors(floors);
      for (const [at, byte] of bytesAt) {
        bytes.set([byte], at % bytes.length);
      }
      const file = cut < bytes.length / 2 ? bytes : bytes.subarray(0, cut);
      assert(isRefused(file) || encodeFloors(decodeFloors(file)).toHex() === file.toHex());
    }),
    { numRuns: 2000 },
  );
});

Deno.test("decodeFloors() refuses, or writes the same bytes again, for any bytes", () => {
  const head = fc.constantFrom([], [0x91], [0x91, 0x81], [0x91, 0x81, 0x98], [0x91, 0xde], [
    0x91,
    0xdf,
    0xff,
  ]);
  holds(
    fc.property(head, fc.uint8Array({ maxLength: 100 }), (start, rest) => {
      const file = Uint8Array.from([...start, ...rest]);
      assert(isRefused(file) || encodeFloors(decodeFloors(file)).toHex() === file.toHex());
    }),
    { numRuns: 1000 },
  );
});

Deno.test("encodeFloors() refuses numbers that its fields cannot hold", () => {
  for (const [keyId, floor] of [[-1n, 0n], [MAX_U64 + 1n, 0n], [0n, -1n], [0n, MAX_U128 + 1n]] as const) {
    assert.throws(() => encodeFloors(new Map([[keyId, floor]])), FloorsCodecError);
  }
});

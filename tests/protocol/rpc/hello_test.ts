import assert from "node:assert/strict";
import fc from "fast-check";
import { HandshakeRefusal } from "../../../src/protocol/rpc/handshake_frame.ts";
import type { HandshakeMode } from "../../../src/protocol/rpc/handshake_policy.ts";
import {
  encodeHello,
  type Hello,
  HELLO_BYTES,
  parseHello,
  type Role,
} from "../../../src/protocol/rpc/hello.ts";
import { holds } from "../../property.ts";

const u32 = fc.integer({ min: 0, max: 0xffff_ffff });
const bytes32 = fc.uint8Array({ minLength: 32, maxLength: 32 });
const text = fc.stringMatching(/^[\x21-\x7e]{0,64}$/);
/** A hash of zeros says that there is none, and no contract has it. */
const hash = fc.option(bytes32.filter((bytes) => bytes.some((byte) => byte !== 0)));
const hellos: fc.Arbitrary<Hello> = fc.record({
  mode: fc.constantFrom<HandshakeMode>("none", "version-only", "hmac", "signed-process"),
  role: fc.constantFrom<Role>("dialler", "listener"),
  confidential: fc.boolean(),
  told: fc.record({ maxBodyBytes: u32, maxConcurrentCalls: u32, streamWindowBytes: u32 }, {
    noNullPrototype: true,
  }),
  codecId: fc.stringMatching(/^[a-z0-9.-]{1,16}$/),
  serves: hash,
  calls: hash,
  service: text,
  applicationVersion: text,
  nonce: bytes32,
}, { noNullPrototype: true });

Deno.test("parseHello() gives back what encodeHello() was given", () => {
  holds(fc.property(hellos, (hello) => {
    assert.deepEqual(parseHello(encodeHello(hello)), hello);
  }));
});

Deno.test("parseHello() refuses, or encodeHello() writes the same bytes, when bytes of a hello are changed", () => {
  let read = 0, refused = 0;
  const changes = fc.array(fc.tuple(fc.nat(HELLO_BYTES - 1), fc.nat(255)), { minLength: 1, maxLength: 3 });
  holds(
    fc.property(hellos, changes, (hello, changed) => {
      const bytes = encodeHello(hello);
      for (const [at, byte] of changed) bytes[at] = byte;
      const again = parsedOrNull(bytes);
      if (again === null) refused++;
      else {
        read++;
        assert.deepEqual(encodeHello(again), bytes);
      }
    }),
    { numRuns: 2000 },
  );
  assert.ok(read > 100 && refused > 100, `${read} read, ${refused} refused`);
});

Deno.test("parseHello() refuses any bytes that are no hello, and nothing but a HandshakeRefusal is thrown", () => {
  holds(fc.property(fc.uint8Array({ maxLength: 600 }), (bytes) => {
    assert.equal(parsedOrNull(bytes), null);
  }));
});

const hello: Hello = {
  mode: "hmac",
  role: "dialler",
  confidential: false,
  told: { maxBodyBytes: 1, maxConcurrentCalls: 2, streamWindowBytes: 3 },
  codecId: "json",
  serves: new Uint8Array(32).fill(1),
  calls: null,
  service: "MATH",
  applicationVersion: "1",
  nonce: new Uint8Array(32).fill(9),
};

const spoiled: readonly (readonly [string, number, number])[] = [
  ["the magic", 0, 0x51],
  ["the last letter of the magic", 7, 0x63],
  ["the mode", 9, 4],
  ["the role of nobody", 10, 0],
  ["a third role", 10, 3],
  ["confidential", 11, 2],
  ["an empty codec id", 24, 0],
  ["a capital in the codec id", 24, 0x4a],
  ["something behind the end of the codec id", 39, 0x61],
  ["a space in the service", 105, 0x20],
  ["a control character in the service", 105, 0x1b],
  ["a byte that is no ASCII in the service", 105, 0x80],
  ["a zero in the middle of the service", 105, 0],
  ["something behind the end of the service", 167, 0x61],
  ["a zero at the beginning of the service", 104, 0],
  ["something behind the end of the application version", 231, 0x61],
];
for (const [name, at, byte] of spoiled) {
  Deno.test(`parseHello() refuses ${name} as handshake_malformed`, () => {
    const bytes = encodeHello(hello);
    bytes[at] = byte;
    assert.throws(() => parseHello(bytes), { name: "HandshakeRefusal", reason: "handshake_malformed" });
  });
}

for (const length of [0, 7, 8, HELLO_BYTES - 1, HELLO_BYTES + 1, 512]) {
  Deno.test(`parseHello() refuses a hello of ${length} bytes as handshake_malformed`, () => {
    const bytes = new Uint8Array(length);
    bytes.set(encodeHello(hello).subarray(0, length));
    assert.throws(() => parseHello(bytes), { reason: "handshake_malformed" });
  });
}

Deno.test("parseHello() knows another version before anything else of it, its length included", () => {
  for (const [version, length] of [[0, HELLO_BYTES], [2, HELLO_BYTES], [2, 9], [255, 512]] as const) {
    const bytes = new Uint8Array(length).fill(0xff);
    bytes.set(encodeHello(hello).subarray(0, 8));
    bytes[8] = version;
    assert.throws(() => parseHello(bytes), { reason: "protocol_version" });
  }
});

Deno.test("encodeHello() refuses what has no form on the wire", () => {
  const wrong: readonly Partial<Hello>[] = [
    { codecId: "" },
    { codecId: "seventeen-letters" },
    { service: "S".repeat(65) },
    { service: "ö" },
    { applicationVersion: "1 2" },
    { serves: new Uint8Array(31) },
    { calls: new Uint8Array(33) },
    { nonce: new Uint8Array(16) },
    { told: { ...hello.told, maxBodyBytes: -1 } },
    { told: { ...hello.told, maxConcurrentCalls: 2 ** 32 } },
    { told: { ...hello.told, streamWindowBytes: Infinity } },
  ];
  for (const each of wrong) assert.throws(() => encodeHello({ ...hello, ...each }), TypeError);
});

Deno.test("a hello has 264 bytes, a multiple of 8: no padding follows it", () => {
  assert.equal(HELLO_BYTES, 264);
});

function parsedOrNull(bytes: Uint8Array): Hello | null {
  try {
    return parseHello(new Uint8Array(bytes));
  } catch (error) {
    assert.ok(error instanceof HandshakeRefusal, String(error));
    return null;
  }
}

import assert from "node:assert/strict";
import fc from "fast-check";
import { parseIp } from "../../../src/protocol/knock/address.ts";
import { type Key, parseKey } from "../../../src/protocol/knock/key.ts";
import {
  decodePacket,
  decodePlaintext,
  encodePacket,
  encodePlaintext,
  type KnockFields,
  NONCE_BYTES,
  openPacket,
  PACKET_BYTES,
  PacketError,
  packetKeyId,
  type PacketRefusal,
  PLAINTEXT_BYTES,
  sealPlaintext,
  TAG_BYTES,
} from "../../../src/protocol/knock/packet.ts";
import { holds } from "../../property.ts";
import { bytesOf, key, knockFields, MAX_U128, nonce } from "./arbitraries.ts";

const fixedKey: Key = { id: 0x0102030405060708n, secret: new Uint8Array(32).fill(7) };
const fixedNonce = new Uint8Array(NONCE_BYTES).fill(9);
const fixedFields: KnockFields = {
  commandHash: 0x1112131415161718n,
  counter: 0x2122232425262728292a2b2c2d2e2f30n,
  strict: true,
  sourceIp: parseIp("192.0.2.7"),
  destinationIp: parseIp("2001:db8::1"),
};
const fixedPacket = encodePacket(fixedKey, fixedFields, fixedNonce);

function refusalOf(act: () => unknown): PacketRefusal | "accepted" {
  try {
    act();
  } catch (error) {
    assert(error instanceof PacketError, `threw ${error}`);
    assert.equal(error.name, "PacketError");
    return error.refusal;
  }
  return "accepted";
}

Deno.test("the sizes are those of the wire", () => {
  assert.equal(PACKET_BYTES, 94);
  assert.equal(PLAINTEXT_BYTES, 58);
  assert.equal(NONCE_BYTES, 12);
  assert.equal(TAG_BYTES, 16);
});

Deno.test("encodePlaintext() puts each field where the wire has it", () => {
  assert.equal(
    encodePlaintext(fixedFields).toHex(),
    "01" + "1112131415161718" + "2122232425262728292a2b2c2d2e2f30" + "01" +
      "00000000000000000000ffffc0000207" + "20010db8000000000000000000000001",
  );
});

Deno.test("encodePlaintext() refuses what the wire cannot hold", () => {
  const wrong: Partial<KnockFields>[] = [
    { commandHash: -1n },
    { commandHash: 2n ** 64n },
    { counter: -1n },
    { counter: MAX_U128 + 1n },
    { sourceIp: parseIp("::") },
  ];
  for (const fields of wrong) {
    assert.throws(() => encodePlaintext({ ...fixedFields, ...fields }), RangeError);
  }
});

Deno.test("decodePlaintext() refuses every version but 1", () => {
  for (let version = 0; version <= 0xff; version++) {
    const plaintext = encodePlaintext(fixedFields);
    plaintext[0] = version;
    assert.equal(refusalOf(() => decodePlaintext(plaintext)), version === 1 ? "accepted" : "version");
  }
});

Deno.test("decodePlaintext() reads any strict byte but 0 as true", () => {
  for (let strict = 0; strict <= 0xff; strict++) {
    const plaintext = encodePlaintext(fixedFields);
    plaintext[25] = strict;
    assert.equal(decodePlaintext(plaintext).strict, strict !== 0);
  }
});

Deno.test("decodePlaintext() refuses each other length", () => {
  for (let length = 0; length <= 200; length++) {
    const plaintext = new Uint8Array(length).fill(1);
    assert.equal(
      refusalOf(() => decodePlaintext(plaintext)),
      length === PLAINTEXT_BYTES ? "accepted" : "length",
    );
  }
});

Deno.test("decodePlaintext() reads any 58 bytes of version 1, which encode to themselves, strict byte aside", () => {
  holds(fc.property(bytesOf(PLAINTEXT_BYTES), (plaintext) => {
    plaintext[0] = 1;
    const encoded = encodePlaintext(decodePlaintext(plaintext));
    plaintext[25] = plaintext[25] === 0 ? 0 : 1;
    assert.deepEqual(encoded, plaintext);
  }));
});

Deno.test("decodePacket() reads back any fields under any key and nonce", () => {
  holds(
    fc.property(key(), nonce(), knockFields(), (anyKey, anyNonce, fields) => {
      const packet = encodePacket(anyKey, fields, anyNonce);
      assert.equal(packet.length, PACKET_BYTES);
      assert.equal(packetKeyId(packet), anyKey.id);
      assert.deepEqual(packet.subarray(8, 20), anyNonce);
      assert.deepEqual(decodePacket(anyKey, packet), fields);
    }),
    { numRuns: 500 },
  );
});

Deno.test("openPacket() reads within a larger buffer and leaves it as it was", () => {
  for (let offset = 0; offset < 8; offset++) {
    const buffer = new Uint8Array(200).fill(0xee);
    buffer.set(fixedPacket, offset);
    const before = buffer.slice();
    assert.deepEqual(decodePacket(fixedKey, buffer.subarray(offset, offset + PACKET_BYTES)), fixedFields);
    assert.deepEqual(buffer, before);
  }
});

Deno.test("sealPlaintext() leaves plaintext, nonce and secret as they were", () => {
  const [secret, plaintext, ownNonce] = [
    fixedKey.secret.slice(),
    encodePlaintext(fixedFields),
    fixedNonce.slice(),
  ];
  sealPlaintext({ id: fixedKey.id, secret }, plaintext, ownNonce);
  assert.deepEqual([secret, plaintext, ownNonce], [
    fixedKey.secret,
    encodePlaintext(fixedFields),
    fixedNonce,
  ]);
});

Deno.test("sealPlaintext() refuses a plaintext, nonce or secret of another length", () => {
  const plaintext = encodePlaintext(fixedFields);
  const shortKey = { id: 1n, secret: new Uint8Array(16) };
  assert.throws(() => sealPlaintext(fixedKey, plaintext.subarray(1), fixedNonce), RangeError);
  assert.throws(() => sealPlaintext(fixedKey, new Uint8Array(PLAINTEXT_BYTES + 1), fixedNonce), RangeError);
  assert.throws(() => sealPlaintext(fixedKey, plaintext, new Uint8Array(NONCE_BYTES - 1)), RangeError);
  assert.throws(() => sealPlaintext(fixedKey, plaintext, new Uint8Array(NONCE_BYTES + 1)), RangeError);
  assert.throws(() => sealPlaintext(shortKey, plaintext, fixedNonce), RangeError);
});

Deno.test("openPacket() refuses a packet with any single bit flipped", () => {
  for (let bit = 0; bit < PACKET_BYTES * 8; bit++) {
    const flipped = fixedPacket.slice();
    flipped.set([(flipped[bit >> 3] ?? 0) ^ 1 << (bit & 7)], bit >> 3);
    const expected = bit < 8 * 8 ? "key_id" : "authentication";
    assert.equal(refusalOf(() => openPacket(fixedKey, flipped)), expected, `bit ${bit}`);
    const ownerOfThatId = { id: packetKeyId(flipped), secret: fixedKey.secret };
    const underItsId = refusalOf(() => openPacket(ownerOfThatId, flipped));
    assert.equal(underItsId, bit < 8 * 8 ? "accepted" : "authentication", `bit ${bit} under its own id`);
  }
});

Deno.test("openPacket() and packetKeyId() refuse each length from 0 to 200 but 94", () => {
  for (let length = 0; length <= 200; length++) {
    const resized = new Uint8Array(length);
    resized.set(fixedPacket.subarray(0, length));
    const expected = length === PACKET_BYTES ? "accepted" : "length";
    assert.equal(refusalOf(() => openPacket(fixedKey, resized)), expected, `${length} bytes`);
    assert.equal(refusalOf(() => packetKeyId(resized)), expected, `${length} bytes`);
  }
});

Deno.test("openPacket() refuses any other change of a packet", () => {
  holds(
    fc.property(bytesOf(PACKET_BYTES), fc.nat(PACKET_BYTES), fc.nat(PACKET_BYTES), (noise, from, to) => {
      const changed = fixedPacket.slice();
      changed.set(noise.subarray(from, to), Math.min(from, to));
      const same = changed.every((byte, i) => byte === fixedPacket[i]);
      assert.equal(refusalOf(() => openPacket(fixedKey, changed)) === "accepted", same);
    }),
    { numRuns: 500 },
  );
});

Deno.test("openPacket() refuses a packet under every other key", () => {
  holds(fc.property(bytesOf(32), (secret) => {
    assert.equal(refusalOf(() => openPacket({ id: fixedKey.id, secret }, fixedPacket)), "authentication");
  }));
});

Deno.test("decodePacket() tells a version it does not know from a forgery", () => {
  const plaintext = encodePlaintext(fixedFields);
  plaintext[0] = 2;
  const packet = sealPlaintext(fixedKey, plaintext, fixedNonce);
  assert.equal(refusalOf(() => decodePacket(fixedKey, packet)), "version");
  packet.set([(packet.at(-1) ?? 0) ^ 1], PACKET_BYTES - 1);
  assert.equal(refusalOf(() => decodePacket(fixedKey, packet)), "authentication");
});

Deno.test("decodePacket() throws nothing but PacketError for any bytes", () => {
  const random = fc.uint8Array({ maxLength: 200 });
  const withId = bytesOf(PACKET_BYTES).map((bytes) => {
    bytes.set(fixedPacket.subarray(0, 8));
    return bytes;
  });
  holds(
    fc.property(fc.oneof(random, withId), (bytes) => {
      assert.notEqual(refusalOf(() => decodePacket(fixedKey, bytes)), "accepted");
    }),
    { numRuns: 500 },
  );
});

Deno.test("a PacketError names no byte of key or packet", () => {
  const secret = Uint8Array.fromHex("deadbeef".repeat(8));
  const parsed = parseKey(Uint8Array.from([...fixedPacket.subarray(0, 8), ...secret]).toBase64());
  assert.throws(() => openPacket(parsed, fixedPacket), (error) => {
    assert(error instanceof PacketError);
    assert(!/[0-9a-f]{6}/.test(error.message));
    assert.equal(error.cause, undefined);
    return true;
  });
});

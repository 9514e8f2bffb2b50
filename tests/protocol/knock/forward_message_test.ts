import assert from "node:assert/strict";
import fc from "fast-check";
import { parseIp } from "../../../src/protocol/knock/address.ts";
import { commandHash } from "../../../src/protocol/knock/command_hash.ts";
import {
  decodeForwardMessage,
  encodeForwardMessage,
  FORWARD_MESSAGE_BYTES,
} from "../../../src/protocol/knock/forward_message.ts";
import { holds } from "../../property.ts";
import { rurocoForwardMessage } from "../../reference/ruroco.ts";
import { bytesOf, ipAddress, u64 } from "./arbitraries.ts";

Deno.test("encodeForwardMessage() writes the hash, then the address, in 24 bytes", () => {
  const bytes = encodeForwardMessage({ commandHash: commandHash("open_port"), ip: parseIp("192.0.2.7") });
  assert.equal(bytes.toHex(), "9b93083959d8550a" + "00000000000000000000ffffc0000207");
  assert.deepEqual(bytes, rurocoForwardMessage("open_port", "192.0.2.7"));
});

Deno.test("decodeForwardMessage() reads back any message", () => {
  holds(fc.property(u64(), ipAddress(), (hash, ip) => {
    const message = { commandHash: hash, ip };
    assert.deepEqual(decodeForwardMessage(encodeForwardMessage(message)), message);
  }));
});

Deno.test("decodeForwardMessage() reads any 24 bytes, which encode to themselves", () => {
  holds(fc.property(bytesOf(FORWARD_MESSAGE_BYTES), (bytes) => {
    assert.deepEqual(encodeForwardMessage(decodeForwardMessage(bytes)), bytes);
  }));
});

Deno.test("decodeForwardMessage() reads within a larger buffer", () => {
  const bytes = rurocoForwardMessage("open_port", "192.0.2.7");
  const buffer = new Uint8Array(40).fill(0xee);
  buffer.set(bytes, 5);
  assert.deepEqual(decodeForwardMessage(buffer.subarray(5, 5 + bytes.length)), decodeForwardMessage(bytes));
});

Deno.test("decodeForwardMessage() refuses every other length", () => {
  for (let length = 0; length <= 100; length++) {
    if (length !== FORWARD_MESSAGE_BYTES) {
      assert.throws(() => decodeForwardMessage(new Uint8Array(length)), RangeError);
    }
  }
});

Deno.test("encodeForwardMessage() refuses a hash outside of 64 bits", () => {
  for (const hash of [-1n, 2n ** 64n]) {
    assert.throws(() => encodeForwardMessage({ commandHash: hash, ip: parseIp("192.0.2.7") }), RangeError);
  }
});

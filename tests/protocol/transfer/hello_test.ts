import assert from "node:assert/strict";
import fc from "fast-check";
import {
  checkHelloHead,
  checkHelloStart,
  encodeHello,
  type Hello,
  HELLO_HEAD_BYTES,
  HELLO_START_BYTES,
  helloBytes,
  INSTANCE_BYTES,
  type PairingMode,
  SHARE_BYTES,
  type TransferRole,
} from "../../../src/protocol/transfer/hello.ts";
import { PairingError } from "../../../src/protocol/transfer/pairing_error.ts";
import { holds } from "../../property.ts";
import vectors from "../../vectors/transfer-pairing.json" with { type: "json" };

const bytesOf = (hex: string): Uint8Array<ArrayBuffer> => Uint8Array.fromHex(hex);

function helloOf(mode: PairingMode, role: TransferRole, fill: number): Uint8Array<ArrayBuffer> {
  const instance = new Uint8Array(INSTANCE_BYTES).fill(fill);
  return encodeHello({ mode, role, instance, share: new Uint8Array(SHARE_BYTES[mode]) });
}

/** What is said of a hello that comes to a receiver. */
function judged(theirs: Uint8Array, own = helloOf("code", "receiver", 2)): string {
  try {
    checkHelloStart(theirs.subarray(0, HELLO_START_BYTES));
    checkHelloHead(theirs.subarray(0, HELLO_HEAD_BYTES), own);
  } catch (error) {
    if (error instanceof PairingError) return error.failure;
    throw error;
  }
  return "fine";
}

Deno.test("encodeHello() gives the bytes of the vectors, which are found to be fine", () => {
  const all = [
    ...vectors.code.map((pairing) => ({ mode: "code" as const, pairing })),
    ...vectors.resume.map((pairing) => ({ mode: "resume" as const, pairing })),
  ];
  assert.equal(all.length, 4);
  for (const { mode, pairing } of all) {
    const hellos = (["sender", "receiver"] as const).map((role) => {
      const { instance, hello } = pairing[role];
      const share = bytesOf(hello).subarray(HELLO_HEAD_BYTES);
      const bytes = encodeHello({ mode, role, instance: bytesOf(instance), share });
      assert.equal(bytes.toHex(), hello);
      assert.equal(bytes.length, helloBytes(mode));
      return bytes;
    });
    const [senders, receivers] = hellos;
    assert(senders !== undefined && receivers !== undefined);
    assert.equal(judged(senders, receivers), "fine");
    assert.equal(judged(receivers, senders), "fine");
  }
});

Deno.test("hellos have 56 bytes with a code and 87 when resumed, 5 and 23 of them alike", () => {
  assert.equal(helloBytes("code"), 56);
  assert.equal(helloBytes("resume"), 87);
  assert.equal(HELLO_START_BYTES, 5);
  assert.equal(HELLO_HEAD_BYTES, 23);
});

Deno.test("encodeHello() throws when instance or share have another length", () => {
  const good: Hello = {
    mode: "code",
    role: "sender",
    instance: new Uint8Array(INSTANCE_BYTES),
    share: new Uint8Array(SHARE_BYTES.code),
  };
  assert.equal(encodeHello(good).length, helloBytes("code"));
  assert.throws(() => encodeHello({ ...good, instance: new Uint8Array(15) }), TypeError);
  assert.throws(() => encodeHello({ ...good, mode: "resume" }), TypeError);
  assert.throws(() => encodeHello({ ...good, share: new Uint8Array(34) }), TypeError);
});

Deno.test("a hello is refused for the first thing that is wrong with it: magic, version, mode, role, instance", () => {
  const own = helloOf("code", "receiver", 2);
  const wrong: readonly (readonly [at: number, value: number, failure: string])[] = [
    [0, 0x70, "malformed"],
    [4, 2, "version"],
    [5, 2, "malformed"],
    [6, 2, "same_role"],
  ];
  // Our own, as a sender's: the instance is all that is wrong.
  let theirs = own.with(6, 1);
  assert.equal(judged(theirs, own), "same_instance");
  // And worse with each step.
  for (const [at, value, failure] of wrong.toReversed()) {
    theirs = theirs.with(at, value);
    assert.equal(judged(theirs, own), failure);
  }
});

Deno.test("checkHelloStart() tells another version from something that is no hello", () => {
  for (const version of [0, 2, 255]) {
    assert.equal(judged(helloOf("code", "sender", 1).with(4, version)), "version");
  }
  for (let at = 0; at < 4; at++) {
    assert.equal(judged(helloOf("code", "sender", 1).with(at, 0)), "malformed");
  }
  assert.equal(judged(new TextEncoder().encode("HTTP/1.1 400 Bad Request\r\n")), "malformed");
});

Deno.test("checkHelloHead() takes the other role and another instance of our own mode only", () => {
  const head = helloOf("code", "sender", 1);
  for (let value = 0; value < 256; value++) {
    assert.equal(judged(head.with(5, value)), value === 1 ? "fine" : "malformed");
    assert.equal(judged(head.with(6, value)), value === 1 ? "fine" : value === 2 ? "same_role" : "malformed");
  }
  for (let at = 0; at < INSTANCE_BYTES; at++) {
    const almostOurs = helloOf("code", "sender", 2);
    assert.equal(judged(almostOurs.with(7 + at, 3)), "fine");
  }
});

Deno.test("a hello that is fine is one that encodeHello() writes", () => {
  const bytes = fc.uint8Array({ minLength: 23, maxLength: 23 });
  const near = fc.tuple(fc.nat(22), fc.nat(255)).map(([at, value]) =>
    helloOf("code", "sender", 1).subarray(0, HELLO_HEAD_BYTES).with(at, value)
  );
  holds(fc.property(fc.oneof(bytes, near), (head) => {
    const instance = head.subarray(7);
    const again = encodeHello({
      mode: "code",
      role: "sender",
      instance,
      share: new Uint8Array(SHARE_BYTES.code),
    });
    const isOne = again.subarray(0, HELLO_HEAD_BYTES).toHex() === head.toHex();
    const isOurs = instance.every((byte) => byte === 2);
    assert.equal(judged(head) === "fine", isOne && !isOurs);
  }));
});

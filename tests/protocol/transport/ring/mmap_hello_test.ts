import assert from "node:assert/strict";
import {
  decodeMmapHello,
  encodeMmapHello,
  MMAP_HELLO_BYTES,
} from "../../../../src/protocol/transport/ring/mmap_hello.ts";
import { TransportError } from "../../../../src/protocol/transport/transport.ts";

function code(expected: string, message: RegExp): (error: unknown) => boolean {
  return (error) => error instanceof TransportError && error.code === expected && message.test(error.message);
}

Deno.test("encodeMmapHello() writes these bytes, and decodeMmapHello() reads them", () => {
  const token = Uint8Array.from({ length: 16 }, (_, index) => 0xa0 + index);
  const hello = { pid: 4711, descriptor: 21, ringBytes: 262_144, token };
  const bytes = encodeMmapHello(hello);
  assert.equal(MMAP_HELLO_BYTES, 40);
  assert.equal(
    bytes.toHex(),
    "505354524e4d4150" + "00000001" + "00001267" + "00000015" + "00040000" +
      "a0a1a2a3a4a5a6a7a8a9aaabacadaeaf",
  );
  assert.deepEqual(decodeMmapHello(bytes), hello);
});

Deno.test("decodeMmapHello() refuses another magic, version, length or size of rings", () => {
  const good = encodeMmapHello({ pid: 1, descriptor: 1, ringBytes: 4096, token: new Uint8Array(16) });
  assert.equal(decodeMmapHello(good).ringBytes, 4096);
  const changed = (at: number, value: number): Uint8Array<ArrayBuffer> => {
    const bytes = good.slice();
    bytes[at] = value;
    return bytes;
  };
  assert.throws(() => decodeMmapHello(changed(0, 0x51)), code("refused", /something else/));
  assert.throws(() => decodeMmapHello(good.slice(1)), code("refused", /something else/));
  assert.throws(() => decodeMmapHello(changed(11, 2)), code("refused", /version 2, this one 1/));
  assert.throws(() => decodeMmapHello(changed(23, 1)), code("refused", /no ring has 4097 bytes/));
});

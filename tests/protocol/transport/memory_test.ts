import assert from "node:assert/strict";
import {
  listenerConformance,
  pairsOf,
  transportConformance,
} from "../../../src/protocol/transport/conformance.ts";
import { memory, memoryPair } from "../../../src/protocol/transport/memory.ts";

for (const { name, run } of transportConformance(() => Promise.resolve(memoryPair()))) {
  Deno.test(`memoryPair() ${name}`, run);
}
for (const { name, run } of transportConformance(pairsOf(memory()))) {
  Deno.test(`memory() connection ${name}`, run);
}
for (const { name, run } of listenerConformance(memory())) Deno.test(`memory() listener ${name}`, run);

Deno.test("memory() lets timers fire between two programs that answer each other at once", async () => {
  const [near, far] = memoryPair();
  let fired = false;
  const timer = setTimeout(() => void (fired = true), 1);
  const echo = async (): Promise<void> => {
    const buffer = new Uint8Array(8);
    while (await far.read(buffer) !== null) await far.write(buffer);
    await far.closeWrite();
  };
  const echoing = echo();
  const buffer = new Uint8Array(8);
  let turns = 0;
  for (; !fired && turns < 200_000; turns++) {
    await near.write(buffer);
    await near.read(buffer);
  }
  clearTimeout(timer);
  await near.closeWrite();
  await echoing;
  assert.ok(fired, `no timer fired in ${turns} round trips`);
});

Deno.test("memory() reaches a listener by its name through any transport, and makes fresh names", async () => {
  const first = memory(), second = memory();
  assert.notEqual(first.address, second.address);
  const listener = await first.listen();
  const accepting = listener.accept();
  const connection = await second.connect(listener.address);
  assert.equal(connection.remoteAddress, first.address);
  connection.close();
  (await accepting)?.close();
  listener.close();
  await assert.rejects(memory("").listen(), { code: "address" });
});

Deno.test("memory() refuses a connection when 1,024 wait to be accepted, and ends those when the listener closes", async () => {
  const transport = memory();
  const listener = await transport.listen();
  const waiting = await Promise.all(Array.from({ length: 1024 }, () => transport.connect()));
  await assert.rejects(transport.connect(), { code: "refused", message: /1024 connections wait/ });
  listener.close();
  for (const connection of waiting) assert.equal(await connection.read(new Uint8Array(1)), null);
});

Deno.test("memoryPair() brings what was written before close, and then the end", async () => {
  const [near, far] = memoryPair();
  await near.write(Uint8Array.of(1, 2, 3));
  near.close();
  const buffer = new Uint8Array(8);
  assert.equal(await far.read(buffer), 3);
  assert.equal(await far.read(buffer), null);
});

Deno.test("memoryPair() refuses a second read or write while one is under way", async () => {
  const [near, far] = memoryPair();
  const read = near.read(new Uint8Array(1));
  await assert.rejects(near.read(new Uint8Array(1)), TypeError);
  const write = near.write(new Uint8Array(1 << 20));
  await assert.rejects(near.write(new Uint8Array(1)), TypeError);
  await assert.rejects(near.closeWrite(), TypeError);
  far.close();
  assert.equal(await read, null);
  await assert.rejects(write, { code: "lost" });
});

import assert from "node:assert/strict";
import {
  listenerConformance,
  pairsOf,
  transportConformance,
} from "../../../src/protocol/transport/conformance.ts";
import { messagePort } from "../../../src/protocol/transport/message_port.ts";
import type { Timers } from "../../../src/protocol/rpc/timers.ts";
import type { Connection, Transport } from "../../../src/protocol/transport/transport.ts";

/** Listens at one end of a channel and connects at the other. Closing its ports lets the test end. */
function joined(): Transport & Disposable {
  const { port1, port2 } = new MessageChannel();
  const listening = messagePort(port1), dialling = messagePort(port2, { connectTimeoutMs: 1_000 });
  return {
    name: listening.name,
    address: listening.address,
    listen: (address) => listening.listen(address),
    connect: (address, options) => dialling.connect(address, options),
    [Symbol.dispose](): void {
      port1.close();
      port2.close();
    },
  };
}

for (const { name } of transportConformance(() => Promise.reject(new Error("only the names are wanted")))) {
  Deno.test(`messagePort: a connection ${name}`, async () => {
    using transport = joined();
    const chosen = transportConformance(pairsOf(transport)).find((each) => each.name === name);
    assert(chosen !== undefined);
    await chosen.run();
  });
}

for (const { name } of listenerConformance(joined())) {
  Deno.test(`messagePort: a listener ${name}`, async () => {
    using transport = joined();
    const chosen = listenerConformance(transport).find((each) => each.name === name);
    assert(chosen !== undefined);
    await chosen.run();
  });
}

function startWorker(task: string): Worker & Disposable {
  const worker = new Worker(new URL(`message_port_worker.ts#${task}`, import.meta.url), { type: "module" });
  return Object.assign(worker, { [Symbol.dispose]: () => worker.terminate() });
}

/** Sends that many bytes and expects them back, and the end behind them. */
async function assertEchoes(connection: Connection, length: number): Promise<void> {
  const sent = new Uint8Array(length).map((_, index) => index * 31);
  const writing = connection.write(sent).then(() => connection.closeWrite());
  const received = new Uint8Array(length + 1);
  let filled = 0;
  for (;;) {
    const count = await connection.read(received.subarray(filled));
    if (count === null) break;
    filled += count;
  }
  await writing;
  assert.equal(filled, length);
  assert.deepEqual(received.subarray(0, length), sent);
  connection.close();
}

/** A test with a worker, which may fail by never saying anything. */
function testWithWorker(name: string, fn: () => Promise<void>): void {
  Deno.test({ name, timeout: 60_000, fn });
}

for (const task of ["", "late"]) {
  testWithWorker(
    `messagePort connects to a worker that listens${task === "" ? "" : " only later"}`,
    async () => {
      using worker = startWorker(task);
      const connecting = [messagePort(worker).connect(), messagePort(worker).connect()];
      for (const connection of await Promise.all(connecting)) await assertEchoes(connection, 3_000_000);
    },
  );
}

testWithWorker("messagePort takes a connection that a worker opens", async () => {
  using worker = startWorker("dials");
  const listener = await messagePort(worker).listen();
  const connection = await listener.accept();
  assert(connection !== null);
  await assertEchoes(connection, 3_000_000);
  listener.close();
});

Deno.test("messagePort leaves other messages on its port to the program, and the program's alone", async () => {
  const { port1, port2 } = new MessageChannel();
  const listener = await messagePort(port1).listen();
  for (const noise of [null, 1, "open", { postern: "open", name: "rpc" }, { postern: "ask", id: 1 }, [1]]) {
    port2.postMessage(noise);
  }
  const own = Promise.withResolvers<unknown>();
  port1.addEventListener("message", ({ data }) => {
    if (data?.mine !== undefined) own.resolve(data.mine);
  });
  port2.postMessage({ mine: 42 });
  assert.equal(await own.promise, 42);
  const [ours, theirs] = await Promise.all([messagePort(port2).connect(), listener.accept()]);
  assert(theirs !== null);
  for (const each of [ours, theirs, listener, port1, port2]) each.close();
});

Deno.test("messagePort keeps listeners of different names on one port apart", async () => {
  const { port1, port2 } = new MessageChannel();
  const first = await messagePort(port1, { name: "first" }).listen();
  const second = await messagePort(port1).listen("second");
  const [ours, theirs] = await Promise.all([messagePort(port2).connect("second"), second.accept()]);
  assert(theirs !== null);
  assert.equal(theirs.remoteAddress, "second");
  for (const each of [ours, theirs, first, second, port1, port2]) each.close();
});

Deno.test("messagePort refuses a connect that nobody answers when its time is over", async () => {
  const { port1, port2 } = new MessageChannel();
  let expire: (delayMs: number) => void = () => {};
  const expired = new Promise<number>((resolve) => expire = resolve);
  const timers: Timers = {
    monotonicMs: () => 0,
    after: (delayMs, act) => {
      expire(delayMs);
      queueMicrotask(act);
      return () => {};
    },
  };
  const connecting = messagePort(port1, { connectTimeoutMs: 1_234, timers }).connect();
  await assert.rejects(connecting, { name: "TransportError", code: "refused" });
  assert.equal(await expired, 1_234);
  port1.close();
  port2.close();
});

for (const [task, how] of [["dies", "ends by itself"], ["", "is terminated"]] as const) {
  testWithWorker(`messagePort loses a connection to a worker that ${how}, after its last words`, async () => {
    using worker = startWorker(task);
    const connection = await messagePort(worker).connect();
    const buffer = new Uint8Array(8);
    const expected = task === "dies" ? 3 : 1;
    if (task !== "dies") await connection.write(Uint8Array.of(9));
    assert.equal(await connection.read(buffer), expected);
    const reading = connection.read(buffer);
    if (task !== "dies") worker.terminate();
    await assert.rejects(reading, { name: "TransportError", code: "lost" });
    await assert.rejects(connection.write(buffer), { name: "TransportError", code: "lost" });
    connection.close();
  });
}

Deno.test("messagePort without a port is that of the worker, and outside of one there is none", () => {
  assert.throws(() => messagePort(), { name: "TypeError", message: /this one is no worker/ });
});

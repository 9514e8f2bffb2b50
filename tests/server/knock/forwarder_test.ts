import assert from "node:assert/strict";
import { encodeForwardMessage } from "../../../src/protocol/knock/forward_message.ts";
import type { ForwardMessage } from "../../../src/protocol/knock/forward_message.ts";
import { Forwarder } from "../../../src/server/knock/forwarder.ts";
import type { ForwardConnection, ForwarderOptions } from "../../../src/server/knock/forwarder.ts";
import { Log } from "../../../src/system/log.ts";
import { CommanderDouble } from "./commander_double.ts";
import { FakeClock, HOME_IP } from "./knocks.ts";

function message(n: number): ForwardMessage {
  return { commandHash: BigInt(n), ip: HOME_IP };
}

class Bench {
  readonly lines: string[] = [];
  readonly clock = new FakeClock();
  readonly forwarder: Forwarder;

  constructor(options: Partial<ForwarderOptions>) {
    this.forwarder = new Forwarder({
      socketPath: "/nowhere/ruroco.socket",
      log: new Log({ role: "server", format: "text", write: (line) => this.lines.push(line) }),
      clock: this.clock,
      ...options,
    });
  }
}

/** Connections that open and write only when the test says so. */
class SlowCommander {
  opened = 0;
  closed = 0;
  readonly written: Uint8Array[] = [];
  #gate = Promise.withResolvers<void>();
  #stuckIn: "connect" | "write";

  constructor(stuckIn: "connect" | "write") {
    this.#stuckIn = stuckIn;
  }

  readonly connect = async (): Promise<ForwardConnection> => {
    if (this.#stuckIn === "connect") await this.#gate.promise;
    this.opened++;
    return {
      write: async (bytes: Uint8Array): Promise<number> => {
        if (this.#stuckIn === "write") await this.#gate.promise;
        this.written.push(bytes.slice());
        return bytes.length;
      },
      close: () => this.closed++,
    };
  };

  release(): void {
    this.#gate.resolve();
  }
}

Deno.test("enqueue() sends the 24 bytes over a connection of their own", async () => {
  await using commander = await CommanderDouble.listen();
  const { forwarder } = new Bench({ socketPath: commander.path });
  for (let n = 0; n < 20; n++) assert.equal(forwarder.enqueue(message(n)), true);
  await forwarder.drained();
  const received = await commander.messages(20);
  const sorted = received.map((bytes) => bytes.toHex()).sort();
  assert.deepEqual(sorted, Array.from({ length: 20 }, (_, n) => encodeForwardMessage(message(n)).toHex()));
  assert.deepEqual([forwarder.forwarded, forwarder.failures, forwarder.depth], [20, 0, 0]);
});

Deno.test("enqueue() opens 8 connections at once, lets 256 messages wait, and refuses the next", async () => {
  const commander = new SlowCommander("write");
  const { forwarder } = new Bench({ connect: commander.connect });
  for (let n = 0; n < 8 + 256; n++) assert.equal(forwarder.enqueue(message(n)), true, `${n}`);
  assert.equal(forwarder.enqueue(message(999)), false);
  assert.equal(forwarder.depth, 256);
  await Promise.resolve();
  assert.equal(commander.opened, 8);
  commander.release();
  await forwarder.drained();
  assert.deepEqual([forwarder.forwarded, forwarder.depth, commander.closed], [264, 0, 264]);
  const order = commander.written.map((bytes) => bytes.toHex());
  assert.deepEqual(order, Array.from({ length: 264 }, (_, n) => encodeForwardMessage(message(n)).toHex()));
});

for (const stuckIn of ["connect", "write"] as const) {
  Deno.test(`enqueue() gives a message up when the commander does not let us ${stuckIn}`, async () => {
    const commander = new SlowCommander(stuckIn);
    const { forwarder, lines } = new Bench({ connect: commander.connect, timeoutMs: 20 });
    forwarder.enqueue(message(1));
    await forwarder.drained();
    assert.deepEqual([forwarder.forwarded, forwarder.failures], [0, 1]);
    assert.match(
      lines.join(""),
      new RegExp(`ERROR server: forwarding failed .*did not let us ${stuckIn} within 20 ms`),
    );
    // Let in too late: the connection is closed and nothing is written, for the knock was told as failed.
    commander.release();
    await new Promise((resolve) => setTimeout(resolve, 0));
    assert.equal(commander.closed, commander.opened);
    assert.equal(stuckIn === "connect" ? commander.written.length : 0, 0);
  });
}

Deno.test("enqueue() survives a real listener that never accepts, until its backlog is full and after", async () => {
  const path = await Deno.makeTempFile({ prefix: "postern-stuck-" });
  await Deno.remove(path);
  using _stuck = Deno.listen({ transport: "unix", path });
  const { forwarder } = new Bench({ socketPath: path, queueLimit: 5000 });
  for (let n = 0; n < 3000; n++) assert.equal(forwarder.enqueue(message(n)), true);
  await forwarder.drained();
  assert.equal(forwarder.forwarded + forwarder.failures, 3000);
  assert.ok(forwarder.failures > 0, "the backlog took all");
});

Deno.test("enqueue() logs five failures at once, then one in ten seconds with the number of the others", async () => {
  const { forwarder, lines, clock } = new Bench({
    connect: () => Promise.reject(new Deno.errors.NotFound("no such file")),
  });
  for (let n = 0; n < 30; n++) forwarder.enqueue(message(n));
  await forwarder.drained();
  assert.equal(forwarder.failures, 30);
  assert.equal(lines.length, 5);
  clock.advance(10_000);
  forwarder.enqueue(message(30));
  await forwarder.drained();
  assert.equal(lines.length, 6);
  assert.match(
    lines[5] ?? "",
    /socket=\/nowhere\/ruroco\.socket error="no such file" suppressed=25 hint="is postern commander running\?"/,
  );
});

Deno.test("enqueue() goes on after the commander is back", async () => {
  await using commander = await CommanderDouble.listen();
  let isGone = true;
  const { forwarder } = new Bench({
    connect: () =>
      isGone
        ? Promise.reject(new Deno.errors.ConnectionRefused("gone"))
        : Deno.connect({ transport: "unix", path: commander.path }),
  });
  forwarder.enqueue(message(1));
  await forwarder.drained();
  isGone = false;
  forwarder.enqueue(message(2));
  await forwarder.drained();
  const [only] = await commander.messages(1);
  assert.equal(only?.toHex(), encodeForwardMessage(message(2)).toHex());
});

Deno.test("abort() gives up what waits and what is under way, and counts it", async () => {
  const commander = new SlowCommander("write");
  const { forwarder } = new Bench({ connect: commander.connect });
  for (let n = 0; n < 20; n++) forwarder.enqueue(message(n));
  await Promise.resolve();
  forwarder.abort();
  await forwarder.drained();
  assert.deepEqual([forwarder.forwarded, forwarder.failures, forwarder.depth], [0, 20, 0]);
  commander.release();
});

Deno.test("drained() resolves at once when nothing was taken", async () => {
  await new Bench({}).forwarder.drained();
});

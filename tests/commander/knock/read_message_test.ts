import assert from "node:assert/strict";
import { Doorkeeper } from "../../../src/commander/knock/doorkeeper.ts";
import { readMessage } from "../../../src/commander/knock/read_message.ts";
import type { ForwardMessage } from "../../../src/protocol/knock/forward_message.ts";
import { Log } from "../../../src/system/log.ts";
import { IP, message, until } from "../commander_lab.ts";
import { FakeClock } from "../fake_clock.ts";

/** Both ends of a Unix connection; what is left open is closed at the end. */
async function withPair(test: (ours: Deno.Conn, theirs: Deno.UnixConn) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "postern-read-" });
  const path = `${folder}/s`;
  using listener = Deno.listen({ transport: "unix", path });
  const connecting = Deno.connect({ transport: "unix", path });
  const ours = await listener.accept();
  using theirs = await connecting;
  try {
    await test(ours, theirs);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

const BYTES = message("default");

Deno.test("readMessage() takes 24 bytes in one or many writes, as soon as the peer closes", async () => {
  for (const pieces of [1, 2, 24]) {
    await withPair(async (ours, theirs) => {
      const reading = readMessage(ours, 60_000);
      for (let i = 0; i < pieces; i++) {
        await theirs.write(BYTES.subarray(i * 24 / pieces, (i + 1) * 24 / pieces));
      }
      await theirs.closeWrite();
      assert.deepEqual(await reading, BYTES);
    });
  }
});

Deno.test("readMessage() takes 24 bytes of a peer that keeps the connection, when the time is over", async () => {
  await withPair(async (ours, theirs) => {
    await theirs.write(BYTES);
    assert.deepEqual(await readMessage(ours, 50), BYTES);
  });
});

Deno.test("readMessage() refuses the 25th byte at once", async () => {
  await withPair(async (ours, theirs) => {
    await theirs.write(new Uint8Array(25));
    assert.equal(await readMessage(ours, 60_000), "long");
  });
});

Deno.test("readMessage() refuses every shorter message when the peer closes", async () => {
  for (let length = 0; length < 24; length++) {
    await withPair(async (ours, theirs) => {
      if (length > 0) await theirs.write(BYTES.subarray(0, length));
      await theirs.closeWrite();
      assert.equal(await readMessage(ours, 60_000), "short");
    });
  }
});

Deno.test("readMessage() refuses a slow writer by the whole time, not by the pauses", async () => {
  await withPair(async (ours, theirs) => {
    const startedMs = performance.now();
    const reading = readMessage(ours, 200);
    let writes = 0;
    while (writes < 23 && performance.now() - startedMs < 190) {
      await theirs.write(new Uint8Array(1));
      writes++;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    assert.equal(await reading, "slow");
  });
});

Deno.test("readMessage() closes the connection in any case", async () => {
  await withPair(async (ours, theirs) => {
    await theirs.write(BYTES);
    await readMessage(ours, 20);
    assert.equal(await theirs.read(new Uint8Array(1)), null, "and nothing is ever answered");
  });
});

/** A doorkeeper in this process. */
class Door implements AsyncDisposable {
  readonly messages: ForwardMessage[] = [];
  readonly refusals: string[] = [];
  readonly path: string;
  readonly #folder: string;
  readonly #listener: Deno.Listener<Deno.UnixConn>;
  readonly #stop = new AbortController();
  readonly #served: Promise<void>;

  constructor(maxConnections: number, messageTimeoutMs: number) {
    this.#folder = Deno.makeTempDirSync({ prefix: "postern-door-" });
    this.path = `${this.#folder}/s`;
    this.#listener = Deno.listen({ transport: "unix", path: this.path }) as Deno.Listener<Deno.UnixConn>;
    const log = new Log({
      role: "commander",
      format: "json",
      write: (line) => this.refusals.push(JSON.parse(line).reason),
    });
    this.#served = new Doorkeeper({
      listener: this.#listener,
      onMessage: (received): void => void this.messages.push(received),
      log,
      monotonicMs: new FakeClock().monotonicMs,
      maxConnections,
      messageTimeoutMs,
    }).serve(this.#stop.signal);
  }

  connect(): Promise<Deno.UnixConn> {
    return Deno.connect({ transport: "unix", path: this.path });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    this.#listener.close();
    await this.#served;
    await Deno.remove(this.#folder, { recursive: true });
  }
}

Deno.test("Doorkeeper takes 100 connections at once, and slow ones delay nobody", async () => {
  await using door = new Door(256, 60_000);
  const slow = await Promise.all(Array.from({ length: 100 }, () => door.connect()));
  const quick = await Promise.all(Array.from({ length: 100 }, () => door.connect()));
  await Promise.all(quick.map(async (conn) => {
    await conn.write(BYTES);
    conn.close();
  }));
  await until(() => door.messages.length === 100, "100 messages");
  assert.ok(door.messages.every((received) => received.ip === IP));
  assert.deepEqual(door.refusals, []);
  slow.forEach((conn) => conn.close());
});

Deno.test("Doorkeeper closes what comes beyond its limit at once, and has room again later", async () => {
  await using door = new Door(2, 60_000);
  const held = [await door.connect(), await door.connect()];
  using third = await door.connect();
  assert.equal(await third.read(new Uint8Array(1)), null);
  assert.deepEqual(door.refusals, ["too_many"]);
  held.forEach((conn) => conn.close());
  await until(() => door.refusals.length === 3, "both to be refused as short");
  {
    using conn = await door.connect();
    await conn.write(BYTES);
  }
  await until(() => door.messages.length === 1, "a message");
});

Deno.test("Doorkeeper logs a flood of bad connections a few times only", async () => {
  await using door = new Door(256, 60_000);
  for (let i = 0; i < 50; i++) {
    using conn = await door.connect();
    await conn.write(new Uint8Array(3));
  }
  await Promise.resolve();
  {
    using conn = await door.connect();
    await conn.write(BYTES);
  }
  await until(() => door.messages.length === 1, "the good one");
  await until(() => door.refusals.length >= 5, "refusals");
  assert.deepEqual(door.refusals, Array(5).fill("short"));
});

Deno.test("Doorkeeper ends at once though connections are open", async () => {
  const conns: Deno.UnixConn[] = [];
  {
    await using door = new Door(256, 60_000);
    conns.push(await door.connect(), await door.connect());
    {
      using conn = await door.connect();
      await conn.write(BYTES);
    }
    await until(() => door.messages.length === 1, "the others were accepted too");
  }
  for (const conn of conns) {
    assert.equal(await conn.read(new Uint8Array(1)), null);
    conn.close();
  }
});

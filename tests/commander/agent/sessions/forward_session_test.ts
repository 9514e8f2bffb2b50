import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { hostForward } from "../../../../src/commander/agent/sessions/forward_session.ts";
import { ApplicationError } from "../../../../src/protocol/rpc/errors.ts";
import { pause, until } from "../../../e2e/until.ts";
import { FakeTimers } from "../../../protocol/rpc/fake_timers.ts";
import { ItemQueue, join, type SessionPair, stage } from "./session_stage.ts";

type Bytes = Uint8Array<ArrayBuffer>;

const NO_BYTES = new Uint8Array(0);
const KIB = 1024, MIB = 1024 * KIB;
const encoder = new TextEncoder(), decoder = new TextDecoder();

/** A server on loopback; disposing of it waits until all its connections have ended. */
class Target implements AsyncDisposable {
  readonly listener: Deno.TcpListener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  readonly #serving: Promise<void>;
  /** Connections that were not served to their end yet. */
  open = 0;

  constructor(serve: (connection: Deno.TcpConn) => Promise<void>) {
    this.#serving = this.#serve(serve);
  }

  get port(): number {
    return this.listener.addr.port;
  }

  async #serve(serve: (connection: Deno.TcpConn) => Promise<void>): Promise<void> {
    const all: Promise<void>[] = [];
    for await (const connection of this.listener) {
      this.open++;
      all.push(
        serve(connection).catch(() => {}).finally(() => {
          this.open--;
          try {
            connection.close();
          } catch {
            // It was closed already.
          }
        }),
      );
    }
    await Promise.all(all);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.listener.close();
    await this.#serving;
  }
}

/** Sends everything back, ends when the other side has. */
async function echo(connection: Deno.TcpConn): Promise<void> {
  await connection.readable.pipeTo(connection.writable);
}

function connect(
  pair: SessionPair,
  port: number,
  items: AsyncIterable<Bytes> | Iterable<Bytes>,
  host = "127.0.0.1",
): AsyncIterableIterator<Bytes> {
  return pair.dialler.client.connect({ host, port }, items);
}

/** Lengths of empty items, and all text. */
async function all(output: AsyncIterable<Bytes>): Promise<{ text: string; empty: number }> {
  let text = "", empty = 0;
  for await (const item of output) {
    text += decoder.decode(item);
    empty += item.length === 0 ? 1 : 0;
  }
  return { text, empty };
}

Deno.test("hostForward() says that it is connected, then carries bytes both ways", async () => {
  using stand = stage();
  await using target = new Target(echo);
  const session = hostForward(stand.ground);
  await using pair = join(session.handlers);
  const items = new ItemQueue<Bytes>();
  const output = connect(pair, target.port, items);
  assert.deepEqual((await output.next()).value, NO_BYTES);
  items.push(encoder.encode("hello"));
  assert.equal(decoder.decode((await output.next()).value), "hello");
  items.push(NO_BYTES);
  assert.deepEqual((await output.next()).value, NO_BYTES);
  assert.deepEqual(await output.next(), { done: true, value: undefined });
  session.end("closed");
  assert.deepEqual(await session.ended, { ending: "closed", exitCode: null, bytesIn: 5, bytesOut: 5 });
});

Deno.test("hostForward() carries each end of a direction while the other one goes on", async () => {
  using stand = stage();
  await using early = new Target(async (connection) => {
    await connection.write(encoder.encode("bye"));
    await connection.closeWrite();
    const text = await new Response(connection.readable).text();
    said.push(text);
  });
  const said: string[] = [];
  await using late = new Target(async (connection) => {
    const bytes = new Uint8Array(10);
    let text = "";
    for (let count = await connection.read(bytes); count !== null; count = await connection.read(bytes)) {
      text += decoder.decode(bytes.subarray(0, count));
    }
    await connection.write(encoder.encode(`${text} was said`));
  });
  const session = hostForward(stand.ground);
  await using pair = join(session.handlers);

  const items = new ItemQueue<Bytes>();
  const output = connect(pair, early.port, items);
  for (const wanted of ["", "bye", ""]) assert.equal(decoder.decode((await output.next()).value), wanted);
  items.push(encoder.encode("still here"));
  items.push(NO_BYTES);
  assert.equal((await output.next()).done, true);
  await until("all was read", () => said.length > 0);
  assert.deepEqual(said, ["still here"]);

  assert.deepEqual(await all(connect(pair, late.port, [encoder.encode("it")])), {
    text: "it was said",
    empty: 2,
  });
});

Deno.test("hostForward() carries 200 connections at once", async () => {
  using stand = stage();
  await using target = new Target(echo);
  const session = hostForward(stand.ground);
  await using pair = join(session.handlers);
  const queues = Array.from({ length: 200 }, () => new ItemQueue<Bytes>());
  const outputs = queues.map((items) => connect(pair, target.port, items));
  await Promise.all(outputs.map((output) => output.next()));
  assert.equal(target.open, 200);
  queues.forEach((items, at) => {
    items.push(encoder.encode(`number ${at}`));
    items.push(NO_BYTES);
  });
  const answers = await Promise.all(outputs.map(all));
  assert.deepEqual(answers, queues.map((_, at) => ({ text: `number ${at}`, empty: 1 })));
});

Deno.test("hostForward() carries 100 MB there and back unchanged", async () => {
  using stand = stage();
  await using target = new Target(echo);
  const session = hostForward(stand.ground);
  await using pair = join(session.handlers);
  const piece = crypto.getRandomValues(new Uint8Array(64 * KIB)), pieces = 1600;
  const sent = createHash("sha256"), came = createHash("sha256");
  for (let at = 0; at < pieces; at++) sent.update(piece);
  for await (const item of connect(pair, target.port, Array(pieces).fill(piece))) came.update(item);
  assert.equal(came.digest("hex"), sent.digest("hex"));
  session.viewerLost();
  const bytes = pieces * piece.length;
  assert.deepEqual(await session.ended, { ending: "lost", exitCode: null, bytesIn: bytes, bytesOut: bytes });
});

Deno.test("hostForward() makes a target wait whose bytes nobody takes, and the others go on", async () => {
  using stand = stage();
  let written = 0;
  await using flood = new Target(async (connection) => {
    const piece = new Uint8Array(64 * KIB);
    for (;;) written += await connection.write(piece);
  });
  await using target = new Target(echo);
  const session = hostForward(stand.ground);
  await using pair = join(session.handlers);
  const stalled = connect(pair, flood.port, new ItemQueue<Bytes>());
  await stalled.next();
  let before = -1, same = 0;
  await until("the target waits", () => {
    same = written === before ? same + 1 : 0;
    before = written;
    return same > 20;
  });
  // Buffers of the kernel's sockets are most of it.
  assert.ok(written < 16 * MIB, `${written} bytes`);
  assert.equal((await all(connect(pair, target.port, [encoder.encode("quick")]))).text, "quick");
  session.end("closed");
  await session.ended;
});

Deno.test("hostForward() refuses a target, naming the host, and dials nothing", async () => {
  using stand = stage({}, { mayConnect: (host, port) => `web1 refuses: ${host} ${port}` });
  let dialled = 0;
  await using target = new Target(() => Promise.resolve(void dialled++));
  const session = hostForward(stand.ground);
  await using pair = join(session.handlers);
  await assert.rejects(all(connect(pair, target.port, [])), (error) => {
    assert.ok(error instanceof ApplicationError);
    assert.deepEqual([error.reason, error.message], [
      "refused_by_host",
      `web1 refuses: 127.0.0.1 ${target.port}`,
    ]);
    return true;
  });
  assert.equal(dialled, 0);
  const { exec, shell } = pair.dialler.client;
  await assert.rejects(
    exec({ command: ["true"] }, []).next(),
    /web1 refuses: exec in a session that was opened for forward/,
  );
  await assert.rejects(
    shell({ rows: 1, columns: 1, term: "x", seenBytes: 0 }, []).next(),
    /web1 refuses: shell/,
  );
});

Deno.test("hostForward() says that a target cannot be reached, and why", async () => {
  using stand = stage();
  const session = hostForward(stand.ground);
  await using pair = join(session.handlers);
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr;
  listener.close();
  for (const [host, why] of [["127.0.0.1", /connection refused$/], ["no-such-host.invalid", /./]] as const) {
    await assert.rejects(all(connect(pair, port, [], host)), (error) => {
      assert.ok(error instanceof ApplicationError);
      assert.equal(error.reason, "unreachable");
      assert.ok(error.message.startsWith(`web1 cannot reach ${host} port ${port}: `), error.message);
      assert.match(error.message, why);
      return true;
    });
  }
});

Deno.test("hostForward() gives up a target that does not answer within ten seconds", async () => {
  const timers = new FakeTimers();
  using stand = stage({}, { timers });
  const session = hostForward(stand.ground);
  await using pair = join(session.handlers);
  // A backlog that is full takes nobody in: the kernel answers none of the further attempts.
  await using full = await fullBacklog();
  const refused = assert.rejects(all(connect(pair, full.port, [])), /no answer within 10 s$/);
  await until("it is dialled", () => timers.pending > 0);
  await timers.pass(10_000);
  await refused;
});

Deno.test("hostForward() tells the administrator that the target broke the connection", async () => {
  using stand = stage();
  await using target = new Target((connection) => {
    // Unread bytes make the kernel reset it.
    return connection.read(new Uint8Array(1)).then(() => connection.close());
  });
  const session = hostForward(stand.ground);
  await using pair = join(session.handlers);
  const items = new ItemQueue<Bytes>();
  const output = connect(pair, target.port, items);
  await output.next();
  items.push(encoder.encode("more than one byte"));
  // The runtime reads a reset as an end.
  assert.deepEqual((await output.next()).value, NO_BYTES);
  items.push(encoder.encode("is anybody there"));
  await assert.rejects(all(output), /the target broke the connection/);
});

Deno.test("hostForward() ends a connection of which only the administrator's half was left", async () => {
  using stand = stage();
  await using target = new Target((connection) => connection.closeWrite());
  const session = hostForward(stand.ground);
  await using pair = join(session.handlers);
  const output = connect(pair, target.port, new ItemQueue<Bytes>());
  for (let empty = 0; empty < 2; empty++) assert.deepEqual((await output.next()).value, NO_BYTES);
  session.end("expired");
  await assert.rejects(output.next(), /web1 ended the session/);
});

for (const how of ["session", "caller", "connection", "signal"] as const) {
  Deno.test(`hostForward() closes its connections when the ${how} ends`, async () => {
    using stand = stage();
    await using target = new Target(echo);
    const session = hostForward(stand.ground);
    await using pair = join(session.handlers);
    const output = connect(pair, target.port, new ItemQueue<Bytes>());
    await output.next();
    assert.equal(target.open, 1);
    const rest = all(output).catch((error: unknown) => error);
    if (how === "session") session.end("expired");
    if (how === "signal") stand.signal("revoked");
    if (how === "caller") await output.return?.();
    if (how === "connection") pair.dialler.close("internal");
    await until("the target is told", () => target.open === 0);
    await rest;
    session.end("closed");
    const { ending } = await session.ended;
    assert.equal(
      ending,
      { session: "expired", signal: "revoked", caller: "closed", connection: "closed" }[how],
    );
    assert.match(
      String(await all(connect(join(session.handlers), target.port, [])).catch(String)),
      /session that is over/,
    );
  });
}

/** A port on loopback that takes nobody in any more: those who wait to be accepted are too many. */
async function fullBacklog(): Promise<AsyncDisposable & { port: number }> {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0, tcpBacklog: 1 });
  const { port } = listener.addr;
  const controller = new AbortController();
  const waiting: Promise<Deno.TcpConn | null>[] = [];
  let connected = 0;
  const dial = (): Promise<Deno.TcpConn | null> =>
    Deno.connect({ hostname: "127.0.0.1", port, signal: controller.signal }).then((connection) => {
      connected++;
      return connection;
    }, () => null);
  await until("nobody is taken in", async () => {
    const before = connected;
    waiting.push(dial());
    await pause(100);
    return connected === before;
  });
  return {
    port,
    async [Symbol.asyncDispose](): Promise<void> {
      controller.abort();
      listener.close();
      for (const connection of await Promise.all(waiting)) connection?.close();
    },
  };
}

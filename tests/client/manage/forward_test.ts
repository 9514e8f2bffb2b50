import assert from "node:assert/strict";
import { type ForwardOptions, MAX_CONNECTIONS, runForward } from "../../../src/client/manage/forward.ts";
import { type Bind, parseForwardSpec } from "../../../src/client/manage/forward_spec.ts";
import { listenLocally } from "../../../src/client/manage/local_listener.ts";
import { ResetError } from "../../../src/protocol/manage/reset_code.ts";
import type { ConnectStart } from "../../../src/protocol/manage/session_contract.ts";
import { ApplicationError } from "../../../src/protocol/rpc/errors.ts";
import { systemTimers } from "../../../src/protocol/rpc/timers.ts";
import { Failure } from "../../../src/system/failure.ts";
import { unless } from "../../e2e/machine.ts";
import { until } from "../../e2e/until.ts";
import { FakeTimers } from "../../protocol/rpc/fake_timers.ts";
import { ScriptedHost } from "./scripted_host.ts";

const KIB = 1024;
const ANY_PORT: Bind = { hostname: "127.0.0.1", port: 0 };

type Items = AsyncIterableIterator<Uint8Array<ArrayBuffer>>;

/** The host's side of `connect`, to real sockets at whatever port is asked for. */
class Dialler {
  readonly starts: ConnectStart[] = [];
  /** Connections that are over. */
  ended = 0;
  readonly connect = (
    start: ConnectStart,
    items: Items,
    { signal }: { readonly signal: AbortSignal },
  ): Items => this.#run(start, items, signal);

  async *#run(
    start: ConnectStart,
    items: Items,
    signal: AbortSignal,
  ): AsyncGenerator<Uint8Array<ArrayBuffer>> {
    this.starts.push(start);
    if (start.host === "forbidden") {
      throw new ApplicationError("refused_by_host", `web1 refuses: forward to ${start.host} not allowed`);
    }
    let socket: Deno.TcpConn;
    try {
      socket = await Deno.connect({ hostname: "127.0.0.1", port: start.port });
    } catch {
      throw new ApplicationError("unreachable", `web1 cannot reach ${start.host}: connection refused`);
    }
    const close = closesOnce(socket);
    signal.addEventListener("abort", close, { once: true });
    try {
      yield new Uint8Array(0);
      const feeding = feed(socket, items);
      const buffer = new Uint8Array(64 * KIB);
      for (;;) {
        const count = await socket.read(buffer).catch(() => null);
        if (count === null) break;
        yield buffer.slice(0, count);
      }
      yield new Uint8Array(0);
      await feeding;
    } finally {
      close();
      this.ended++;
    }
  }
}

function closesOnce(socket: Deno.TcpConn): () => void {
  let isClosed = false;
  return () => {
    if (!isClosed) socket.close();
    isClosed = true;
  };
}

async function feed(socket: Deno.TcpConn, items: Items): Promise<void> {
  try {
    for await (const bytes of items) {
      if (bytes.length === 0) break;
      for (let rest = bytes; rest.length > 0;) rest = rest.subarray(await socket.write(rest));
    }
    await socket.closeWrite();
  } catch {
    // The connection is over.
  }
}

/** A service on this machine. */
class Service implements AsyncDisposable {
  readonly port: number;
  readonly #listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  readonly #done: Promise<void>;

  constructor(serve: (connection: Deno.TcpConn) => Promise<void>) {
    this.port = this.#listener.addr.port;
    this.#done = this.#accept(serve);
  }

  async #accept(serve: (connection: Deno.TcpConn) => Promise<void>): Promise<void> {
    const served: Promise<void>[] = [];
    for await (const connection of this.#listener) {
      served.push(
        serve(connection).catch(() => {}).finally(() => {
          try {
            connection.close();
          } catch {
            // Closed already.
          }
        }),
      );
    }
    await Promise.all(served);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    await this.#done;
  }
}

function echo(): Service {
  return new Service((connection) => connection.readable.pipeTo(connection.writable));
}

/** A forward that runs, with what it said. */
class Running implements AsyncDisposable {
  readonly lines: string[] = [];
  readonly notices: string[] = [];
  readonly ending = new AbortController();
  readonly done: Promise<void>;

  constructor(host: ScriptedHost, specs: readonly string[], more: Partial<ForwardOptions> = {}) {
    const { timers = systemTimers } = more;
    this.done = runForward({
      host: "web1",
      specs: specs.map(parseForwardSpec),
      socks: null,
      reach: host.reach,
      listen: (bind) => listenLocally(bind, systemTimers),
      timers,
      random: () => 0.5,
      onListening: (line) => this.lines.push(line),
      onNotice: (line) => this.notices.push(line),
      signal: this.ending.signal,
      ...more,
    });
    this.done.catch(() => {});
  }

  /** The port of the line of that number. */
  async port(line = 0): Promise<number> {
    const text = await until("it listens", () => this.lines[line]);
    return Number(/:([0-9]+) /.exec(text)?.[1]);
  }

  async connect(line = 0): Promise<Deno.TcpConn> {
    return await Deno.connect({ hostname: "127.0.0.1", port: await this.port(line) });
  }

  async says(pattern: RegExp): Promise<void> {
    await until(`a notice says ${pattern}`, () => this.notices.some((notice) => pattern.test(notice)));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.ending.abort();
    await this.done.catch(() => {});
  }
}

async function readAll(connection: Deno.TcpConn): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let length = 0;
  for (;;) {
    const part = new Uint8Array(64 * KIB);
    const count = await connection.read(part).catch(() => null);
    if (count === null) break;
    parts.push(part.subarray(0, count));
    length += count;
  }
  const all = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

async function writeAll(connection: Deno.TcpConn, bytes: Uint8Array): Promise<void> {
  for (let rest = bytes; rest.length > 0;) rest = rest.subarray(await connection.write(rest));
}

function pattern(length: number, seed: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (i * 31 + seed * 7 + (i >> 8)) & 0xff);
}

Deno.test("runForward() warns of a port that is open to other machines, and of no other", async () => {
  await using host = new ScriptedHost({ connect: new Dialler().connect });
  await using forward = new Running(
    host,
    ["[::1]:0:localhost:1", "localhost:0:localhost:1", "0:localhost:1"],
    {
      socks: { hostname: "0.0.0.0", port: 0 },
    },
  );
  const port = await forward.port(3);
  assert.deepEqual(forward.notices, [
    `warning: 0.0.0.0:${port} is open to everybody who reaches this machine: no password is asked for`,
  ]);
});

Deno.test("runForward() carries 200 connections at once in one session, each with its half-close", async () => {
  await using service = echo();
  const dialler = new Dialler();
  await using host = new ScriptedHost({ connect: dialler.connect });
  await using forward = new Running(host, [`0:localhost:${service.port}`]);
  const port = await forward.port();
  assert.deepEqual(forward.lines, [`127.0.0.1:${port} leads to localhost:${service.port} from web1`]);
  const connections = await Promise.all(Array.from({ length: 200 }, () => forward.connect()));
  await until("all are connected", () => dialler.starts.length === 200);
  await Promise.all(connections.map(async (connection, i) => {
    const sent = pattern(40_000 + i, i);
    // The echo ends only once it has read to the end: the half-close went there, and came back.
    const [received] = await Promise.all([
      readAll(connection),
      writeAll(connection, sent).then(() => connection.closeWrite()),
    ]);
    assert.deepEqual(received, sent);
    connection.close();
  }));
  assert.equal(host.wishes.length, 1);
  assert.deepEqual(forward.notices, []);
});

Deno.test("runForward() carries much in both directions at once, unchanged", async () => {
  await using service = echo();
  await using host = new ScriptedHost({ connect: new Dialler().connect });
  await using forward = new Running(host, [`0:localhost:${service.port}`]);
  const connection = await forward.connect();
  const sent = pattern(8 * KIB * KIB, 1);
  const [received] = await Promise.all([
    readAll(connection),
    writeAll(connection, sent).then(() => connection.closeWrite()),
  ]);
  assert(received.length === sent.length && received.every((byte, i) => byte === sent[i]));
  connection.close();
});

Deno.test("runForward() passes the target's half-close on, and goes on in the other direction", async () => {
  const got = Promise.withResolvers<string>();
  await using service = new Service(async (connection) => {
    await writeAll(connection, new TextEncoder().encode("bye"));
    await connection.closeWrite();
    got.resolve(new TextDecoder().decode(await readAll(connection)));
  });
  await using host = new ScriptedHost({ connect: new Dialler().connect });
  await using forward = new Running(host, [`0:localhost:${service.port}`]);
  const connection = await forward.connect();
  assert.equal(new TextDecoder().decode(await readAll(connection)), "bye");
  await writeAll(connection, new TextEncoder().encode("still here"));
  connection.close();
  assert.equal(await got.promise, "still here");
});

Deno.test("runForward() has several ports in one session, each with its target, IPv6 included", async () => {
  await using service = echo();
  const dialler = new Dialler();
  await using host = new ScriptedHost({ connect: dialler.connect });
  await using forward = new Running(host, [`0:one:${service.port}`, `0:[2001:db8::1]:${service.port}`]);
  for (const line of [0, 1]) {
    const connection = await forward.connect(line);
    await connection.write(Uint8Array.of(1));
    await connection.read(new Uint8Array(1));
    connection.close();
  }
  await until("both are over", () => dialler.ended === 2);
  assert.deepEqual(dialler.starts, [{ host: "one", port: service.port }, {
    host: "2001:db8::1",
    port: service.port,
  }]);
  assert.match(forward.lines[1] ?? "", /leads to \[2001:db8::1\]:[0-9]+ from web1$/);
});

Deno.test("runForward() closes a connection whose target is refused, with few notices for many", async () => {
  await using host = new ScriptedHost({ connect: new Dialler().connect });
  await using forward = new Running(host, ["0:forbidden:80"]);
  for (let i = 0; i < 20; i++) {
    const connection = await forward.connect();
    assert.equal((await readAll(connection)).length, 0);
    connection.close();
  }
  assert.deepEqual(forward.notices, new Array(3).fill("web1 refuses: forward to forbidden not allowed"));
});

Deno.test("runForward() frees the target when the program goes, and the program when the target goes", async () => {
  const gone = Promise.withResolvers<void>();
  await using service = new Service(async (connection) => {
    const buffer = new Uint8Array(1);
    await connection.read(buffer);
    if (buffer[0] === 1) return;
    await readAll(connection);
    gone.resolve();
  });
  await using host = new ScriptedHost({ connect: new Dialler().connect });
  await using forward = new Running(host, [`0:localhost:${service.port}`]);
  const leaving = await forward.connect();
  await leaving.write(Uint8Array.of(0));
  leaving.close();
  await gone.promise;
  const left = await forward.connect();
  await left.write(Uint8Array.of(1));
  assert.equal((await readAll(left)).length, 0);
  left.close();
});

Deno.test("runForward() says which port is taken, and opens no session", async () => {
  await using service = echo();
  await using host = new ScriptedHost({});
  await using forward = new Running(host, ["0:db:1", `${service.port}:db:1`]);
  await assert.rejects(forward.done, (error: unknown) => {
    assert(error instanceof Failure);
    assert.equal(error.message, `cannot listen on 127.0.0.1:${service.port}: another program has it`);
    return true;
  });
  assert.deepEqual(host.wishes, []);
  assert.deepEqual(forward.lines, []);
});

Deno.test("runForward() says how a target is written where it was taken for an address of this machine", async () => {
  await using host = new ScriptedHost({});
  // TEST-NET-1 (RFC 5737): nobody has it.
  await using forward = new Running(host, ["192.0.2.1:5000"]);
  await assert.rejects(forward.done, {
    message: "cannot listen on 192.0.2.1:5000: it is no address of this machine",
    hint:
      "to lead to 192.0.2.1:5000, put a port of this machine before it, or 0 for a free one: 0:192.0.2.1:5000",
  });
  assert.deepEqual(host.wishes, []);
});

Deno.test("runForward() listens for nobody when the session is refused", async () => {
  await using host = new ScriptedHost({});
  host.failures.push(new Failure("web1 refuses: forward not allowed by its agent.toml"));
  await using forward = new Running(host, ["0:db:1"]);
  await assert.rejects(forward.done, /forward not allowed by its agent\.toml/);
  assert.deepEqual(forward.lines, []);
});

Deno.test("runForward() ends on its signal with every connection", async () => {
  await using service = echo();
  await using host = new ScriptedHost({ connect: new Dialler().connect });
  await using forward = new Running(host, [`0:localhost:${service.port}`]);
  const connection = await forward.connect();
  await connection.write(Uint8Array.of(1));
  await connection.read(new Uint8Array(1));
  forward.ending.abort();
  await forward.done;
  assert.equal((await readAll(connection)).length, 0);
  connection.close();
  assert.deepEqual(host.givenBack, ["closed"]);
  await assert.rejects(Deno.connect({ hostname: "127.0.0.1", port: await forward.port() }));
});

Deno.test("runForward() keeps its ports when the link is lost, refuses meanwhile, and goes on afterwards", async () => {
  await using service = echo();
  await using host = new ScriptedHost({ connect: new Dialler().connect });
  const timers = new FakeTimers();
  await using forward = new Running(host, [`0:localhost:${service.port}`], { timers });
  const before = await forward.connect();
  await before.write(Uint8Array.of(1));
  await before.read(new Uint8Array(1));
  host.failures.push(...new Array(3).fill(new ResetError("offline", "there", "web1 is offline")));
  host.lose("silent", "");
  await forward.says(
    /^connection to web1 lost \(the link was lost: no sign of life\); trying again, Ctrl-C ends this$/,
  );
  assert.equal((await readAll(before)).length, 0);
  before.close();
  const meanwhile = await forward.connect();
  assert.equal((await readAll(meanwhile)).length, 0);
  meanwhile.close();
  assert(forward.notices.includes("a connection was refused: there is no connection to web1 at the moment"));
  await timers.pass(120_000);
  await forward.says(/^connected to web1 again$/);
  const after = await forward.connect();
  await after.write(Uint8Array.of(7));
  const buffer = new Uint8Array(1);
  await after.read(buffer);
  assert.deepEqual([...buffer], [7]);
  after.close();
  assert.deepEqual(host.wishes.map(({ again }) => again), [false, true, true, true, true]);
});

Deno.test("runForward() ends when the link was ended for good, or nobody will open it again", async () => {
  await using revoking = new ScriptedHost({});
  await using first = new Running(revoking, ["0:db:1"]);
  await first.port();
  revoking.lose("revoked", "ann was revoked");
  await assert.rejects(
    first.done,
    /the forward through web1 has ended \(the server refuses: .*ann was revoked\)/,
  );
  await using refusing = new ScriptedHost({});
  const timers = new FakeTimers();
  await using second = new Running(refusing, ["0:db:1"], { timers });
  await second.port();
  refusing.failures.push(new ResetError("refused_by_server", "there", "the server refuses: not any more"));
  refusing.lose();
  await second.says(/trying again/);
  await timers.pass(60_000);
  await assert.rejects(second.done, /not any more/);
});

Deno.test("runForward() leaves while it tries again", async () => {
  await using host = new ScriptedHost({});
  const timers = new FakeTimers();
  await using forward = new Running(host, ["0:db:1"], { timers });
  await forward.port();
  host.failures.push(...new Array(50).fill(new Failure("nobody is there")));
  host.lose();
  await forward.says(/trying again/);
  await timers.pass(5_000);
  forward.ending.abort();
  await forward.done;
});

Deno.test("runForward() closes what is more than it carries at once", async () => {
  await using service = new Service(async (connection) => void await readAll(connection));
  const dialler = new Dialler();
  await using host = new ScriptedHost({ connect: dialler.connect });
  await using forward = new Running(host, [`0:localhost:${service.port}`]);
  await forward.port();
  const connections: Deno.TcpConn[] = [];
  for (let i = 0; i < MAX_CONNECTIONS; i += 64) {
    connections.push(...await Promise.all(Array.from({ length: 64 }, () => forward.connect())));
    await until("they are carried", () => dialler.starts.length === connections.length);
  }
  const tooMany = await forward.connect();
  assert.equal((await readAll(tooMany)).length, 0);
  tooMany.close();
  await forward.says(/^a connection was closed: 512 are open, which is the limit$/);
  connections.shift()?.close();
  await until("one place is free", async () => {
    const connection = await forward.connect();
    const started = dialler.starts.length;
    connections.push(connection);
    return await until("it is carried or not", () => dialler.starts.length > started, { timeoutMs: 200 })
      .catch(() => false);
  });
  for (const connection of connections) connection.close();
});

const CURL_OBSTACLE = await obstacleOf("curl");

async function obstacleOf(program: string): Promise<string | null> {
  try {
    const { success } = await new Deno.Command(program, {
      args: ["--version"],
      stdout: "null",
      stderr: "null",
    }).output();
    return success ? null : `${program} does not work here`;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return `${program} is not installed`;
    throw error;
  }
}

Deno.test({
  ...unless(
    CURL_OBSTACLE,
    "runForward() is a SOCKS5 proxy for curl, which has names resolved on the host or here",
  ),
  async fn(): Promise<void> {
    await using service = new Service(async (connection) => {
      await connection.read(new Uint8Array(4096));
      await writeAll(
        connection,
        new TextEncoder().encode("HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\nhello"),
      );
    });
    const dialler = new Dialler();
    await using host = new ScriptedHost({ connect: dialler.connect });
    await using forward = new Running(host, [], { socks: ANY_PORT });
    const proxy = `127.0.0.1:${await forward.port()}`;
    assert.deepEqual(forward.lines, [`${proxy} is a SOCKS5 proxy into web1`]);
    const curl = async (...args: string[]): Promise<{ code: number; out: string }> => {
      const { code, stdout } = await new Deno.Command("curl", {
        args: ["-sS", "--max-time", "10", ...args],
        stderr: "null",
        clearEnv: true,
      }).output();
      return { code, out: new TextDecoder().decode(stdout) };
    };
    assert.deepEqual(await curl("--socks5-hostname", proxy, `http://db.internal:${service.port}/`), {
      code: 0,
      out: "hello",
    });
    assert.deepEqual(await curl("--socks5", proxy, `http://127.0.0.1:${service.port}/`), {
      code: 0,
      out: "hello",
    });
    assert.deepEqual(dialler.starts, [
      { host: "db.internal", port: service.port },
      { host: "127.0.0.1", port: service.port },
    ]);
    // 97: the proxy said no.
    assert.equal((await curl("--socks5-hostname", proxy, "http://forbidden/")).code, 97);
    assert.equal((await curl("--socks5-hostname", proxy, "http://nobody:1/")).code, 97);
  },
});

/** What a SOCKS client that has asked for `host:80` is answered. */
async function socksReply(forward: Running, host: string): Promise<string> {
  const connection = await forward.connect();
  const name = new TextEncoder().encode(host);
  await writeAll(connection, Uint8Array.of(5, 1, 0, 5, 1, 0, 3, name.length, ...name, 0, 1));
  const answer = await readAll(connection);
  connection.close();
  return answer.toHex();
}

Deno.test("runForward() answers SOCKS clients with the reason, also while there is no session", async () => {
  await using host = new ScriptedHost({ connect: new Dialler().connect });
  const timers = new FakeTimers();
  await using forward = new Running(host, [], { socks: ANY_PORT, timers });
  assert.equal(await socksReply(forward, "forbidden"), "0500" + "05020001000000000000");
  assert.equal(await socksReply(forward, "nobody"), "0500" + "05050001000000000000");
  assert(forward.notices.includes("web1 cannot reach nobody: connection refused"));
  host.failures.push(...new Array(100).fill(new Failure("nobody is there")));
  host.lose();
  await forward.says(/trying again/);
  assert.equal(await socksReply(forward, "db"), "0500" + "05030001000000000000");
});

Deno.test("runForward() closes a SOCKS client that says nothing, and one that speaks something else", async () => {
  await using host = new ScriptedHost({ connect: new Dialler().connect });
  const timers = new FakeTimers();
  await using forward = new Running(host, [], { socks: ANY_PORT, timers });
  const silent = await forward.connect();
  await silent.write(Uint8Array.of(5, 1));
  const other = await forward.connect();
  await other.write(new TextEncoder().encode("GET / HTTP/1.1\r\n\r\n"));
  assert.equal((await readAll(other)).length, 0);
  other.close();
  await until("the silent one is known", () => timers.pending > 0);
  await timers.pass(10_000);
  assert.equal((await readAll(silent)).length, 0);
  silent.close();
  assert.match(forward.notices.join(), /its first byte is 71, expected is 5/);
});

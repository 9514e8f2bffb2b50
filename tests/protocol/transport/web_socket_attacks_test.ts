/** What a stranger on a raw socket can do to a WebSocket listener: nothing that others would notice. */
import assert from "node:assert/strict";
import type { Timers } from "../../../src/protocol/rpc/timers.ts";
import { WINDOW_BYTES } from "../../../src/protocol/transport/message_connection.ts";
import { type Connection, type Listener, TransportError } from "../../../src/protocol/transport/transport.ts";
import { webSocket, type WebSocketOptions } from "../../../src/protocol/transport/web_socket.ts";
import { OpenWebSockets } from "./web_sockets_closed.ts";

/** Every wait here ends; a test that reaches this fails. */
const LIMIT_MS = 20_000;
const KEY = "dGhlIHNhbXBsZSBub25jZQ==";
const NO_MASK = [0, 0, 0, 0];

interface Stage extends AsyncDisposable {
  readonly listener: Listener;
  readonly port: number;
  readonly timers: OpenWebSockets["timers"];
}

/** Time stands still: what a test waits for has to come by itself. */
const NO_TIME: Timers = { monotonicMs: () => 0, after: () => () => {} };

async function listening(options: WebSocketOptions = {}): Promise<Stage> {
  const open = new OpenWebSockets();
  const { timers } = open;
  const listener = await webSocket("ws://127.0.0.1:0/", { timers, ...options }).listen();
  return {
    listener,
    port: Number(new URL(listener.address).port),
    timers,
    async [Symbol.asyncDispose](): Promise<void> {
      listener.close();
      await open[Symbol.asyncDispose]();
    },
  };
}

function requestHead(port: number, extra = ""): string {
  return `GET / HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
    `Sec-WebSocket-Key: ${KEY}\r\nSec-WebSocket-Version: 13\r\n` +
    `Sec-WebSocket-Protocol: postern-bytes.1\r\n${extra}\r\n`;
}

/** A client that keeps to nothing. */
class Stranger implements Disposable {
  readonly #socket: Deno.TcpConn;
  readonly #limit: ReturnType<typeof setTimeout>;
  #isLate = false;

  constructor(socket: Deno.TcpConn) {
    this.#socket = socket;
    this.#limit = setTimeout(() => {
      this.#isLate = true;
      this[Symbol.dispose]();
    }, LIMIT_MS);
  }

  static async at(port: number): Promise<Stranger> {
    return new Stranger(await Deno.connect({ hostname: "127.0.0.1", port }));
  }

  /** One whose WebSocket stands. */
  static async upgraded(port: number): Promise<Stranger> {
    const stranger = await Stranger.at(port);
    await stranger.say(requestHead(port));
    assert.match(await stranger.hear(), /^HTTP\/1.1 101 /);
    return stranger;
  }

  async say(text: string | readonly number[] | Uint8Array): Promise<void> {
    const bytes = typeof text === "string" ? new TextEncoder().encode(text) : Uint8Array.from(text);
    for (let offset = 0; offset < bytes.length;) offset += await this.#socket.write(bytes.subarray(offset));
  }

  /** The next part of what the server says; "" at its end or when it cuts. */
  async hear(): Promise<string> {
    const buffer = new Uint8Array(4096);
    const length = await this.#socket.read(buffer).catch(() => null);
    assert(!this.#isLate, "the server said nothing, and did not hang up");
    return String.fromCharCode(...buffer.subarray(0, length ?? 0));
  }

  /** All of what it says until it ends or cuts. */
  async hearAll(): Promise<string> {
    let all = "";
    for (let part = await this.hear(); part !== ""; part = await this.hear()) all += part;
    return all;
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#limit);
    try {
      this.#socket.close();
    } catch {
      // The limit was reached.
    }
  }
}

function binaryFrame(length: number): Uint8Array<ArrayBuffer> {
  const frame = new Uint8Array(14 + length);
  frame.set([0x82, 0x80 | 127]);
  new DataView(frame.buffer).setBigUint64(2, BigInt(length));
  return frame;
}

async function accepted({ listener }: Stage): Promise<Connection> {
  const connection = await listener.accept();
  assert(connection !== null);
  return connection;
}

/** Nothing that was done before may keep an honest client from being served. */
async function assertServed(stage: Stage): Promise<void> {
  const [ours, theirs] = await Promise.all([
    webSocket(stage.listener.address).connect(),
    accepted(stage),
  ]);
  await ours.write(Uint8Array.of(42));
  const buffer = new Uint8Array(8);
  assert.equal(await theirs.read(buffer), 1);
  assert.equal(buffer[0], 42);
  ours.close();
  theirs.close();
}

/** Reads to the end; gives how much came before the connection was cut, and the words of it. */
async function readUntilCut(connection: Connection): Promise<{ bytes: number; message: string }> {
  const buffer = new Uint8Array(64 * 1024);
  for (let bytes = 0;;) {
    try {
      const length = await connection.read(buffer);
      assert(length !== null, "the connection ended, where it had to be cut");
      bytes += length;
    } catch (error) {
      assert(error instanceof TransportError);
      assert.equal(error.code, "lost");
      return { bytes, message: error.message };
    }
  }
}

Deno.test("a page of another origin is refused by its real request, and by a rebound name", async () => {
  await using stage = await listening({ origins: ["https://app.example"] });
  const ask = async (extra: string): Promise<string> => {
    using stranger = await Stranger.at(stage.port);
    await stranger.say(requestHead(stage.port, extra));
    return (await stranger.hear()).slice(0, 12);
  };
  assert.equal(await ask("Origin: https://evil.example\r\n"), "HTTP/1.1 403");
  assert.equal(await ask("Origin: null\r\n"), "HTTP/1.1 403");
  assert.equal(await ask(`Origin: http://127.0.0.1:${stage.port}\r\n`), "HTTP/1.1 101");
  assert.equal(await ask("Origin: https://app.example\r\n"), "HTTP/1.1 101");

  using rebound = await Stranger.at(stage.port);
  const name = `evil.example:${stage.port}`;
  const request = requestHead(stage.port, `Origin: http://${name}\r\n`).replace(
    `127.0.0.1:${stage.port}`,
    name,
  );
  await rebound.say(request);
  assert.match(await rebound.hearAll(), /^HTTP\/1.1 403 /);
  await Promise.all([accepted(stage), accepted(stage)].map(async (each) => (await each).close()));
  await assertServed(stage);
});

const VIOLATIONS: readonly (readonly [name: string, bytes: readonly number[], message: RegExp])[] = [
  ["a message of 1 TiB", [0x82, 0xff, 0, 0, 1, 0, 0, 0, 0, 0, ...NO_MASK], /longer than it was allowed/],
  ["a text of 1 MiB", [0x81, 0xff, 0, 0, 0, 0, 0, 0x10, 0, 0, ...NO_MASK], /a text that is no control/],
  ["a text that is no control", [0x81, 0x81, ...NO_MASK, 0x78], /neither bytes nor control/],
  ["credit beyond any number", [0x81, 0x93, ...NO_MASK, ...ascii("credit 999999999999")], /neither bytes/],
  ["more credit than can be", [0x81, 0x91, ...NO_MASK, ...ascii("credit 2147483648")], /more credit/],
  ["credit of zero", [0x81, 0x88, ...NO_MASK, ...ascii("credit 0")], /neither bytes nor control/],
  ["its end twice", [...endFrame(), ...endFrame()], /its end twice/],
  ["bytes after its end", [...endFrame(), 0x82, 0x81, ...NO_MASK, 1], /bytes after its end/],
  ["a frame without mask", [0x82, 0x01, 0x00], /without mask/],
];

function ascii(text: string): number[] {
  return [...new TextEncoder().encode(text)];
}

function endFrame(): number[] {
  return [0x81, 0x83, ...NO_MASK, ...ascii("end")];
}

for (const [name, bytes, message] of VIOLATIONS) {
  Deno.test(`a client that sends ${name} is told so and cut off, and others are served`, async () => {
    await using stage = await listening({ timers: NO_TIME });
    using stranger = await Stranger.upgraded(stage.port);
    const connection = await accepted(stage);
    const writing = name.endsWith("end twice") || name.endsWith("its end") ? null : readUntilCut(connection);
    await stranger.say(bytes);
    assert.equal(await stranger.hearAll(), "\x88\x02\x03\xea");
    const failure = writing === null
      ? await connection.write(Uint8Array.of(1)).then(() => "", (error: Error) => error.message)
      : (await writing).message;
    assert.match(failure, message);
    connection.close();
    await assertServed(stage);
  });
}

Deno.test("a client whose messages nobody reads can send the window and is cut off at the next byte", async () => {
  await using stage = await listening();
  using stranger = await Stranger.upgraded(stage.port);
  const connection = await accepted(stage);
  await stranger.say(binaryFrame(WINDOW_BYTES));
  const sending = stranger.say(binaryFrame(1));
  assert.equal(await stranger.hearAll(), "\x88\x02\x03\xea");
  await sending;
  const { bytes, message } = await readUntilCut(connection);
  assert.equal(bytes, WINDOW_BYTES);
  assert.match(message, /more bytes than it was allowed/);
  connection.close();
  await assertServed(stage);
});

Deno.test("tiny messages that nobody reads arrive whole and in order", async () => {
  await using stage = await listening();
  using stranger = await Stranger.upgraded(stage.port);
  const connection = await accepted(stage);
  const messages = 50_000;
  const flood = new Uint8Array(messages * 7);
  for (let each = 0; each < messages; each++) flood.set([0x82, 0x81, ...NO_MASK, each & 0xff], each * 7);
  await stranger.say(flood);
  const buffer = new Uint8Array(64 * 1024);
  let bytes = 0;
  while (bytes < messages) {
    const length = await connection.read(buffer);
    assert(length !== null);
    for (let index = 0; index < length; index++) assert.equal(buffer[index], (bytes + index) & 0xff);
    bytes += length;
  }
  connection.close();
});

Deno.test("a client that pings for ever and never reads does not fill the memory, and is not answered each", async () => {
  await using stage = await listening();
  using stranger = await Stranger.upgraded(stage.port);
  const connection = await accepted(stage);
  const payload = new Array<number>(125).fill(7);
  const pings = new Array<number[]>(400).fill([0x89, 0xfd, ...NO_MASK, ...payload]).flat();
  const usedBytes = (): number => {
    const { heapUsed, external } = Deno.memoryUsage();
    return heapUsed + external;
  };
  const before = usedBytes();
  let grownBytes = Infinity;
  // 31 MB of pings, so that the answers would be as much.
  for (let turn = 0; turn < 600; turn++) {
    await stranger.say(pings);
    // Waste comes and goes: the least of the second half, when half of the answers would be there.
    if (turn >= 300) grownBytes = Math.min(grownBytes, usedBytes() - before);
  }
  assert(grownBytes < 32 * 1024 * 1024, `memory grew by ${grownBytes} bytes`);
  connection.close();
  await assertServed(stage);
});

Deno.test("a client that never completes its request is cut off when its time is over", async () => {
  const pending: (() => void)[] = [];
  await using stage = await listening({
    requestTimeoutMs: 1_234,
    timers: {
      monotonicMs: () => 0,
      after: (delayMs, act) => {
        assert.equal(delayMs, 1_234);
        pending.push(act);
        return () => pending.splice(pending.indexOf(act), 1);
      },
    },
  });
  using silent = await Stranger.at(stage.port);
  using halfway = await Stranger.at(stage.port);
  await halfway.say("GET / HTTP/1.1\r\nHost: 127.0");
  const heard = Promise.all([silent.hearAll(), halfway.hearAll()]);
  while (pending.length < 2) await new Promise((resolve) => setTimeout(resolve, 1));
  for (const act of [...pending]) act();
  assert.deepEqual(await heard, ["", ""]);
});

Deno.test("half-open handshakes beyond the limit cost the oldest its place, not an honest client", async () => {
  await using stage = await listening({ timers: NO_TIME });
  using strangers = new DisposableStack();
  const opened: Stranger[] = [];
  for (let each = 0; each < 600; each++) {
    const stranger = strangers.use(await Stranger.at(stage.port));
    await stranger.say("GET / HT");
    opened.push(stranger);
  }
  await assertServed(stage);
  // Cut long before their time is over: 600 and the honest one, for 256 places.
  for (const stranger of opened.slice(0, 600 - 256)) assert.equal(await stranger.hearAll(), "");
});

Deno.test("a request of 8 KiB without an end gets 400, one of 8 KiB less one byte is served", async () => {
  await using stage = await listening();
  const headOf = (length: number): string => {
    const bare = requestHead(stage.port, "X-Fill: \r\n").length;
    return requestHead(stage.port, `X-Fill: ${"x".repeat(length - bare)}\r\n`);
  };
  using longest = await Stranger.at(stage.port);
  await longest.say(headOf(8 * 1024 - 1));
  assert.match(await longest.hear(), /^HTTP\/1.1 101 /);
  (await accepted(stage)).close();
  using tooLong = await Stranger.at(stage.port);
  await tooLong.say(headOf(8 * 1024 + 1).slice(0, 8 * 1024));
  assert.match(await tooLong.hearAll(), /^HTTP\/1.1 400 /);
  using garbage = await Stranger.at(stage.port);
  await garbage.say(new Uint8Array(8 * 1024).fill(0xff));
  assert.match(await garbage.hearAll(), /^HTTP\/1.1 400 /);
});

Deno.test("connections that the program does not accept are refused with 503 beyond 1,024", async () => {
  await using stage = await listening();
  using strangers = new DisposableStack();
  for (let each = 0; each < 1024; each++) strangers.use(await Stranger.upgraded(stage.port));
  using next = await Stranger.at(stage.port);
  await next.say(requestHead(stage.port));
  assert.match(await next.hearAll(), /^HTTP\/1.1 503 /);
  for (let each = 0; each < 1024; each++) (await accepted(stage)).close();
  await assertServed(stage);
});

Deno.test("nothing is read of a client before the program accepts it, and all of it afterwards", async () => {
  await using stage = await listening();
  using stranger = await Stranger.upgraded(stage.port);
  await stranger.say([0x89, 0x81, ...NO_MASK, 7, 0x82, 0x81, ...NO_MASK, 1]);
  const hearing = stranger.hear();
  const silence = new Promise<string>((resolve) => setTimeout(() => resolve("silence"), 100));
  assert.equal(await Promise.race([hearing, silence]), "silence");
  const connection = await accepted(stage);
  assert.equal(await hearing, "\x8a\x01\x07");
  assert.equal(await connection.read(new Uint8Array(8)), 1);
  connection.close();
});

Deno.test("a header that comes without its payload is answered with a pong, once", async () => {
  await using stage = await listening();
  using stranger = await Stranger.upgraded(stage.port);
  const connection = await accepted(stage);
  await stranger.say([0x82, 0x82, ...NO_MASK]);
  assert.equal(await stranger.hear(), "\x8a\x00");
  await stranger.say([1]);
  assert.equal(await connection.read(new Uint8Array(8)), 1);
  await stranger.say([2]);
  assert.equal(await connection.read(new Uint8Array(8)), 1);
  connection.close();
  assert.equal(await stranger.hearAll(), "\x88\x02\x03\xe8");
});

Deno.test("bytes that come right behind the request are not lost, however the request is cut", async () => {
  await using stage = await listening();
  using stranger = await Stranger.at(stage.port);
  const request = requestHead(stage.port);
  await stranger.say(request.slice(0, -2));
  await new Promise((resolve) => setTimeout(resolve, 5));
  await stranger.say([...ascii(request.slice(-2)), 0x82, 0x83, ...NO_MASK, 1, 2, 3]);
  const connection = await accepted(stage);
  const buffer = new Uint8Array(8);
  assert.equal(await connection.read(buffer), 3);
  assert.deepEqual([...buffer.subarray(0, 3)], [1, 2, 3]);
  connection.close();
});

Deno.test("a client that never answers the close frame is gone when the time for it is over", async () => {
  await using stage = await listening();
  using stranger = await Stranger.upgraded(stage.port);
  (await accepted(stage)).close();
  assert.equal(await stranger.hearAll(), "\x88\x02\x03\xe8");
});

for (const end of ["closed", "lost"] as const) {
  Deno.test(`a write that a client holds up by not reading is rejected when the connection is ${end}`, async () => {
    await using stage = await listening({ timers: NO_TIME });
    using stranger = await Stranger.upgraded(stage.port);
    const connection = await accepted(stage);
    const grant = ascii(`credit ${WINDOW_BYTES / 2}`);
    let writes = 0;
    const writing = (async () => {
      for (;; writes++) {
        await connection.write(new Uint8Array(WINDOW_BYTES / 2));
        // Credit for what was not read, until everything in between is full.
        await stranger.say([0x81, 0x80 | grant.length, ...NO_MASK, ...grant]);
      }
    })();
    for (let before = -1; before !== writes;) {
      before = writes;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    if (end === "closed") connection.close();
    else stranger[Symbol.dispose]();
    await assert.rejects(writing, { name: "TransportError", code: end });
    connection.close();
    await assertServed(stage);
  });
}

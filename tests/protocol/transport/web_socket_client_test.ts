/** webSocket as a client: of servers that keep to nothing, of TLS, and where it may not. */
import assert from "node:assert/strict";
import { WINDOW_BYTES } from "../../../src/protocol/transport/message_connection.ts";
import { webSocket } from "../../../src/protocol/transport/web_socket.ts";
import { textFrame } from "../../../src/protocol/transport/web_socket_frames.ts";
import { answerUpgrade } from "../../../src/protocol/transport/web_socket_upgrade.ts";
import { makeCertificates } from "./certificates.ts";
import { OpenWebSockets } from "./web_sockets_closed.ts";

/** A WebSocket server that does as it is told. */
function stage(
  options: Deno.UpgradeWebSocketOptions,
  act: (socket: WebSocket) => void,
): Deno.HttpServer<Deno.NetAddr> {
  return Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, (request) => {
    const { socket, response } = Deno.upgradeWebSocket(request, options);
    socket.onopen = () => act(socket);
    socket.onerror = () => {};
    return response;
  });
}

/** A server that takes a WebSocket and then reads nothing, not even a close frame. */
class DeafServer implements Disposable {
  readonly #listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  readonly url = `ws://127.0.0.1:${this.#listener.addr.port}/`;
  #socket: Deno.TcpConn | null = null;

  /** Answers the next request. */
  async upgrade(change: (head: string) => string = (head) => head): Promise<void> {
    const socket = this.#socket = await this.#listener.accept();
    const buffer = new Uint8Array(8192);
    const length = await socket.read(buffer) ?? 0;
    const request = new TextDecoder().decode(buffer.subarray(0, length)).slice(0, -4);
    const { isAccepted, head } = answerUpgrade(request, { path: "/", origins: [], isTls: false });
    assert(isAccepted, head);
    await socket.write(new TextEncoder().encode(change(head)));
  }

  async say(text: string): Promise<void> {
    await this.#socket?.write(textFrame(text));
  }

  [Symbol.dispose](): void {
    this.#socket?.close();
    this.#listener.close();
  }
}

const HOSTILE: readonly (readonly [name: string, act: (socket: WebSocket) => void])[] = [
  ["sends more than it was allowed", (socket) => {
    for (let each = 0; each <= WINDOW_BYTES; each += 65_536) socket.send(new Uint8Array(65_536));
  }],
  ["sends one message longer than it was allowed", (socket) => socket.send(new Uint8Array(WINDOW_BYTES + 1))],
  ["sends a text that is no control", (socket) => socket.send("hello")],
  ["sends a long text", (socket) => socket.send("x".repeat(1_000_000))],
];

for (const [name, act] of HOSTILE) {
  Deno.test(`webSocket cuts off a server that ${name}`, async () => {
    await using open = new OpenWebSockets();
    void open;
    const ended = Promise.withResolvers<number>();
    await using server = stage({ protocol: "postern-bytes.1" }, (socket) => {
      socket.onclose = ({ code }) => ended.resolve(code);
      act(socket);
    });
    const connection = await webSocket(`ws://127.0.0.1:${server.addr.port}/`).connect();
    await ended.promise;
    const buffer = new Uint8Array(64 * 1024);
    await assert.rejects(async () => {
      while (await connection.read(buffer) !== null);
    }, { name: "TransportError", code: "lost", message: /the other end sent/ });
    connection.close();
  });
}

Deno.test("webSocket refuses a server that does not name the subprotocol", async () => {
  await using open = new OpenWebSockets();
  void open;
  await using server = stage({}, (socket) => socket.close());
  const connecting = webSocket(`ws://127.0.0.1:${server.addr.port}/`).connect();
  await assert.rejects(connecting, { name: "TransportError", code: "refused" });
});

Deno.test("webSocket does not wait for a server without the subprotocol to answer its close frame", async () => {
  await using open = new OpenWebSockets();
  void open;
  using server = new DeafServer();
  const upgrading = server.upgrade((head) => head.replace(/\r\nSec-WebSocket-Protocol: .*/, ""));
  await assert.rejects(webSocket(server.url).connect(), { code: "refused", message: /does not speak/ });
  await upgrading;
});

Deno.test("webSocket loses a server that gives credit for what it does not read", async () => {
  await using open = new OpenWebSockets();
  void open;
  using server = new DeafServer();
  const [connection] = await Promise.all([webSocket(server.url).connect(), server.upgrade()]);
  const bytes = new Uint8Array(WINDOW_BYTES / 2);
  let writes = 0;
  await assert.rejects(async () => {
    for (; writes < 128; writes++) {
      await connection.write(bytes);
      await server.say(`credit ${bytes.length}`);
    }
  }, { name: "TransportError", code: "lost" });
  connection.close();
});

Deno.test("webSocket refuses a server that is none", async () => {
  await using open = new OpenWebSockets();
  void open;
  await using server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {} },
    () => new Response("hello"),
  );
  const connecting = webSocket(`ws://127.0.0.1:${server.addr.port}/`).connect();
  await assert.rejects(connecting, { name: "TransportError", code: "refused" });
});

Deno.test("webSocket talks over TLS when its address is of wss:, and is not called confidential", async () => {
  const { root, cert, key } = await makeCertificates();
  await using open = new OpenWebSockets([root]);
  const listener = await webSocket("wss://127.0.0.1:0/rpc", { tls: { cert, key }, timers: open.timers })
    .listen();
  assert.match(listener.address, /^wss:\/\/127\.0\.0\.1:[0-9]+\/rpc$/);
  const [ours, theirs] = await Promise.all([webSocket().connect(listener.address), listener.accept()]);
  assert(theirs !== null);
  await ours.write(Uint8Array.of(1, 2, 3));
  const buffer = new Uint8Array(8);
  assert.equal(await theirs.read(buffer), 3);
  assert.deepEqual([ours.confidential, theirs.confidential], [false, false]);
  for (const each of [ours, theirs, listener]) each.close();
});

for (const path of ["/?", "/#", "/a%20b?x='1'", "/\u00e4?\u00f6"]) {
  Deno.test(`webSocket connects to what listens on an address that ends in ${path}`, async () => {
    await using open = new OpenWebSockets();
    const listener = await webSocket(`ws://127.0.0.1:0${path}`, { timers: open.timers }).listen();
    const { port } = new URL(listener.address);
    const connecting = [listener.address, `ws://127.0.0.1:${port}${path}`].map((url) =>
      webSocket(url).connect()
    );
    for (const each of [...await Promise.all(connecting), listener]) each.close();
  });
}

const ADDRESSES: readonly (readonly [name: string, address: string | undefined])[] = [
  ["none", undefined],
  ["no URL", "127.0.0.1:80"],
  ["http", "http://127.0.0.1/"],
  ["one with a user", "ws://user@127.0.0.1/"],
  ["one with a fragment", "ws://127.0.0.1/#here"],
];

for (const [name, address] of ADDRESSES) {
  Deno.test(`webSocket takes no address such as ${name}`, async () => {
    await assert.rejects(webSocket(address).connect(), { name: "TransportError", code: "address" });
    await assert.rejects(webSocket(address).listen(), { name: "TransportError", code: "address" });
  });
}

Deno.test("webSocket listens on wss: only with a certificate", async () => {
  await assert.rejects(webSocket("wss://127.0.0.1:0/").listen(), { code: "address", message: /"tls"/ });
});

Deno.test({
  name: "webSocket says which permission it lacks",
  permissions: { net: false, import: true, read: true },
  fn: async () => {
    await assert.rejects(webSocket("ws://127.0.0.1:9/").connect(), {
      code: "permission",
      message: /--allow-net/,
    });
    await assert.rejects(webSocket("ws://127.0.0.1:0/").listen(), {
      code: "permission",
      message: /--allow-net/,
    });
  },
});

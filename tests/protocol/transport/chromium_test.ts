import assert from "node:assert/strict";
import { transportConformance } from "../../../src/protocol/transport/conformance.ts";
import type { Connection, Listener } from "../../../src/protocol/transport/transport.ts";
import { webSocket } from "../../../src/protocol/transport/web_socket.ts";
import { Chromium, CHROMIUM_MISSING } from "../../chromium.ts";
import { OpenWebSockets } from "./web_sockets_closed.ts";

const PAGE = new URL("chromium/page.ts", import.meta.url).pathname;
const TIMEOUT_MS = 60_000;

/** Serves the page to a Chromium, gives its origin to `prepare` and waits for what the page tells. */
async function toldByPage(prepare: (origin: string) => Promise<string>): Promise<unknown> {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["bundle", "--quiet", "--platform=browser", PAGE],
  }).output();
  assert(success, new TextDecoder().decode(stderr));
  const outcome = Promise.withResolvers<unknown>();
  await using server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, async (request) => {
    const { pathname } = new URL(request.url);
    if (pathname === "/outcome") outcome.resolve(await request.json());
    if (pathname === "/page.js") {
      return new Response(stdout, { headers: { "content-type": "text/javascript" } });
    }
    return new Response('<!doctype html><script type="module" src="/page.js"></script>', {
      headers: { "content-type": "text/html" },
    });
  });
  const watchdog = setTimeout(() => outcome.reject(new Error("the page told nothing in time")), TIMEOUT_MS);
  try {
    const origin = `http://127.0.0.1:${server.addr.port}`;
    await using _chromium = await Chromium.open(`${origin}/?${await prepare(origin)}`);
    return await outcome.promise;
  } finally {
    clearTimeout(watchdog);
  }
}

async function echoing(connection: Connection): Promise<void> {
  const buffer = new Uint8Array(64 * 1024);
  for (;;) {
    const length = await connection.read(buffer);
    if (length === null) break;
    await connection.write(buffer.subarray(0, length));
  }
  await connection.closeWrite();
  // The page hangs up.
  assert.equal(await connection.read(buffer).catch(() => null), null);
  connection.close();
}

async function closeAccepted(listener: Listener): Promise<void> {
  for (let next = await listener.accept(); next !== null; next = await listener.accept()) next.close();
}

Deno.test({
  name: `a page in Chromium reaches a WebSocket listener only if its origin may${CHROMIUM_MISSING}`,
  ignore: CHROMIUM_MISSING !== "",
  fn: async () => {
    await using open = new OpenWebSockets();
    const { timers } = open;
    const closed = await webSocket("ws://127.0.0.1:0/", { timers }).listen();
    const listeners = [closed];
    const told = await toldByPage(async (origin) => {
      const listed = await webSocket("ws://127.0.0.1:0/", { timers, origins: [origin] }).listen();
      listeners.push(listed);
      return new URLSearchParams([["open", closed.address], ["open", listed.address]]).toString();
    });
    assert.deepEqual(told, ["refused", "opened"]);
    await Promise.all(listeners.map((listener) => {
      const ended = closeAccepted(listener);
      listener.close();
      return ended;
    }));
  },
});

Deno.test({
  name: `a page in Chromium gets 16 MiB back over a WebSocket, and the end behind it${CHROMIUM_MISSING}`,
  ignore: CHROMIUM_MISSING !== "",
  fn: async () => {
    await using open = new OpenWebSockets();
    let listener: Listener | null = null;
    let echoed: Promise<void> = Promise.resolve();
    const told = await toldByPage(async (origin) => {
      listener = await webSocket("ws://127.0.0.1:0/", { timers: open.timers, origins: [origin] }).listen();
      echoed = listener.accept().then((connection) => {
        assert(connection !== null);
        return echoing(connection);
      });
      return new URLSearchParams({ echo: listener.address }).toString();
    });
    assert.deepEqual(told, ["16777216 bytes, the same"]);
    await echoed;
    (listener as Listener | null)?.close();
  },
});

Deno.test({
  name: `messagePort keeps every promise of the conformance suite in Chromium${CHROMIUM_MISSING}`,
  ignore: CHROMIUM_MISSING !== "",
  fn: async () => {
    const told = await toldByPage(() => Promise.resolve("conformance"));
    const count = transportConformance(() => Promise.reject(new Error("not to be run here"))).length;
    assert.deepEqual(told, new Array(count).fill("ok"));
  },
});

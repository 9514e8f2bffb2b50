import assert from "node:assert/strict";
import {
  type ConformanceCase,
  listenerConformance,
  pairsOf,
  transportConformance,
} from "../../../src/protocol/transport/conformance.ts";
import type { Transport } from "../../../src/protocol/transport/transport.ts";
import { webSocket } from "../../../src/protocol/transport/web_socket.ts";
import { OpenWebSockets } from "./web_sockets_closed.ts";

const ADDRESS = "ws://127.0.0.1:0/";

function testEach(kind: string, cases: (transport: Transport) => readonly ConformanceCase[]): void {
  for (const [index, { name }] of cases(webSocket(ADDRESS)).entries()) {
    Deno.test(`webSocket: ${kind} ${name}`, async () => {
      await using open = new OpenWebSockets();
      const each = cases(webSocket(ADDRESS, { timers: open.timers }))[index];
      assert(each !== undefined);
      await each.run();
    });
  }
}

testEach("a connection", (transport) => transportConformance(pairsOf(transport)));
testEach("a listener", (transport) => listenerConformance(transport));

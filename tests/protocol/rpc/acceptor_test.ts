import assert from "node:assert/strict";
import { Acceptor } from "../../../src/protocol/rpc/acceptor.ts";
import type { HandshakeResult } from "../../../src/protocol/rpc/handshake.ts";
import type { NodeEvent } from "../../../src/protocol/rpc/node_event.ts";
import type { Peer } from "../../../src/protocol/rpc/peer.ts";
import { onePlace } from "../../../src/protocol/rpc/places.ts";
import { memory } from "../../../src/protocol/transport/memory.ts";
import type { Listener } from "../../../src/protocol/transport/transport.ts";
import { FakeTimers, settled } from "./fake_timers.ts";
import { STRANGER } from "./peer_pair.ts";

Deno.test("a place that was promised to a handshake which fails after all is given back", async () => {
  const transport = memory(), listener = await transport.listen();
  const answers: (string | null)[] = [];
  const acceptor = new Acceptor({
    listener,
    places: onePlace(),
    timers: new FakeTimers(),
    report: () => {},
    shake: async (_connection, admit): Promise<HandshakeResult> => {
      answers.push(await admit(STRANGER));
      throw new Error("lost before the accept frame was written");
    },
    open: (): Peer => assert.fail("nobody was accepted"),
  });
  for (let i = 0; i < 3; i++) {
    const connection = await transport.connect();
    await settled();
    assert.equal(await connection.read(new Uint8Array(1)).catch(() => null), null, "it was closed");
    connection.close();
  }
  assert.deepEqual(answers, [null, null, null]);
  assert.equal(acceptor.unfinishedHandshakes, 0);
  await acceptor.close();
});

Deno.test("a listener that fails to accept is asked again after a pause, and closed without one", async () => {
  const timers = new FakeTimers(), events: NodeEvent[] = [];
  let asked = 0;
  const listener: Listener = {
    address: "nowhere",
    accept: () => {
      asked++;
      return Promise.reject(new Error("too many open files"));
    },
    close: () => {},
  };
  const acceptor = new Acceptor({
    listener,
    places: onePlace(),
    timers,
    report: (event) => events.push(event),
    shake: () => assert.fail("nobody came"),
    open: () => assert.fail("nobody came"),
  });
  await timers.pass(1_000);
  assert.equal(asked, 6);
  assert.equal(events.filter(({ kind }) => kind === "problem").length, 6);
  await acceptor.close();
  assert.equal(timers.pending, 0);
});

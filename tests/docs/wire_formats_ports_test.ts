/** What travels over ports, as docs/wire-formats.md shows it: each side by hand against the code of the other. */
import assert from "node:assert/strict";
import { type BasePort, messagePort } from "../../src/protocol/transport/message_port.ts";
import { MIN_RING_BYTES, ringsIn, RingWriter } from "../../src/protocol/transport/ring/ring.ts";
import { workerRing } from "../../src/protocol/transport/ring/worker_ring.ts";
import type { Transport } from "../../src/protocol/transport/transport.ts";
import { readExactly, readToEnd } from "./connection_reading.ts";
import { dialogue, playBoth } from "./port_dialogue.ts";

const encoder = new TextEncoder(), decoder = new TextDecoder();
/** Every wait here ends; a test that reaches this fails. */
const TIMEOUT_MS = 30_000;

Deno.test({
  name: "docs/wire-formats.md shows what both sides of a message port post",
  timeout: TIMEOUT_MS,
  async fn(): Promise<void> {
    await playBoth(dialogue("message port"), messagePort, async (side, code, player, rest) => {
      const connection = await code;
      assert(connection !== null);
      const speak = async (): Promise<void> => {
        await connection.write(encoder.encode("hello"));
        await connection.closeWrite();
      };
      const listen = async (): Promise<void> =>
        assert.equal(decoder.decode(await readToEnd(connection)), "hello");
      await Promise.all([
        player.play(rest),
        side === "D" ? listen().then(speak) : speak().then(listen).then(() => connection.close()),
      ]);
      connection.close();
    });
  },
});

Deno.test({
  name: "docs/wire-formats.md shows how both sides of a worker ring get their memory",
  timeout: TIMEOUT_MS,
  async fn(): Promise<void> {
    const transportOn = (base: BasePort): Transport => workerRing(base, { ringBytes: MIN_RING_BYTES });
    await playBoth(dialogue("worker ring"), transportOn, async (side, code, { memory }) => {
      const connection = await code;
      assert(connection !== null && memory !== null);
      const rings = ringsIn(memory, 0, MIN_RING_BYTES);
      const [outgoing, incoming] = side === "D" ? rings : rings.toReversed();
      assert(outgoing !== undefined && incoming !== undefined);
      await connection.write(encoder.encode("hello"));
      assert.equal(decoder.decode(outgoing.bytes.slice(0, 5)), "hello");
      new RingWriter(incoming).write(encoder.encode("ok"));
      assert.equal(decoder.decode(await readExactly(connection, 2)), "ok");
      connection.close();
    });
  },
});

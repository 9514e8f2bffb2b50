/** What a slow reader costs: the window, and nothing that grows with the stream. */
import assert from "node:assert/strict";
import { call, contract, stream, upload } from "../../../src/protocol/rpc/contract.ts";
import { implement } from "../../../src/protocol/rpc/implement.ts";
import { viewCodec } from "../../../src/protocol/rpc/view_codec.ts";
import { EVERY_TRANSPORT } from "./every_transport.ts";
import { peerPair } from "./peer_pair.ts";

const MIB = 1024 * 1024;
const TIMEOUT_MS = 120_000;
const bulk = contract({
  read: stream<number, Uint8Array>(),
  write: upload<number, Uint8Array, number>(),
  quick: call<Uint8Array, number>(),
});
const CHUNK = new Uint8Array(64 * 1024).fill(7);

function* chunks(count: number, made: { count: number }): Generator<Uint8Array> {
  for (let i = 0; i < count; i++) {
    made.count++;
    yield CHUNK;
  }
}

for (const transport of EVERY_TRANSPORT.filter(({ name }) => name === "tcp" || name === "memory")) {
  Deno.test({
    name: `1 GiB through a slow reader over ${transport.name} keeps memory flat, and calls go on beside it`,
    timeout: TIMEOUT_MS,
    async fn(): Promise<void> {
      const total = 1024 * MIB, count = total / CHUNK.length;
      const made = { count: 0 };
      await using ends = await transport.open();
      await using pair = peerPair({
        connections: ends.connections,
        codec: viewCodec(),
        dialler: { calls: bulk },
        listener: {
          serves: implement(bulk, {
            read: (n) => chunks(n, made),
            write: () => 0,
            quick: (bytes) => bytes.length,
          }),
        },
      });
      let taken = 0, mostAhead = 0, mostRss = 0, early = 0;
      for await (const chunk of pair.dialler.client.read(count)) {
        assert.equal(chunk.length, CHUNK.length);
        taken++;
        mostAhead = Math.max(mostAhead, made.count - taken);
        if (taken % 1024 === 0) {
          // Slow: the other side has all the time it could want to run ahead.
          await new Promise((resolve) => setTimeout(resolve, 20));
          assert.equal(await pair.dialler.client.quick(CHUNK), CHUNK.length);
          mostRss = Math.max(mostRss, Deno.memoryUsage().rss);
          if (taken === 4096) early = mostRss;
        }
      }
      assert.equal(taken, count);
      // The window is 256 KiB: four chunks and the one that goes beyond it, half of that on its way back as credit.
      assert(mostAhead <= 8, `the sender was ${mostAhead} chunks ahead`);
      assert(mostRss < early + 128 * MIB, `memory went from ${early} to ${mostRss} bytes`);
    },
  });
}

Deno.test({
  name: "a handler that reads nothing stops the caller's source at the window",
  timeout: TIMEOUT_MS,
  async fn(): Promise<void> {
    const made = { count: 0 };
    let answer: (value: number) => void = () => {};
    await using pair = peerPair({
      codec: viewCodec(),
      dialler: { calls: bulk },
      listener: {
        serves: implement(bulk, {
          read: () => [],
          write: () => new Promise((resolve) => (answer = resolve)),
          quick: (bytes) => bytes.length,
        }),
      },
    });
    const outcome = pair.dialler.client.write(0, chunks(1_000_000, made));
    for (let i = 0; i < 20; i++) await pair.dialler.ping();
    assert(made.count >= 4 && made.count <= 5, `${made.count} chunks were made`);
    answer(5);
    assert.equal(await outcome, 5);
    await pair.dialler.ping();
    assert.equal(pair.dialler.counts().streams, 0);
  },
});

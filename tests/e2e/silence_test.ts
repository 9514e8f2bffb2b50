/** Whatever is thrown at the server, not a byte comes back. */
import assert from "node:assert/strict";
import { formatKey } from "../../src/protocol/knock/key.ts";
import { buildRurocoPacket, rurocoCommandHash, rurocoIp } from "../reference/ruroco.ts";
import { nextCounter } from "./counters.ts";
import { NO_RATES, ServerLab } from "./server_lab.ts";
import { statusAfter } from "./status_file.ts";
import { receiveQueue, UdpPeer } from "./udp_peer.ts";

const PEER = "127.0.0.1";
const RANDOM_DATAGRAMS = 10_000;
const LOOKALIKES = 2_000;
const MAX_BYTES = 1400;

/** Small and seeded (mulberry32), so that a failure can be repeated with POSTERN_SEED. */
function randomNumbers(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let x = Math.imul(state ^ state >>> 15, state | 1);
    x ^= x + Math.imul(x ^ x >>> 7, x | 61);
    return ((x ^ x >>> 14) >>> 0) % below;
  };
}

function randomBytes(random: (below: number) => number, length: number): Uint8Array {
  return Uint8Array.from({ length }, () => random(256));
}

Deno.test({
  name:
    `server answers nothing to ${RANDOM_DATAGRAMS} random datagrams and ${LOOKALIKES} that look like packets`,
  timeout: 120_000,
  async fn(): Promise<void> {
    const seed = Number(Deno.env.get("POSTERN_SEED") ?? crypto.getRandomValues(new Uint32Array(1))[0]);
    const random = randomNumbers(seed);
    await using lab = await ServerLab.start({ config: NO_RATES });
    await using peer = new UdpPeer(lab.port);
    const { key } = lab.files;
    function genuine(): Uint8Array {
      return buildRurocoPacket({
        key: formatKey(key),
        command: "default",
        counter: nextCounter(),
        destinationIp: PEER,
      });
    }
    function* datagrams(): Generator<Uint8Array> {
      for (let i = 0; i < RANDOM_DATAGRAMS; i++) yield randomBytes(random, i % (MAX_BYTES + 1));
      const captured = genuine();
      for (let i = 0; i < LOOKALIKES; i++) {
        const lookalike = captured.slice();
        // The id of a real key, then from nothing to everything else random.
        lookalike.set(randomBytes(random, random(87)), 8);
        lookalike[93] = (lookalike[93] ?? 0) ^ (1 + random(255));
        yield lookalike;
      }
    }
    try {
      await peer.sendAll(datagrams(), { perBatchMs: 0 });
      assert.equal((await receiveQueue(lab.port)).drops, 0);
      const status = await statusAfter(lab.files.statusPath, RANDOM_DATAGRAMS + LOOKALIKES);
      assert.equal(status.accepted, 0);
      assert.deepEqual(lab.recorder.messages, []);

      await peer.send(genuine());
      await statusAfter(lab.files.statusPath, RANDOM_DATAGRAMS + LOOKALIKES + 1);
      assert.deepEqual(lab.recorder.messages, [rurocoCommandHash("default") + rurocoIp(PEER)]);
      assert.deepEqual(peer.answers, []);
    } catch (error) {
      throw new Error(`failed with POSTERN_SEED=${seed}`, { cause: error });
    }
  },
});

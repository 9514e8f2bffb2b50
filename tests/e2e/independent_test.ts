/** Packets made by the independent implementation in `tests/reference`, at a real server and a real commander. */
import assert from "node:assert/strict";
import { formatKey } from "../../src/protocol/knock/key.ts";
import { Lab } from "../../scripts/lab.ts";
import { buildRurocoPacket, type RurocoKnock } from "../reference/ruroco.ts";
import { counterAhead, nextCounter } from "./counters.ts";
import { NO_RATES } from "./server_lab.ts";
import { refusalsByReason, statusAfter } from "./status_file.ts";
import { UdpPeer } from "./udp_peer.ts";
import { linesOf, until } from "./until.ts";

const PEER = "127.0.0.1";
const PACKET_BYTES = 94;
const KEY_ID_BITS = 64;
const BITS = 8 * PACKET_BYTES;
const SKEW_SECONDS = 600;

class KnockTest implements AsyncDisposable {
  readonly lab: Lab;
  readonly peer: UdpPeer;

  private constructor(lab: Lab) {
    this.lab = lab;
    this.peer = new UdpPeer(lab.port);
  }

  static async start(): Promise<KnockTest> {
    return new KnockTest(
      await Lab.start({
        commands: (folder) =>
          `[commands]\nopen_port = 'echo "$RUROCO_IP $POSTERN_IP" >> ${folder}/ran'\nother = 'echo other >> ${folder}/ran'\n`,
        config: `${NO_RATES}\nmax_clock_skew_seconds = ${SKEW_SECONDS}`,
      }),
    );
  }

  packet(fields: Partial<RurocoKnock> = {}): Uint8Array<ArrayBuffer> {
    return buildRurocoPacket({
      key: formatKey(this.lab.files.key),
      command: "open_port",
      counter: nextCounter(),
      strict: true,
      destinationIp: PEER,
      ...fields,
    });
  }

  runs(): Promise<string[]> {
    return linesOf(`${this.lab.files.folder}/ran`);
  }

  /** Waits until everything sent so far is settled; returns the refusals by reason. */
  async refusals(): Promise<Record<string, number>> {
    return refusalsByReason(await statusAfter(this.lab.files.statusPath, this.peer.sent));
  }

  /** A genuine knock must run, after whatever came before it, and must be the only one that ran since `before`. */
  async assertOnlyThisRuns(genuine: Uint8Array, before: readonly string[] = []): Promise<void> {
    await this.peer.send(genuine);
    await until("the genuine knock ran", async () => (await this.runs()).length > before.length);
    const { accepted } = await statusAfter(this.lab.files.statusPath, this.peer.sent);
    assert.equal(accepted, before.length + 1);
    assert.deepEqual(await this.runs(), [...before, `${PEER} ${PEER}`]);
    assert.deepEqual(this.peer.answers, []);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.peer[Symbol.asyncDispose]();
    await this.lab[Symbol.asyncDispose]();
  }
}

function flipped(packet: Uint8Array, bit: number): Uint8Array {
  const copy = packet.slice();
  copy[bit >> 3] = (copy[bit >> 3] ?? 0) ^ (0x80 >> (bit & 7));
  return copy;
}

/** The packet cut short, or filled up with zeros. */
function ofLength(packet: Uint8Array, bytes: number): Uint8Array {
  const copy = new Uint8Array(bytes);
  copy.set(packet.subarray(0, bytes));
  return copy;
}

Deno.test({
  name: "a packet of the independent implementation runs its command once; its replays do not",
  timeout: 40_000,
  async fn(): Promise<void> {
    await using test = await KnockTest.start();
    const packet = test.packet();
    await test.assertOnlyThisRuns(packet);

    for (let i = 0; i < 5; i++) await test.peer.send(packet);
    assert.deepEqual(await test.refusals(), { replayed: 5 });
    await test.assertOnlyThisRuns(test.packet(), [`${PEER} ${PEER}`]);
  },
});

Deno.test({
  name: `a packet with any one of its ${BITS} bits flipped runs nothing; the packet itself still does`,
  timeout: 60_000,
  async fn(): Promise<void> {
    await using test = await KnockTest.start();
    const packet = test.packet();
    await test.peer.sendAll(Array.from({ length: BITS }, (_, bit) => flipped(packet, bit)));
    const { unknown_key, authentication, decrypt_budget = 0, ...others } = await test.refusals();
    assert.equal(unknown_key, KEY_ID_BITS);
    // A machine that stalls sees many at once, and the budget may then drop some unopened; those run nothing either.
    assert.equal((authentication ?? 0) + decrypt_budget, BITS - KEY_ID_BITS);
    assert((authentication ?? 0) > decrypt_budget);
    assert.deepEqual(others, {});
    await test.assertOnlyThisRuns(packet);
  },
});

Deno.test({
  name: "a packet of any other length from 0 to 200 runs nothing",
  timeout: 40_000,
  async fn(): Promise<void> {
    await using test = await KnockTest.start();
    const packet = test.packet();
    const lengths = Array.from({ length: 201 }, (_, bytes) => bytes).filter((bytes) =>
      bytes !== PACKET_BYTES
    );
    await test.peer.sendAll(lengths.map((bytes) => ofLength(packet, bytes)));
    assert.deepEqual(await test.refusals(), { length: lengths.length });
    await test.assertOnlyThisRuns(packet);
  },
});

Deno.test({
  name: "a wrong version, counter, destination or source runs nothing and uses nothing up",
  timeout: 40_000,
  async fn(): Promise<void> {
    await using test = await KnockTest.start();
    const floor = nextCounter();
    await test.assertOnlyThisRuns(test.packet({ counter: floor }));

    // A counter below that of the genuine knock at the end: none of these may have raised the floor.
    const counter = nextCounter();
    const genuine = test.packet({ counter: counter + 1n });
    await test.peer.sendAll([
      test.packet({ counter, version: 0 }),
      test.packet({ counter, version: 2 }),
      test.packet({ counter, version: 255 }),
      test.packet({ counter: floor }),
      test.packet({ counter: floor, command: "other" }),
      test.packet({ counter: floor - 1n }),
      test.packet({ counter: 0n }),
      test.packet({ counter: counterAhead(SKEW_SECONDS + 60) }),
      test.packet({ counter: 2n ** 128n - 1n }),
      test.packet({ counter, destinationIp: "127.0.0.2" }),
      test.packet({ counter, destinationIp: "::1" }),
      test.packet({ counter, sourceIp: "127.0.0.2" }),
      test.packet({ counter, sourceIp: "2001:db8::7" }),
    ]);
    assert.deepEqual(await test.refusals(), {
      version: 3,
      replayed: 4,
      beyond_skew: 2,
      destination: 2,
      source: 2,
    });
    await test.assertOnlyThisRuns(genuine, [`${PEER} ${PEER}`]);
  },
});

Deno.test({
  name:
    "a strict packet from its own source, and a permissive one for another, run with the address they name",
  timeout: 40_000,
  async fn(): Promise<void> {
    await using test = await KnockTest.start();
    await test.peer.sendAll([test.packet({ sourceIp: PEER })]);
    await until("the strict packet ran", async () => (await test.runs()).length === 1);
    await test.peer.sendAll([test.packet({ sourceIp: "192.0.2.7", strict: false })]);
    await until("the permissive packet ran", async () => (await test.runs()).length === 2);
    await test.peer.sendAll([test.packet({ sourceIp: "2001:db8:0:0::7", strict: false })]);
    await until("the packet for an IPv6 address ran", async () => (await test.runs()).length === 3);
    assert.deepEqual(await test.runs(), [
      `${PEER} ${PEER}`,
      "192.0.2.7 192.0.2.7",
      "2001:db8::7 2001:db8::7",
    ]);
  },
});

Deno.test({
  name: "a packet for a command that is not configured runs nothing",
  timeout: 40_000,
  async fn(): Promise<void> {
    await using test = await KnockTest.start();
    const from = test.lab.commander.lines.length;
    await test.peer.send(test.packet({ command: "Open_Port" }));
    await test.lab.commander.line((line) => /unknown_command/.test(line.text), { from });
    await test.peer.send(test.packet());
    await until("the genuine knock ran", async () => (await test.runs()).length > 0);
    assert.deepEqual(await test.runs(), [`${PEER} ${PEER}`]);
  },
});

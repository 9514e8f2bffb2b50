/** The known answers of `tests/vectors/`, each through a real server process. */
import assert from "node:assert/strict";
import { encodeFloors } from "../../src/protocol/knock/floors_codec.ts";
import { parseKey } from "../../src/protocol/knock/key.ts";
import { rurocoCommandHash, rurocoIp } from "../reference/ruroco.ts";
import first from "../vectors/knock-v1.json" with { type: "json" };
import more from "../vectors/knock-v1-more.json" with { type: "json" };
import { counterAhead } from "./counters.ts";
import { fromHex } from "./hex.ts";
import { NO_RATES, ServerLab } from "./server_lab.ts";
import { refusalsByReason, statusAfter } from "./status_file.ts";
import { UdpPeer } from "./udp_peer.ts";

interface PacketVector {
  readonly key: string;
  readonly command: string;
  readonly counter: string;
  readonly strict: boolean;
  readonly source_ip: string | null;
  readonly destination_ip: string;
  readonly packet: string;
}

const PEER = "127.0.0.1";
const SKEW_SECONDS = 3600;
const packets: readonly PacketVector[] = [...first.packets, ...more.packets, ...more.decode_only];

/** A floor just below the packet's counter; nothing is below a counter of 0. */
function floorBelow(vector: PacketVector): bigint {
  const counter = BigInt(vector.counter);
  return counter === 0n ? 0n : counter - 1n;
}

/** Why the server must refuse the packet from PEER, or null. Written from docs/wire-formats.md, not from the code. */
function refusalOf(vector: PacketVector): string | null {
  const counter = BigInt(vector.counter);
  if (counter <= floorBelow(vector)) return "replayed";
  if (counter > counterAhead(SKEW_SECONDS)) return "beyond_skew";
  const isFromElsewhere = vector.source_ip !== null && rurocoIp(vector.source_ip) !== rurocoIp(PEER);
  return vector.strict && isFromElsewhere ? "source" : null;
}

/** Groups in which no key id occurs twice: a server refuses to start with two keys of one id. */
function groupsOfDistinctKeys(): PacketVector[][] {
  const groups: PacketVector[][] = [];
  for (const vector of packets) {
    const id = parseKey(vector.key).id;
    const group = groups.find((each) => each.every((other) => parseKey(other.key).id !== id));
    if (group === undefined) groups.push([vector]);
    else group.push(vector);
  }
  return groups;
}

function tally(values: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const value of values) counts[value] = (counts[value] ?? 0) + 1;
  return counts;
}

function configIps(vectors: readonly PacketVector[]): string[] {
  return [...new Set(vectors.map((vector) => vector.destination_ip))];
}

function startWith(vectors: readonly PacketVector[], keys: readonly string[]): Promise<ServerLab> {
  return ServerLab.start({
    ips: configIps(vectors),
    config: `${NO_RATES}\nmax_clock_skew_seconds = ${SKEW_SECONDS}`,
    async prepare({ folder, keyPath }): Promise<void> {
      await Deno.remove(keyPath);
      for (const [index, key] of keys.entries()) {
        await Deno.writeTextFile(`${folder}/etc/vector-${index}.key`, key, { mode: 0o600 });
      }
      const floors = new Map(vectors.map((vector) => [parseKey(vector.key).id, floorBelow(vector)]));
      await Deno.writeFile(`${folder}/state/blocklist.msgpck`, encodeFloors(floors));
    },
  });
}

const groups = groupsOfDistinctKeys();

for (const [index, group] of groups.entries()) {
  Deno.test({
    name: `server forwards each packet vector once, never its replay (group ${
      index + 1
    }, ${group.length} packets)`,
    timeout: 40_000,
    async fn(): Promise<void> {
      await using lab = await startWith(group, group.map((vector) => vector.key));
      await using peer = new UdpPeer(lab.port);
      const expected = group.map((vector) => ({
        refusal: refusalOf(vector),
        message: rurocoCommandHash(vector.command) + rurocoIp(vector.source_ip ?? PEER),
      }));
      const good = expected.filter(({ refusal }) => refusal === null);
      const bad = expected.flatMap(({ refusal }) => refusal ?? []);
      assert(good.length > 0);

      await peer.sendAll(group.map((vector) => fromHex(vector.packet)));
      const once = await statusAfter(lab.files.statusPath, group.length);
      assert.deepEqual(refusalsByReason(once), tally(bad));
      assert.deepEqual(lab.recorder.messages.toSorted(), good.map(({ message }) => message).toSorted());

      await peer.sendAll(group.map((vector) => fromHex(vector.packet)));
      const twice = await statusAfter(lab.files.statusPath, 2 * group.length);
      const replays = good.map(() => "replayed");
      assert.deepEqual(refusalsByReason(twice), tally([...bad, ...bad, ...replays]));
      assert.equal(lab.recorder.messages.length, good.length);
      assert.deepEqual(peer.answers, []);
    },
  });
}

Deno.test({
  name: `server refuses each refusal vector for its reason (${more.refusals.length} datagrams)`,
  timeout: 40_000,
  async fn(): Promise<void> {
    const keys = [...new Set(more.refusals.map((vector) => vector.key))];
    const [witness] = first.packets;
    assert(witness !== undefined);
    await using lab = await startWith([witness], [...keys, witness.key]);
    await using peer = new UdpPeer(lab.port);

    await peer.sendAll(more.refusals.map((vector) => fromHex(vector.packet)));
    const status = await statusAfter(lab.files.statusPath, more.refusals.length);
    const reasons = more.refusals.map(({ refusal }) => refusal === "key_id" ? "unknown_key" : refusal);
    assert.deepEqual(refusalsByReason(status), tally(reasons));
    assert.deepEqual(lab.recorder.messages, []);

    await peer.send(fromHex(witness.packet));
    await statusAfter(lab.files.statusPath, more.refusals.length + 1);
    assert.deepEqual(lab.recorder.messages, [rurocoCommandHash(witness.command) + rurocoIp(PEER)]);
    assert.deepEqual(peer.answers, []);
  },
});

/**
 * A server that was broken into, between an administrator and a host: nobody can be put in the place of a host. The hosts
 * are real processes; the administrator's program is one where its words count, and its code in this process elsewhere.
 */
import assert from "node:assert/strict";
import { SessionExchange, sessionKeys } from "../../src/protocol/manage/session_keys.ts";
import type { ExecOutput } from "../../src/protocol/manage/session_contract.ts";
import { sessionPeer } from "../../src/protocol/manage/session_flow.ts";
import { answerForAdmin, answerOpen } from "../../src/protocol/manage/session_open.ts";
import { fingerprint } from "../../src/protocol/manage/signing_key.ts";
import { systemRandomBytes as random, systemTimers as timers } from "../../src/protocol/rpc/timers.ts";
import { refusing } from "./manage_hostile_host.ts";
import { HostileWorld, onHostileStage } from "./manage_hostile_world.ts";
import { until } from "./until.ts";

const EXCHANGE_KEY_AT = 1, EXCHANGE_KEY_END = 33;

onHostileStage(
  "a server that was broken into can put nobody in a host's place, and is found out when it turns the audit back",
  [
    "a host's key swapped where the open is prepared: refused with both fingerprints, and nothing is signed",
    async (world) => {
      const { server, lab, mallory } = world;
      server.wiles = { prepared: (honest) => ({ ...honest, hostKey: mallory.publicKey }) };
      const opens = server.opens.length;
      const refused = await lab.client("alice", ["exec", "web1", "--", "true"]);
      assert.equal(refused.code, 255);
      assert.match(refused.stderr, /refused: the key of web1 has changed: found /);
      assert(refused.stderr.includes(fingerprint(mallory.publicKey)), refused.stderr);
      assert(refused.stderr.includes(fingerprint(server.host("web1").key)), refused.stderr);
      assert.equal(server.opens.length, opens);
    },
  ],
  [
    "the documented exception: where no key of the host is known yet, the first one is believed and shown",
    firstUse,
  ],
  [
    "an answer that the host has not signed is refused: changed, made up, of an earlier open, of another host",
    answers,
  ],
  ["the same by the shipped program: it says why, and ends with 255", async (world) => {
    world.server.wiles = { answer: (answer) => Promise.resolve(flipped(answer, 40)) };
    const refused = await world.lab.client("alice", ["exec", "web1", "--", "true"]);
    assert.equal(refused.code, 255);
    assert.match(refused.stderr, /the answer is not signed by the host that was asked/);
    assert.match(refused.stderr, /somebody may stand in between/);
  }],
  [
    "an audit that was turned back is said; a head with a forged signature opens no session",
    async (world) => {
      const { server } = world;
      const link = await world.connect();
      await world.open(link);
      await link.leave();
      const later = await world.connect();
      server.wiles = { head: () => server.head(3) };
      await world.open(later);
      const warning = /warning: the server's audit was changed or rewound: it ends with row 3, and had row/;
      await until("alice is warned", () => world.notices.some((line) => warning.test(line)));
      server.wiles = { head: async () => ({ ...await server.head(), signature: random(64) }) };
      await assert.rejects(world.open(await world.connect()), /not signed by the key that it has shown/);
    },
  ],
);

function flipped(bytes: Uint8Array, at: number): Uint8Array<ArrayBuffer> {
  const copy = Uint8Array.from(bytes);
  copy[at] = (copy[at] ?? 0) ^ 1;
  return copy;
}

async function firstUse(world: HostileWorld): Promise<void> {
  const { server, lab, mallory } = world;
  const folder = await world.newMachine("newcomer");
  const heard: string[][] = [];
  server.wiles = {
    prepared: (honest) => ({ ...honest, hostKey: mallory.publicKey }),
    takeOpen: async (flow, open) => {
      const exchange = await SessionExchange.create(random);
      const answer = await answerOpen(open.bytes, exchange.publicKey, mallory);
      const keys = sessionKeys(await exchange.agree(open.ephemeral), open.bytes, answer);
      const peer = sessionPeer(flow.accept(answerForAdmin(answer, await server.head())), keys, {
        side: "host",
        handlers: {
          ...refusing,
          exec: async function* ({ command }): AsyncGenerator<ExecOutput> {
            heard.push([...command]);
            yield { exitCode: 0 };
          },
        },
        timers,
      });
      await peer.closed;
    },
  };
  const line = ["exec", "web1", "--", "restart", "everything"] as const;
  const believed = await lab.client("newcomer", [...line]);
  assert.equal(believed.code, 0, believed.stderr);
  assert(believed.stderr.includes(`its key is pinned, ${fingerprint(mallory.publicKey)}`), believed.stderr);
  assert.deepEqual(heard, [["restart", "everything"]]);
  // It is found out by the first one that compares: with what others have, or when the true host is met.
  server.wiles = {};
  const found = await lab.client("newcomer", [...line]);
  assert.equal(found.code, 255);
  assert.match(found.stderr, /the key of web1 has changed/);
  // And what alice has signed for the false host is worth nothing at the true one.
  const stolen = server.opens.at(-1) ?? new Uint8Array(0);
  await world.refused(stolen, "authentication", /host with another key/);
  await Deno.remove(folder.path, { recursive: true });
}

async function answers(world: HostileWorld): Promise<void> {
  const { server, mallory, folder } = world;
  const known = await Deno.readTextFile(folder.knownHostsPath);
  const link = await world.connect();
  let earlier = new Uint8Array(0);
  server.wiles = { answer: (answer) => Promise.resolve(earlier = answer) };
  (await world.open(link)).peer.close();
  const other = await server.sendOpen("web2", await world.fromAlice("web2"));
  const own = await SessionExchange.create(random);
  const wiles: readonly [name: string, answer: NonNullable<typeof server.wiles.answer>][] = [
    ["X25519 key changed", (answer) => Promise.resolve(flipped(answer, EXCHANGE_KEY_AT))],
    ["X25519 key of the attacker", (answer) => {
      answer.set(own.publicKey, EXCHANGE_KEY_AT);
      return Promise.resolve(answer);
    }],
    ["signature changed", (answer) => Promise.resolve(flipped(answer, EXCHANGE_KEY_END))],
    ["made and signed by the attacker", (_, open) => answerOpen(open.bytes, own.publicKey, mallory)],
    [
      "signed by the server's key",
      (_, open) => answerOpen(open.bytes, own.publicKey, server.identity.serverKey),
    ],
    ["of an earlier open", () => Promise.resolve(earlier)],
    ["of another host", () => Promise.resolve(other.parameters)],
  ];
  for (const [name, answer] of wiles) {
    server.wiles = { answer };
    await assert.rejects(world.open(link), /the answer is not signed by the host that was asked/, name);
  }
  assert.equal(await Deno.readTextFile(folder.knownHostsPath), known);
}

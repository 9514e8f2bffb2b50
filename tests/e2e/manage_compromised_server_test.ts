/**
 * A server that was broken into, against hosts whose agent.toml pins the administrator's key: what it cannot do to them.
 * The attacker has the server's folder, with all keys and the registry, and its place on the network. Hosts are real
 * processes, as is the administrator's program where it is the one that has to refuse.
 */
import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { ApplicationError } from "../../src/protocol/rpc/errors.ts";
import { decodeOpen, signOpen } from "../../src/protocol/manage/session_open.ts";
import { SessionExchange, sessionKeys } from "../../src/protocol/manage/session_keys.ts";
import { sessionPeer } from "../../src/protocol/manage/session_flow.ts";
import type { Peer } from "../../src/protocol/rpc/peer.ts";
import type { hostForAdmin } from "../../src/protocol/manage/session_contract.ts";
import { systemRandomBytes as random, systemTimers as timers } from "../../src/protocol/rpc/timers.ts";
import { HostileWorld, onHostileStage } from "./manage_hostile_world.ts";
import { pause, until } from "./until.ts";

/** Where fields of an open begin, see session_open.ts. */
const AT = {
  action: 1,
  flags: 2,
  session: 3,
  hostKey: 11,
  adminKey: 43,
  linkNonce: 75,
  challenge: 107,
  expires: 123,
  ephemeral: 127,
  targetCount: 159,
} as const;

/** An open with some of its bytes changed. */
function changed(open: Uint8Array, at: number, to?: Uint8Array | number): Uint8Array<ArrayBuffer> {
  const bytes = Uint8Array.from(open);
  if (to instanceof Uint8Array) bytes.set(to, at);
  else bytes[at] = to ?? (bytes[at] ?? 0) ^ 1;
  return bytes;
}

/** A session that alice has opened, seen from her side; what she may do in it. */
async function aliceHolds(
  world: HostileWorld,
  more: Parameters<HostileWorld["fields"]>[1],
): Promise<Peer<typeof hostForAdmin>> {
  const exchange = await SessionExchange.create(random);
  const open = await world.fromAlice("web1", { ...more, ephemeral: exchange.publicKey });
  const { connection, parameters } = await world.server.sendOpen("web1", open);
  const keys = sessionKeys(await exchange.agree(parameters.slice(1, 33)), open, parameters);
  return sessionPeer(connection, keys, { side: "administrator", timers });
}

/** Takes everything from a call. */
async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const taken: T[] = [];
  for await (const item of items) taken.push(item);
  return taken;
}

async function* nothing(): AsyncGenerator<Uint8Array<ArrayBuffer>> {}

function refusedByHost(words: RegExp): (error: unknown) => true {
  return (error) => {
    assert(error instanceof ApplicationError, String(error));
    assert.equal(error.reason, "refused_by_host");
    assert.match(error.message, words);
    return true;
  };
}

onHostileStage(
  "a server that was broken into cannot command a host that pins its administrators",
  ["the stage is good: what alice signed is taken", async (world) => {
    const { parameters, connection } = await world.server.sendOpen("web1", await world.fromAlice());
    assert.equal(parameters.length, 97);
    connection.reset("cancelled", "");
  }],
  ["an open under alice's name by another key is refused by the host", async (world) => {
    const open = await signOpen(await world.fields(), world.mallory);
    await world.refused(open, "refused_by_host", /web1 refuses: .*key is not in admins of its agent\.toml/);
    await world.logged("web1", "an administrator has another key than before", /alice/);
  }],
  ["an open with alice's key in it, signed by another, is refused", async (world) => {
    const own = await signOpen(await world.fields(), world.mallory);
    await world.refused(
      changed(own, AT.adminKey, world.alice.publicKey),
      "authentication",
      /web1 refuses: this open is not signed by its administrator/,
    );
  }],
  ["alice's open is good once: not twice on its link", async (world) => {
    const open = await world.fromAlice();
    const { connection } = await world.server.sendOpen("web1", open);
    const words = /web1 refuses: this open was used before, or its challenge is not of this link/;
    await world.refused(open, "authentication", words);
    connection.reset("cancelled", "");
    await world.refused(open, "authentication", words);
  }],
  ["not on another host", async (world) => {
    const words = /web2 refuses: this open is for a host with another key/;
    await world.refused(await world.fromAlice("web1"), "authentication", words, { host: "web2" });
  }],
  ["not on a later link, used before or not", async (world) => {
    const [used, unused] = [await world.fromAlice(), await world.fromAlice()];
    (await world.server.sendOpen("web1", used)).connection.reset("cancelled", "");
    const { link } = world.server.host("web1");
    link.close("shutting_down", "the server restarts");
    await until("web1 has linked anew", () => world.server.host("web1").link !== link, { timeoutMs: 30_000 });
    const words = /web1 refuses: this open is for another link of this host/;
    await world.refused(used, "authentication", words);
    await world.refused(unused, "authentication", words);
  }],
  ["not after its time, however long the server has kept it", async (world) => {
    const open = await world.fromAlice("web1", { expiresMs: 1 });
    await pause(20);
    await world.refused(open, "expired", /web1 refuses: this open has come too late/);
  }],
  ["an old challenge, handed to alice once more, makes an open that is refused", async (world) => {
    const { challenge } = decodeOpen(await world.fromAlice());
    const first = await world.fromAlice("web1", { challenge });
    (await world.server.sendOpen("web1", first)).connection.reset("cancelled", "");
    const words = /challenge is not of this link/;
    await world.refused(await world.fromAlice("web1", { challenge }), "authentication", words);
    const foreign = await world.server.host("web2").peer.client.challenge(null);
    await world.refused(await world.fromAlice("web1", { challenge: foreign }), "authentication", words);
  }],
  ["an open with any field changed is refused", changedFields],
  ["a shell that alice has left running is nobody else's to take up", async (world) => {
    const session = random(8).toHex();
    const shell = { action: "shell", outlivesLink: true, session } as const;
    const alice = await aliceHolds(world, shell);
    const outputs = alice.client.shell({ rows: 24, columns: 80, term: "dumb", seenBytes: 0 }, never());
    await outputs.next();
    alice.close();
    const attach = { action: "attach", outlivesLink: true, session } as const;
    const own = await signOpen(await world.fields("web1", attach), world.mallory);
    await world.refused(own, "refused_by_host", /web1 refuses: no shell [0-9a-f]{16} of this administrator/);
    const again = await world.fromAlice("web1", shell);
    await world.refused(changed(again, AT.action, 4), "authentication", /not signed by its administrator/, {
      isLogged: false,
    });
    await world.server.host("web1").peer.client.end({ sessions: [session], ending: "revoked" });
  }],
  ["what was opened for one thing is good for nothing else", async (world) => {
    const exec = await aliceHolds(world, { action: "exec" });
    const shell = { rows: 24, columns: 80, term: "dumb", seenBytes: 0 };
    await assert.rejects(all(exec.client.shell(shell, never())), refusedByHost(/shell/));
    const target = { host: "127.0.0.1", port: 22 };
    await assert.rejects(all(exec.client.connect(target, nothing())), refusedByHost(/./));
    exec.close();
    const forward = await aliceHolds(world, { action: "forward", targets: ["127.0.0.1:22"] });
    await assert.rejects(all(forward.client.exec({ command: ["true"] }, nothing())), refusedByHost(/./));
    await assert.rejects(
      all(forward.client.connect({ host: "127.0.0.1", port: 23 }, nothing())),
      refusedByHost(/web1 refuses: this target was not declared when the session was opened/),
    );
    forward.close();
  }],
  [
    "a head of the audit that is older than one shown before is noticed by the host, and a forged one",
    async (world) => {
      const { server } = world;
      const open = async (): Promise<void> => {
        (await server.sendOpen("web2", await world.fromAlice("web2"))).connection.reset("cancelled", "");
      };
      await open();
      const { link } = server.host("web2");
      link.close("shutting_down", "the server restarts");
      await until("web2 has linked anew", () => server.host("web2").link !== link, { timeoutMs: 30_000 });
      server.wiles = { head: () => server.head(3) };
      await open();
      await world.logged("web2", "the server's audit was rewound: keep the file head", /"number":3,/);
      server.wiles = { head: async () => ({ ...await server.head(), signature: random(64) }) };
      await open();
      await world.logged("web2", "a head of the audit is not signed by the server", /number/);
    },
  ],
  [
    "alice's row in the registry with the attacker's key in it: the shipped server lets him in, the host does not",
    swappedRow,
  ],
);

/** Every field, with a fresh challenge each time. */
async function changedFields(world: HostileWorld): Promise<void> {
  const unsigned = /not signed by its administrator/, malformed = /./;
  const matrix: readonly [
    field: string,
    at: number,
    to: Uint8Array | number | undefined,
    code: string,
    words: RegExp,
  ][] = [
    ["version", 0, 2, "version", /version 2/],
    ["action: exec becomes a shell", AT.action, 1, "authentication", unsigned],
    ["action: exec becomes an attach", AT.action, 4, "authentication", unsigned],
    ["action: exec becomes a forward", AT.action, 3, "malformed", malformed],
    ["flags: outlives its link", AT.flags, 1, "malformed", malformed],
    ["flags: one that nobody knows", AT.flags, 2, "malformed", malformed],
    ["session", AT.session, undefined, "authentication", unsigned],
    ["host's key", AT.hostKey, world.server.host("web1").key, "authentication", /host with another key/],
    ["administrator's key", AT.adminKey, world.mallory.publicKey, "authentication", unsigned],
    ["nonce of the link", AT.linkNonce, undefined, "authentication", /for another link/],
    ["challenge", AT.challenge, undefined, "authentication", /challenge is not of this link/],
    ["expiry: shorter", AT.expires + 2, undefined, "authentication", unsigned],
    ["expiry: longer than any", AT.expires, 1, "malformed", malformed],
    ["X25519 key", AT.ephemeral, random(32), "authentication", unsigned],
    ["targets: one more than are there", AT.targetCount, 1, "malformed", malformed],
    ["signature", AT.targetCount + 1, undefined, "authentication", unsigned],
  ];
  const from = world.lab.agent("web2").lines.length;
  for (const [field, at, to, code, words] of matrix) {
    const open = changed(await world.fromAlice("web2"), at, to);
    await world.refused(open, code, words, { host: "web2", isLogged: false }).catch((error: unknown) => {
      throw new Error(`${field}: ${error instanceof Error ? error.message : error}`);
    });
  }
  const shell = await world.fromAlice("web2", { action: "shell" });
  const refused = { host: "web2", isLogged: false };
  await world.refused(changed(shell, AT.flags, 1), "authentication", unsigned, refused);
  const forward = await world.fromAlice("web2", { action: "forward", targets: ["127.0.0.1:22"] });
  const other = new TextEncoder().encode("127.0.0.1:23");
  await world.refused(changed(forward, AT.targetCount + 2, other), "authentication", unsigned, refused);
  await world.refused(Uint8Array.of(...await world.fromAlice("web2"), 0), "malformed", malformed, refused);
  for (const reason of ["authentication", "malformed", "version"]) {
    await world.logged("web2", "session refused", new RegExp(`"reason":"${reason}"`), from);
  }
}

/** The real program, over a registry that the attacker has written to. */
async function swappedRow(world: HostileWorld): Promise<void> {
  const { lab, server, mallory, alice } = world;
  using database = new DatabaseSync(`${lab.serverDir}/registry.db`);
  const put = (key: Uint8Array<ArrayBuffer>): void =>
    void database.prepare("UPDATE members SET key = ? WHERE role = 'administrator' AND name = 'alice'").run(
      key,
    );
  put(mallory.publicKey);
  const folder = await world.newMachine("mallory");
  const seed = mallory.seed.toBase64({ alphabet: "base64url", omitPadding: true });
  await Deno.writeTextFile(folder.identityPath, `${seed}\n`, { mode: 0o600 });
  await lab.startServer();
  for (const { link } of server.hosts.values()) link.close("shutting_down", "the other one takes over");
  await until("web1 is at the shipped server", async () => {
    const { stdout } = await lab.client("mallory", ["hosts", "--json"]);
    return /"name": ?"web1"[^}]*"online": ?true/s.test(new TextDecoder().decode(stdout));
  }, { timeoutMs: 60_000, pollMs: 200 });
  const from = lab.agent("web1").lines.length;
  const refused = await lab.client("mallory", ["exec", "web1", "--", "true"]);
  assert.equal(refused.code, 255, refused.stderr);
  assert.match(refused.stderr, /web1 refuses: .*key is not in admins of its agent\.toml/);
  await world.logged("web1", "session refused", /not in admins/, from);
  const shutOut = await lab.client("alice", ["exec", "web1", "--", "true"]);
  assert.match(shutOut.stderr, /the server refuses/);
  put(alice.publicKey);
}

// deno-lint-ignore require-yield -- somebody who types nothing
async function* never(): AsyncGenerator<never> {
  await new Promise<never>(() => {});
}

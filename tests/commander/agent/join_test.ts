import assert from "node:assert/strict";
import { AgentFolder } from "../../../src/commander/agent/agent_folder.ts";
import { DEFAULT_AGENT_TOML } from "../../../src/commander/agent/agent_config.ts";
import { type Joined, joinServer } from "../../../src/commander/agent/join.ts";
import { formatJoinToken, type JoinToken, tokenHash } from "../../../src/protocol/manage/join_token.ts";
import { fingerprint, isSameBytes } from "../../../src/protocol/manage/signing_key.ts";
import { systemRandomBytes, systemTimers, type Timers } from "../../../src/protocol/rpc/timers.ts";
import type { PinnedConnection, PinnedDial } from "../../../src/protocol/transport/pinned_tls.ts";
import { StandInServer } from "./stand_in_server.ts";

const SECRET = new Uint8Array(32).fill(42);

/** Time that passes at once where it is only waited for. */
const impatient: Timers = {
  monotonicMs: () => systemTimers.monotonicMs(),
  after: (delayMs, act) => systemTimers.after(delayMs === 1_000 ? 0 : delayMs, act),
};

function tokenOf(server: StandInServer, change: Partial<JoinToken> = {}): string {
  return formatJoinToken({
    kind: "host",
    secret: SECRET,
    serverKey: server.key.publicKey,
    addresses: ["manage.test:7022"],
    caCertificate: Uint8Array.of(0x30, 0x00),
    ...change,
  });
}

async function withFolder(act: (folder: AgentFolder) => Promise<void>): Promise<void> {
  const path = await Deno.makeTempDir();
  try {
    await act(new AgentFolder(`${path}/agent`));
  } finally {
    await Deno.remove(path, { recursive: true });
  }
}

function join(
  folder: AgentFolder,
  token: string,
  dialTls: (dial: PinnedDial) => Promise<PinnedConnection>,
): Promise<Joined> {
  return joinServer({
    folder,
    token,
    timers: impatient,
    random: systemRandomBytes,
    signal: new AbortController().signal,
    dialTls,
  });
}

/** What lies in the folder, with modes. */
async function contentOf(folder: AgentFolder): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for await (const { name } of Deno.readDir(folder.path)) {
    found[name] = (((await Deno.stat(`${folder.path}/${name}`)).mode ?? 0) & 0o777).toString(8);
  }
  return found;
}

Deno.test("joinServer() makes key, agent.toml and server.json, all private, and shows the token's secret", async () => {
  await withFolder(async (folder) => {
    const server = await StandInServer.create();
    const joined = await join(folder, ` ${tokenOf(server)}\n`, server.dialTls);
    assert.equal(joined.server.name, "web1");
    assert.deepEqual(await contentOf(folder), {
      "agent.key": "600",
      "agent.toml": "600",
      "server.json": "600",
      "lock": "600",
      "ended": "700",
    });
    assert.equal(await Deno.readTextFile(folder.configPath), DEFAULT_AGENT_TOML);
    const stored = await folder.readServer();
    assert.deepEqual({ ...stored, serverKey: null }, {
      name: "web1",
      addresses: ["manage.test:7022"],
      caCertificates: ["-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"],
      formerCaCertificates: [],
      generation: 0,
      serverKey: null,
    });
    assert.ok(isSameBytes(stored.serverKey, server.key.publicKey));
    const key = await folder.readKey();
    assert.equal(joined.fingerprint, fingerprint(key.publicKey));
    const [dialler] = server.links.map(({ dialler }) => dialler);
    assert.deepEqual([dialler?.kind, dialler?.role], ["join", "host"]);
    assert.deepEqual(dialler?.secretHash, tokenHash(SECRET));
    assert.deepEqual(dialler?.key, key.publicKey);
  });
});

Deno.test("joinServer() repeats a lost answer with the same key, which was there before the token was shown", async () => {
  await withFolder(async (folder) => {
    const server = await StandInServer.create();
    const keys: string[] = [];
    let dials = 0;
    const dialTls = async (dial: PinnedDial): Promise<PinnedConnection> => {
      keys.push(await Deno.readTextFile(`${folder.path}/agent.key`));
      const dialled = await server.dialTls(dial);
      // The first answer never comes.
      if (dials++ > 0) return dialled;
      const { connection } = dialled;
      let reads = 0;
      const cut = new Proxy(connection, {
        get: (target, name) => {
          if (name !== "read") return Reflect.get(target, name).bind?.(target) ?? Reflect.get(target, name);
          return (buffer: Uint8Array<ArrayBuffer>) =>
            ++reads > 2 ? Promise.resolve(null) : target.read(buffer);
        },
      });
      return { ...dialled, connection: cut };
    };
    await join(folder, tokenOf(server), dialTls);
    assert.equal(keys.length, 2);
    assert.equal(keys[0], keys[1]);
    // And the whole command may be given again, also with other settings in agent.toml.
    await Deno.writeTextFile(folder.configPath, "shell = false\n");
    await join(folder, tokenOf(server), server.dialTls);
    assert.equal(await Deno.readTextFile(`${folder.path}/agent.key`), keys[0]);
    assert.equal(await Deno.readTextFile(folder.configPath), "shell = false\n");
    const shown = server.links.map(({ dialler }) => dialler.key.toHex());
    assert.equal(new Set(shown).size, 1);
  });
});

Deno.test("joinServer() ends at a refused token, with a hint and without a part of it", async () => {
  await withFolder(async (folder) => {
    const server = await StandInServer.create();
    server.refusal = { code: "token", text: "this token is over" };
    const token = tokenOf(server);
    const error = await join(folder, token, server.dialTls).then(() => null, (error) => error);
    assert.match(error.message, /^cannot join: .*this token is over/);
    assert.match(error.hint, /postern server manage invite host/);
    assert.ok(!JSON.stringify([error.message, error.hint]).includes(token.slice(20, 30)));
    assert.equal(server.dialled.length, 1);
    assert.equal(await folder.readServerIfJoined(), null);
  });
});

Deno.test("joinServer() refuses a token of an administrator, a broken one, and another server", async () => {
  await withFolder(async (folder) => {
    const server = await StandInServer.create(), other = await StandInServer.create();
    await assert.rejects(join(folder, tokenOf(server, { kind: "administrator" }), server.dialTls), {
      message: "cannot join: this token is for an administrator, accepted is one for a host",
    });
    await assert.rejects(join(folder, tokenOf(server).slice(0, -1), server.dialTls), {
      message: /^cannot read the token: a part of it is missing/,
    });
    assert.equal(await Deno.stat(folder.path).then(() => true, () => false), false);
    await join(folder, tokenOf(server), server.dialTls);
    await assert.rejects(join(folder, tokenOf(other), other.dialTls), {
      message: /^cannot join: .*\/agent belongs to another server already, as web1$/,
    });
    assert.equal(other.dialled.length, 0);
  });
});

Deno.test("joinServer() does not believe a server with another key than the token's", async () => {
  await withFolder(async (folder) => {
    const server = await StandInServer.create(), other = await StandInServer.create();
    await assert.rejects(join(folder, tokenOf(server), other.dialTls), {
      message: /^cannot join: .*not the server that was joined/,
    });
    assert.equal(other.links.length, 0);
  });
});

Deno.test("joinServer() keeps off a folder that an agent uses", async () => {
  await withFolder(async (folder) => {
    const server = await StandInServer.create();
    await folder.create();
    using _lock = await folder.lock();
    await assert.rejects(join(folder, tokenOf(server), server.dialTls), {
      message: /^could not lock .*\/agent\/lock: another process holds it/,
    });
  });
});

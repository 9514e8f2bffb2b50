/** The agent and the management server as they are, in one process over real TLS. */
import assert from "node:assert/strict";
import { Agent } from "../../../src/commander/agent/agent.ts";
import { configGround, readAgentConfig } from "../../../src/commander/agent/agent_config.ts";
import { AgentFolder } from "../../../src/commander/agent/agent_folder.ts";
import { joinServer } from "../../../src/commander/agent/join.ts";
import { formatJoinToken, parseJoinToken } from "../../../src/protocol/manage/join_token.ts";
import { type RandomBytes, systemRandomBytes, systemTimers } from "../../../src/protocol/rpc/timers.ts";
import { parseIp } from "../../../src/protocol/knock/address.ts";
import type { ListenAddress } from "../../../src/server/knock/listen_address.ts";
import { openDataFolder } from "../../../src/server/manage/data_folder.ts";
import { initServer } from "../../../src/server/manage/init.ts";
import { invite } from "../../../src/server/manage/invite.ts";
import { ManageServer } from "../../../src/server/manage/manage_server.ts";
import { type Member, Registry } from "../../../src/server/manage/registry.ts";
import { beginRotation } from "../../../src/server/manage/rotate_ca.ts";
import { systemClock } from "../../../src/system/clock.ts";
import { Log } from "../../../src/system/log.ts";
import { until } from "../../e2e/until.ts";
import { ScriptedStarters } from "./agent_under_test.ts";

const LOOPBACK: ListenAddress = { ip: parseIp("127.0.0.1"), port: 0 };

/** Pauses between attempts are short, everything else is random. */
const random: RandomBytes = (length) => length === 4 ? new Uint8Array(4).fill(6) : systemRandomBytes(length);

function quiet(lines: string[]): Log {
  return new Log({ role: "test", format: "text", write: (line) => void lines.push(line) });
}

Deno.test("Agent joins the real server, links by one of its addresses, takes a new CA and survives a restart", async () => {
  const base = await Deno.makeTempDir(), path = `${base}/server`, lines: string[] = [];
  await initServer({ folder: path, addresses: ["127.0.0.1:7022"] });
  const start = (address: ListenAddress): Promise<ManageServer> =>
    ManageServer.start({ folder: path, address }, { log: quiet(lines), clock: systemClock });
  let server = await start(LOOPBACK);
  const port = Number(/:(\d+)$/.exec(String(server.address))?.[1]);
  const folder = new AgentFolder(`${base}/agent`);
  const { token } = await invite(path, {
    role: "host",
    name: "web1",
    tags: [],
    lifeMs: 60_000,
    replaces: false,
  });
  await joinServer({
    folder,
    // Two ways to one server, which must not see two hosts with one key.
    token: formatJoinToken({
      ...parseJoinToken(token),
      addresses: [`127.0.0.1:${port}`, `localhost:${port}`],
    }),
    timers: systemTimers,
    random: systemRandomBytes,
    signal: new AbortController().signal,
  });
  const agent = await Agent.start({
    folder,
    server: await folder.readServer(),
    config: await readAgentConfig(folder.configPath, await configGround()),
    key: await folder.readKey(),
    version: "1.2.3",
    starters: new ScriptedStarters(),
    timers: systemTimers,
    random,
    log: quiet(lines),
  });
  const data = await openDataFolder(path);
  const host = async (): Promise<Member | null> => {
    using registry = await Registry.open(data);
    return registry.hostByName("web1");
  };
  try {
    await until("the host is online", async () => (await host())?.online);
    const { generation } = await folder.readServer();
    {
      using registry = await Registry.open(data);
      await beginRotation(data, registry);
    }
    await server.reload();
    const pins = await until("both CAs are stored", async () => {
      const stored = await folder.readServer();
      return stored.generation > generation && stored;
    });
    assert.equal(pins.caCertificates.length, 2);
    await server.stop();
    server = await start({ ...LOOPBACK, port });
    await until("the host is online again", async () => (await host())?.online && agent.isLinked, {
      timeoutMs: 20_000,
    });
    assert.ok(!lines.some((line) => line.includes("link_contested")));
  } finally {
    await agent.stop();
    await server.stop();
    await Deno.remove(base, { recursive: true });
  }
});

/**
 * The example configurations that an installation begins with. `#key = value` in them is a setting that is off; a
 * line of text begins with `# `.
 */
import assert from "node:assert/strict";
import { parse } from "smol-toml";
import { COMMAND_FIELDS } from "../../src/commander/knock/command_spec.ts";
import { loadCommanderConfig } from "../../src/commander/knock/config.ts";
import { commandHash } from "../../src/protocol/knock/command_hash.ts";
import { loadServerConfig, type ServerConfig } from "../../src/server/knock/config.ts";
import { GRANT_FIELDS } from "../../src/server/knock/grants.ts";
import { CONFIG_KEYS } from "../../src/system/config_keys.ts";
import config from "../../deploy/config.toml" with { type: "text" };
import commands from "../../deploy/commands.toml" with { type: "text" };

const OFF = /^#(?=[^\s#])/gm;
/** The key that shows what the table of a key may hold; there is nothing to compare it with. */
const EXAMPLE_KEY = "alice";

function allOn(text: string): string {
  return text.replace(OFF, "");
}

/** Both files in a folder of their own, loaded as the two roles do. */
async function load(
  configText: string,
  commandsText: string,
): Promise<{ server: ServerConfig; commander: Awaited<ReturnType<typeof loadCommanderConfig>> }> {
  const folder = await Deno.makeTempDir({ prefix: "postern-deploy-" });
  try {
    const path = `${folder}/config.toml`;
    await Deno.writeTextFile(path, configText);
    await Deno.writeTextFile(`${folder}/commands.toml`, commandsText, { mode: 0o600 });
    return { server: await loadServerConfig(path), commander: await loadCommanderConfig(path) };
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** Stands in for the user `postern`, which a machine that runs tests need not have. */
function withoutAccounts(text: string): string {
  return `socket_user = ""\nsocket_group = ""\n${text.replace(/^socket_(user|group) = .*$/gm, "")}`;
}

Deno.test("deploy/config.toml and commands.toml load as they are, with the standard layout", async () => {
  const { server, commander } = await load(withoutAccounts(config), commands);
  assert.deepEqual(server.warnings, []);
  assert.deepEqual(server.address, { ip: "::", port: 34020 });
  assert.equal(server.blocklistDir, "/var/lib/postern");
  assert.equal(server.socketDir, "/run/postern");
  assert.equal(server.statusPath, "/var/lib/postern/status.json");
  assert.equal(server.maxPacketAgeSeconds, 300);
  assert.deepEqual([...server.grants.keys()], ["postern-check"]);
  assert.deepEqual(server.grants.get("postern-check")?.allow, new Set([commandHash("postern_check")]));
  assert.equal(commander.stateDir, "/var/lib/postern-commander");
  assert.equal(commander.socketDir, "/run/postern");
  assert.deepEqual(commander.commands.map(({ name, cmd }) => [name, cmd]), [["postern_check", "true"]]);
});

Deno.test("deploy/config.toml has a placeholder for ips that is easy to replace", () => {
  assert.equal(config.split("\n").filter((line) => line === 'ips = ["203.0.113.9"]').length, 1);
});

Deno.test("deploy/config.toml and commands.toml load with everything on that is off", async () => {
  const { server, commander } = await load(withoutAccounts(allOn(config)), allOn(commands));
  assert.deepEqual(server.warnings, []);
  assert.deepEqual([...server.grants.keys()], ["postern-check", "alice"]);
  assert.deepEqual(
    commander.commands.map(({ name }) => name),
    ["postern_check", "hello", "restart_web", "backup", "open_ssh", "open_ssh_ufw"],
  );
});

Deno.test("deploy/config.toml shows every key that the roles know, and no other", () => {
  const shown = parse(allOn(config));
  assert.deepEqual(Object.keys(shown).sort(), [...CONFIG_KEYS].sort());
  const example = (shown.keys as Record<string, Record<string, unknown>>)[EXAMPLE_KEY];
  assert.deepEqual(Object.keys(example ?? {}).sort(), [...GRANT_FIELDS].sort());
});

Deno.test("deploy/commands.toml shows every field of a command, and no other", () => {
  const shown = parse(allOn(commands)).commands as Record<string, string | Record<string, unknown>>;
  const fields = Object.values(shown).flatMap((value) => typeof value === "string" ? [] : Object.keys(value));
  assert.deepEqual([...new Set(fields)].sort(), [...COMMAND_FIELDS].sort());
});

Deno.test("what is off in deploy/config.toml is shown with its default", async () => {
  const plain = await load(withoutAccounts(config), commands);
  const full = await load(withoutAccounts(allOn(config).replace(/^config_dir = .*$/m, "")), commands);
  const grants = [...full.server.grants].filter(([stem]) => stem !== EXAMPLE_KEY);
  const { source: _, ...expected } = plain.server;
  const { source: __, ...found } = full.server;
  const neutral = { configPath: "", configDir: "", keyPaths: [] };
  assert.deepEqual({ ...found, ...neutral, grants: new Map(grants) }, { ...expected, ...neutral });
  assert.equal(full.commander.allowNonRoutableIps, plain.commander.allowNonRoutableIps);
  assert.equal(full.commander.maxLeases, plain.commander.maxLeases);
});

Deno.test("what is off in deploy/commands.toml is shown with its default", async () => {
  const on = allOn(commands);
  const { commander: full } = await load(withoutAccounts(config), on);
  const limits = /^(timeout_sec|cooldown_sec|concurrency|on_renew) = .*$/gm;
  assert.equal(on.match(limits)?.length, 4);
  const { commander: plain } = await load(withoutAccounts(config), on.replace(limits, ""));
  assert.deepEqual(full.commands, plain.commands);
});

Deno.test("deploy/commands.toml has the recipe of docs/knock.md", async () => {
  const docs = await Deno.readTextFile(new URL("../../docs/knock.md", import.meta.url));
  const recipe = /^\[commands\.open_ssh\]\nundo_after_sec = 60\n[^]*?\n'''\nundo = '''\n[^]*?\n'''$/m.exec(
    docs,
  )?.[0];
  assert(recipe !== undefined);
  assert(allOn(commands).includes(recipe));
});

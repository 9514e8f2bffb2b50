import assert from "node:assert/strict";
import { parseAccounts } from "../../../src/commander/knock/accounts.ts";
import { loadCommanderConfig } from "../../../src/commander/knock/config.ts";
import { Failure } from "../../../src/system/failure.ts";

const LEAVE = 'socket_user = ""\nsocket_group = ""\n';

async function withConfig(
  text: string,
  test: (folder: string, configPath: string) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "postern-config-" });
  try {
    await Deno.writeTextFile(`${folder}/config.toml`, text);
    await Deno.writeTextFile(`${folder}/commands.toml`, '[commands]\na = "true"\n', { mode: 0o600 });
    await test(folder, `${folder}/config.toml`);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function refusal(text: string): Promise<string> {
  let message = "";
  await withConfig(text, async (_folder, path) => {
    await assert.rejects(loadCommanderConfig(path), (error: unknown) => {
      assert.ok(error instanceof Failure);
      message = error.message.replace(path, "config.toml");
      return true;
    });
  });
  return message;
}

Deno.test("loadCommanderConfig() takes the folder of the config file for all that is not set", async () => {
  await withConfig(LEAVE, async (folder, path) => {
    const config = await loadCommanderConfig(path);
    assert.equal(config.commandsPath, `${folder}/commands.toml`);
    assert.equal(config.socketPath, `${folder}/ruroco.socket`);
    assert.equal(config.bindPath, `${folder}/.commander/ruroco.socket`);
    assert.equal(config.stateDir, `${folder}/commander-state`);
    assert.equal(config.maxLeases, 1024);
    assert.equal(config.allowNonRoutableIps, false);
    assert.equal(config.socketUid, null);
    assert.equal(config.socketGid, null);
    assert.equal(config.ownUid, Deno.uid());
    assert.deepEqual(config.warnings, []);
  });
});

Deno.test("loadCommanderConfig() reads a config.toml that ruroco's server and commander share", async () => {
  const text = `ips = ["203.0.113.1", "2001:db8::1"]
max_requests_per_second = 2
max_clock_skew_seconds = 3600
ntp = "pool.ntp.org:123"
config_dir = "/etc/ruroco"
blocklist_dir = "/var/lib/ruroco"
socket_dir = "/run/ruroco/"
socket_user = "root"
socket_group = "root"
allow_non_routable_ips = true
`;
  await withConfig(text, async (folder, path) => {
    const config = await loadCommanderConfig(path);
    assert.equal(config.socketPath, "/run/ruroco/ruroco.socket");
    assert.equal(config.stateDir, "/etc/ruroco/commander-state");
    assert.equal(config.commandsPath, `${folder}/commands.toml`);
    assert.equal(config.socketUid, 0);
    assert.equal(config.socketGid, 0);
    assert.equal(config.allowNonRoutableIps, true);
    assert.deepEqual(config.warnings, []);
  });
});

Deno.test("loadCommanderConfig() warns of an unknown key with a suggestion", async () => {
  await withConfig(LEAVE + 'sokcet_dir = "x"\n', async (_folder, path) => {
    assert.deepEqual((await loadCommanderConfig(path)).warnings, [
      `${path}:3: sokcet_dir: unknown key, ignored (did you mean socket_dir?)`,
    ]);
  });
});

Deno.test("loadCommanderConfig() resolves relative folders against the current one", async () => {
  await withConfig(LEAVE + 'config_dir = "etc"\nsocket_dir = "./run"\n', async (folder, path) => {
    const config = await loadCommanderConfig(path, "commands.toml").catch((error: Error) => error.message);
    assert.equal(config, `could not read ${Deno.cwd()}/commands.toml: there is no such file`);
    const found = await loadCommanderConfig(path, `${folder}/commands.toml`);
    assert.equal(found.socketDir, `${Deno.cwd()}/run`);
    assert.equal(found.stateDir, `${Deno.cwd()}/etc/commander-state`);
  });
});

Deno.test("loadCommanderConfig() refuses ill-typed values, unknown accounts and commas", async () => {
  assert.equal(
    await refusal(LEAVE + 'allow_non_routable_ips = "yes"'),
    'config.toml:3: allow_non_routable_ips: found "yes", accepted is true or false',
  );
  assert.equal(
    await refusal(LEAVE + "max_leases = 0"),
    "config.toml:3: max_leases: found 0, accepted is a whole number from 1 to 65536",
  );
  assert.equal(
    await refusal(LEAVE + 'socket_dir = "/run/a,/etc"'),
    'config.toml:3: socket_dir: found "/run/a,/etc", accepted is a path without a comma (the sandbox separates paths by commas)',
  );
  assert.equal(
    await refusal('socket_user = "nobody-of-this-name"'),
    'config.toml:1: socket_user: found "nobody-of-this-name", ' +
      'accepted is a name in /etc/passwd, a number, or "" to leave the user as it is',
  );
  assert.equal(
    await refusal('socket_user = ""\nsocket_group = "nobody-of-this-name"'),
    'config.toml:2: socket_group: found "nobody-of-this-name", ' +
      'accepted is a name in /etc/group, a number, or "" to leave the group as it is',
  );
});

Deno.test("parseAccounts() reads names, ids and homes and skips what is no entry", () => {
  const accounts = parseAccounts(
    "root:x:0:0:root:/root:/bin/sh\n# comment\nbroken\npostern:x:998:997::/var/lib/postern:/bin/false\npostern:x:1:1::/:\n",
    "root:x:0:\nposterngroup:x:997:a,b\nbad:x:no:\n",
  );
  assert.deepEqual([...accounts.users], [["root", 0], ["postern", 998]]);
  assert.deepEqual([...accounts.groups], [["root", 0], ["posterngroup", 997]]);
  assert.deepEqual([...accounts.homes], [[0, "/root"], [998, "/var/lib/postern"]]);
});

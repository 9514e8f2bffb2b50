import assert from "node:assert/strict";
import { parseServerConfig, type ServerConfig } from "../../../src/server/knock/config.ts";
import { serverPermissions } from "../../../src/server/knock/permissions.ts";
import { Failure } from "../../../src/system/failure.ts";
import { type PermissionSet, permissionSet } from "../../../src/system/permissions.ts";
import { parseTomlSource } from "../../../src/system/toml_file.ts";

const PATH = "/etc/postern/config.toml";

function config(text: string): ServerConfig {
  return parseServerConfig(parseTomlSource(PATH, text));
}

function permissions(text: string, options: { statusPath?: string } = {}): PermissionSet {
  return permissionSet(serverPermissions(config(text), options));
}

Deno.test("serverPermissions() is the address, the socket, folders to read and single files to write", () => {
  const layout = `
ips = []
address = "[::]:80"
blocklist_dir = "/var/lib/postern"
socket_dir = "/run/postern"
commander_state_dir = "/var/lib/postern-commander"
status_file = "/run/postern-status/knock.prom"
`;
  assert.deepEqual(permissions(layout), {
    net: ["[::]:80", "unix:/run/postern/ruroco.socket"],
    read: [
      "/etc/postern",
      "/var/lib/postern",
      "/run/postern-status/.knock.prom.tmp",
      "/run/postern/ruroco.socket",
    ],
    write: [
      "/var/lib/postern/blocklist.msgpck",
      "/var/lib/postern/.blocklist.msgpck.tmp",
      "/var/lib/postern/postern-server.lock",
      "/run/postern-status/knock.prom",
      "/run/postern-status/.knock.prom.tmp",
      "/run/postern/ruroco.socket",
    ],
    denyRead: ["/etc/postern/commands.toml"],
  });
});

Deno.test("serverPermissions() never lets a folder be written, nor a key, the configuration or the commands", () => {
  const { read, write, denyRead, denyWrite } = permissions("ips = []");
  assert.deepEqual(read, ["/etc/postern"]);
  assert.deepEqual(write, [
    "/etc/postern/blocklist.msgpck",
    "/etc/postern/.blocklist.msgpck.tmp",
    "/etc/postern/postern-server.lock",
    "/etc/postern/ruroco.socket",
  ]);
  assert.deepEqual(denyRead, ["/etc/postern/commands.toml", "/etc/postern/commander-state"]);
  assert.equal(denyWrite, undefined, "what is not granted needs no denial");
});

Deno.test("serverPermissions() denies the commander's files wherever a readable folder holds them", () => {
  assert.deepEqual(permissions(`ips = []\ncommander_state_dir = "/var/lib/commander"`).denyRead, [
    "/etc/postern/commands.toml",
  ]);
  assert.deepEqual(permissions(`ips = []\nblocklist_dir = "/var"\ncommander_state_dir = "/var/c"`).denyRead, [
    "/etc/postern/commands.toml",
    "/var/c",
  ]);
  // With the keys elsewhere the folder of config.toml is not readable, so there is nothing to deny in it.
  assert.deepEqual(permissions(`ips = []\nconfig_dir = "/srv/keys"`, { statusPath: "/tmp/s/status.json" }), {
    net: ["[::]:34020", "unix:/srv/keys/ruroco.socket"],
    read: [PATH, "/srv/keys", "/tmp/s/.status.json.tmp"],
    write: [
      "/srv/keys/blocklist.msgpck",
      "/srv/keys/.blocklist.msgpck.tmp",
      "/srv/keys/postern-server.lock",
      "/tmp/s/status.json",
      "/tmp/s/.status.json.tmp",
      "/srv/keys/ruroco.socket",
    ],
    denyRead: ["/srv/keys/commands.toml", "/srv/keys/commander-state"],
  });
});

for (
  const path of [
    PATH,
    "/etc/postern/commands.toml",
    "/etc/postern/user.key",
    "/etc/postern/commander-state/leases.json",
    "/etc/postern/blocklist.msgpck",
    "/etc/postern/postern-server.lock",
    "/etc/postern/ruroco.socket",
    "/",
  ]
) {
  Deno.test(`serverPermissions() refuses ${path} as the status file`, () => {
    for (
      const grant of [
        () => permissions(`ips = []\nstatus_file = "${path}"`),
        () => permissions("ips = []", { statusPath: path }),
      ]
    ) {
      assert.throws(grant, (error: unknown) => error instanceof Failure && error.message.includes(path));
    }
  });
}

Deno.test("serverPermissions() says for each grant what decides it and why", () => {
  const grants = serverPermissions(config(`ips = []\nstatus_file = "/run/s.json"`), {
    statusPath: "/tmp/s.json",
  });
  assert.deepEqual(
    new Set(grants.map(({ from }) => from)),
    new Set(["address", "socket_dir", "config_dir", "blocklist_dir", "--status", "commander_state_dir"]),
  );
  for (const { why, optional } of grants) {
    assert.ok(why.length > 0);
    assert.equal(optional, undefined);
  }
});

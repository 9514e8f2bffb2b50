import assert from "node:assert/strict";
import { readCommanderPaths } from "../../../src/commander/knock/paths.ts";
import { commanderPermissions } from "../../../src/commander/knock/permissions.ts";
import { permissionFlags, permissionSet } from "../../../src/system/permissions.ts";
import { parseTomlSource } from "../../../src/system/toml_file.ts";

const PATH = "/etc/postern/config.toml";

function flags(text: string, commandsPath?: string): string[] {
  const paths = readCommanderPaths(parseTomlSource(PATH, text), commandsPath);
  return permissionFlags(permissionSet(commanderPermissions(paths)));
}

Deno.test("commanderPermissions() asks for its socket, its folders and the shell, and nothing else", () => {
  assert.deepEqual(flags('socket_dir = "/run/p"\ncommander_state_dir = "/var/lib/p"'), [
    "--allow-net=unix:/run/p/.commander/ruroco.socket",
    "--allow-read=/etc/postern/config.toml,/etc/postern/commands.toml,/etc/passwd,/etc/group,/run/p,/var/lib/p",
    "--allow-write=/run/p,/var/lib/p/leases.json,/var/lib/p/.leases.json.tmp",
    "--allow-run=/bin/sh",
  ]);
});

Deno.test("commanderPermissions() names nothing twice when everything lies in one folder", () => {
  assert.deepEqual(flags(""), [
    "--allow-net=unix:/etc/postern/.commander/ruroco.socket",
    "--allow-read=/etc/passwd,/etc/group,/etc/postern",
    "--allow-write=/etc/postern",
    "--allow-run=/bin/sh",
  ]);
});

Deno.test("commanderPermissions() takes another commands file, and looks at none", () => {
  assert.deepEqual(
    flags('socket_dir = "/run/p"\ncommander_state_dir = "/var/lib/p"', "/nonexistent/c.toml")[1],
    "--allow-read=/etc/postern/config.toml,/nonexistent/c.toml,/etc/passwd,/etc/group,/run/p,/var/lib/p",
  );
});

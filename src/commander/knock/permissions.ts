/** Exactly what the commander process needs; the flags of its `deno run` line are made from this. */
import { withoutCoveredGrants } from "../../system/covered_grants.ts";
import { temporaryPathOf } from "../../system/durable_file.ts";
import type { GrantKind, PermissionGrant } from "../../system/permissions.ts";
import { ACCOUNT_FILES } from "./accounts.ts";
import { type CommanderPaths, leasesPath } from "./paths.ts";
import { SHELL } from "./shell_path.ts";

/**
 * From config.toml alone, as those of the server: no command and no account decides any of it.
 *
 * - net: the place where its socket is bound, nothing else; even that is given back once it is bound.
 * - run: the shell. A command may do whatever this process's user may, so the other scopes bound mistakes and what
 *   gets in by the socket, not what the configured commands do.
 */
export function commanderPermissions(paths: CommanderPaths): PermissionGrant[] {
  const { configPath, commandsPath, socketDir, stateDir, bindPath } = paths;
  const leases = leasesPath(stateDir);
  const socketWhy = "make the socket in a private folder, move it to its place, lock it";
  const read = [
    allow("read", configPath, "--config", "the configuration"),
    allow("read", commandsPath, "--commands", "the commands"),
    ...ACCOUNT_FILES.map((path) =>
      allow("read", path, "always", "names of users and groups: whose the socket is")
    ),
    allow("read", socketDir, "socket_dir", socketWhy),
    allow("read", stateDir, "commander_state_dir", "the leases; to sync their folder"),
  ];
  const write = [
    allow("write", socketDir, "socket_dir", socketWhy),
    allow("write", leases, "commander_state_dir", "the leases: what is still to be undone"),
    allow(
      "write",
      temporaryPathOf(leases),
      "commander_state_dir",
      "the leases, before they take the old ones' place",
    ),
  ];
  return [
    allow("net", `unix:${bindPath}`, "socket_dir", "bind the socket; given back once it is bound"),
    ...withoutCoveredGrants([...read, ...write]),
    allow("run", SHELL, "always", "run the configured commands"),
  ];
}

function allow(kind: GrantKind, scope: string, from: string, why: string): PermissionGrant {
  return { kind, access: "allow", scope, from, why };
}

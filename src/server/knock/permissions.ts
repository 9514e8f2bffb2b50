/** Exactly what the server process needs; the flags of its `deno run` line are made from this. */
import { COMMANDS_FILE_NAME } from "../../system/config_paths.ts";
import { withoutCoveredGrants } from "../../system/covered_grants.ts";
import { temporaryPathOf } from "../../system/durable_file.ts";
import { Failure } from "../../system/failure.ts";
import { absolutePath, folderOf, isWithin, joinPath } from "../../system/path.ts";
import type { PermissionGrant } from "../../system/permissions.ts";
import type { ServerConfig } from "./config.ts";
import { formatListenAddress } from "./listen_address.ts";

/**
 * From the configuration alone, nothing else is looked at: a self-extracting executable works its own flags out by
 * this while it may read that one file.
 *
 * - net: the listening address, which lets the socket receive from anyone and makes the runtime refuse an answer
 *   to anyone; and the commander's socket.
 * - write: five files and the socket, no folder. So a hijacked server can add no key, and there is nothing to deny.
 * - read: folders, since keys come and go, and since a rename is durable only once its folder is synced, for which
 *   it must be opened. Excepted are the commands and the commander's leases, which root runs: they lie, if nobody moved
 *   them, in the folder of the keys.
 *
 * @param options.statusPath overrides the configuration's `status_file`
 * @throws {Failure} if the status file would replace a file that something else is in
 */
export function serverPermissions(
  config: ServerConfig,
  options: { readonly statusPath?: string } = {},
): PermissionGrant[] {
  const status = statusFile(config, options.statusPath);
  const written: [path: string, from: string, why: string][] = [
    [config.floorsPath, "blocklist_dir", "replay floors"],
    [
      temporaryPathOf(config.floorsPath),
      "blocklist_dir",
      "replay floors, before they take the old ones' place",
    ],
    [config.lockPath, "blocklist_dir", "one server alone uses these floors"],
    ...(status === null ? [] : [
      [status.path, status.from, "counters for doctor and monitoring"],
      [temporaryPathOf(status.path), status.from, "counters, before they take the old ones' place"],
    ] satisfies [string, string, string][]),
  ];
  const socketFrom = "socket_dir";
  const read: PermissionGrant[] = [
    allow("read", config.configPath, "--config", "the configuration, again at each reload"),
    allow("read", config.configDir, "config_dir", "the key files, which come and go"),
    allow("read", config.blocklistDir, "blocklist_dir", "replay floors; to sync their folder"),
    ...(status === null ? [] : [
      allow("read", temporaryPathOf(status.path), status.from, "a rename reads what it moves"),
    ]),
    allow("read", config.socketPath, socketFrom, "a connection to the commander needs it"),
  ];
  return [
    allow("net", formatListenAddress(config.address), "address", "receive from anyone, send to nobody"),
    allow("net", `unix:${config.socketPath}`, socketFrom, "hand accepted knocks to the commander"),
    ...withoutCoveredGrants(read),
    ...written.map(([path, from, why]) => allow("write", path, from, why)),
    allow("write", config.socketPath, socketFrom, "a connection to the commander needs it"),
    ...commanderFiles(config)
      .filter(({ scope }) => read.some((granted) => isCovered(scope, granted.scope)))
      .map(({ scope, from, why }): PermissionGrant => ({ kind: "read", access: "deny", scope, from, why })),
  ];
}

/** Files that the server must never see. */
function commanderFiles(config: ServerConfig): { scope: string; from: string; why: string }[] {
  const why = "what root runs is none of the server's business";
  const folders = new Set([folderOf(config.configPath), config.configDir]);
  return [
    ...[...folders].map((folder) => ({
      scope: joinPath(folder, COMMANDS_FILE_NAME),
      from: folder === config.configDir ? "config_dir" : "--config",
      why,
    })),
    { scope: config.commanderStateDir, from: "commander_state_dir", why },
  ];
}

/** Refuses a status file in whose place something else would be lost, or be obeyed; `/` would grant everything. */
function statusFile(
  config: ServerConfig,
  option: string | undefined,
): { readonly path: string; readonly from: string } | null {
  const given = option ?? config.statusPath;
  if (given === null) return null;
  const path = absolutePath(given);
  const from = option === undefined ? "status_file" : "--status";
  const isTaken = [
    config.configPath,
    config.floorsPath,
    config.lockPath,
    config.socketPath,
    ...commanderFiles(config).map(({ scope }) => scope),
  ].some((taken) => isWithin(path, taken)) || path === "/" ||
    (folderOf(path) === config.configDir && path.endsWith(".key"));
  if (!isTaken) return { path, from };
  throw new Failure(`cannot use ${path} as the status file: found the place of another file of Postern`, {
    hint: `name a file of its own: ${from === "--status" ? "--status" : "status_file in config.toml"}`,
  });
}

function allow(kind: "net" | "read" | "write", scope: string, from: string, why: string): PermissionGrant {
  return { kind, access: "allow", scope, from, why };
}

function isCovered(scope: string | true, folder: string | true): boolean {
  return scope !== true && folder !== true && isWithin(scope, folder);
}

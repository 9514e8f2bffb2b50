/** Exactly what the server process needs; the flags of its `deno run` line are made from this. */
import { COMMANDS_FILE_NAME } from "../../system/config_paths.ts";
import { absolutePath, folderOf, isWithin, joinPath } from "../../system/path.ts";
import type { PermissionSet } from "../../system/permissions.ts";
import type { ServerConfig } from "./config.ts";
import { formatListenAddress } from "./listen_address.ts";

/**
 * - net: the listening address, which lets the socket receive from anyone and makes the runtime refuse an answer
 *   to anyone; and the commander's socket.
 * - read and write: its state folder, the status file's folder (a rename needs both), the commander's socket (so
 *   does a connection); read alone: the configuration and the keys.
 * - never: the commands and the commander's leases, which root runs. They lie, if nobody moved them, in the folder of
 *   the keys, which is readable, and where the replay floors are kept, if nobody moved those, writable.
 * - never written: the configuration and the keys that are there. (A new key file can be written into a folder
 *   that has both keys and floors; only floors in a folder of their own keep a hijacked server from that.)
 *
 * @param options.statusPath overrides the configuration's `status_file`
 */
export function serverPermissions(
  config: ServerConfig,
  options: { readonly statusPath?: string } = {},
): PermissionSet {
  const statusPath = options.statusPath ?? config.statusPath;
  const state = [config.blocklistDir, config.socketPath];
  if (statusPath !== null) state.push(folderOf(absolutePath(statusPath)));
  const read = [...new Set([config.configPath, config.configDir, ...state])];
  const write = [...new Set(state)];
  const commandFolders = new Set([folderOf(config.configPath), config.configDir]);
  const commanders = [
    ...[...commandFolders].map((folder) => joinPath(folder, COMMANDS_FILE_NAME)),
    ...[config.commanderStateDir].filter((path) => isCovered(path, read)),
  ];
  const inputs = [config.configPath, ...config.keyPaths].filter((path) => isCovered(path, write));
  return {
    net: [formatListenAddress(config.address), `unix:${config.socketPath}`],
    read,
    write,
    denyRead: commanders,
    denyWrite: [...commanders, ...inputs],
  };
}

function isCovered(path: string, granted: readonly string[]): boolean {
  return granted.some((folder) => isWithin(path, folder));
}

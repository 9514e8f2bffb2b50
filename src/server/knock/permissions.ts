/** Exactly what the server process needs; the flags of its `deno run` line are made from this. */
import { dirname, join, resolve } from "node:path";
import { COMMANDS_FILE_NAME } from "../../system/config_paths.ts";
import type { PermissionSet } from "../../system/permissions.ts";
import type { ServerConfig } from "./config.ts";
import { formatListenAddress } from "./listen_address.ts";

/**
 * - net: the listening address, which lets the socket receive from anyone and makes the runtime refuse an answer
 *   to anyone; and the commander's socket.
 * - read and write: its state folder, the status file's folder (a rename needs both), the commander's socket (so
 *   does a connection); read alone: the configuration and the keys.
 * - never: the commands. They lie in the folder of the configuration, which the keys make readable.
 *
 * @param options.statusPath overrides the configuration's `status_file`
 */
export function serverPermissions(
  config: ServerConfig,
  options: { readonly statusPath?: string } = {},
): PermissionSet {
  const statusPath = options.statusPath ?? config.statusPath;
  const state = [config.blocklistDir, config.socketPath];
  if (statusPath !== null) state.push(dirname(resolve(statusPath)));
  const commandFolders = new Set([dirname(config.configPath), config.configDir]);
  return {
    net: [formatListenAddress(config.address), `unix:${config.socketPath}`],
    read: [...new Set([config.configPath, config.configDir, ...state])],
    write: [...new Set(state)],
    denyRead: [...commandFolders].map((folder) => join(folder, COMMANDS_FILE_NAME)),
  };
}

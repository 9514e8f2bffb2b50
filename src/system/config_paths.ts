/**
 * The paths of `config.toml` by which server and commander meet. Both read them here: the server connects to the
 * socket that the commander makes, and is kept from reading the commands that the commander runs.
 */
import { absolutePath, folderOf, joinPath } from "./path.ts";
import { TomlFields } from "./toml_fields.ts";
import type { TomlSource } from "./toml_file.ts";

/** All absolute. */
export interface ConfigPaths {
  readonly configPath: string;
  /** Folder of the key files, and of all that has no folder of its own. */
  readonly configDir: string;
  readonly socketDir: string;
  /** The commander's socket, which the server connects to. */
  readonly socketPath: string;
}

/** Name of the commands file; it lies beside `config.toml` unless the commander is told otherwise. */
export const COMMANDS_FILE_NAME = "commands.toml";

const COMMANDER_STATE_NAME = "commander-state";
const SOCKET_NAME = "ruroco.socket";
const PATH_FORMS = "a path without a comma (the sandbox separates paths by commas)";

/**
 * @param source of an absolute path: its folder is the default
 * @throws {Failure} naming file, line and key
 */
export function readConfigPaths(source: TomlSource): ConfigPaths {
  const fields = new TomlFields(source);
  const configDir = readPath(fields, "config_dir") ?? folderOf(source.path);
  const socketDir = readPath(fields, "socket_dir") ?? configDir;
  return { configPath: source.path, configDir, socketDir, socketPath: joinPath(socketDir, SOCKET_NAME) };
}

/**
 * Folder of the commander's leases, from which the server is kept away.
 *
 * @throws {Failure} naming file, line and key
 */
export function readCommanderStateDir(fields: TomlFields, configDir: string): string {
  return readPath(fields, "commander_state_dir") ?? joinPath(configDir, COMMANDER_STATE_NAME);
}

/**
 * One path, made absolute: a relative one counts from the current folder, as in ruroco.
 *
 * @throws {Failure} naming file, line and key
 */
export function readPath(fields: TomlFields, name: string): string | undefined {
  const path = fields.text(name, PATH_FORMS);
  if (path === undefined) return undefined;
  // A comma would end the path in a permission flag and grant what follows it as another one.
  if (path === "" || path.includes(",")) return fields.refuse(name, PATH_FORMS);
  return absolutePath(path);
}

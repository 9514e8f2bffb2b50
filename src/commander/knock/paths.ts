/**
 * The places the commander works in: all that its permissions depend on. Nothing in here runs a program or reads a
 * file, and nothing that does is imported: this is a part of every executable that tells permissions, the client's, too.
 */
import {
  COMMANDS_FILE_NAME,
  type ConfigPaths,
  readCommanderStateDir,
  readConfigPaths,
} from "../../system/config_paths.ts";
import { absolutePath, folderOf, joinPath, nameOf } from "../../system/path.ts";
import { TomlFields } from "../../system/toml_fields.ts";
import type { TomlSource } from "../../system/toml_file.ts";

const BIND_FOLDER = ".commander";
const LEASES_NAME = "leases.json";

/** What config.toml alone says. All paths are absolute. */
export interface CommanderPaths extends ConfigPaths {
  readonly commandsPath: string;
  /** Where the socket is bound before it is renamed to `socketPath`: the path of the net permission. */
  readonly bindPath: string;
  readonly stateDir: string;
}

/**
 * The places from a config.toml that has been read; no other file is looked at.
 *
 * @param commandsPath `commands.toml` in the folder of the config file when not given
 * @throws {Failure} naming file, line and key
 */
export function readCommanderPaths(source: TomlSource, commandsPath?: string): CommanderPaths {
  const paths = readConfigPaths(source);
  return {
    ...paths,
    commandsPath: absolutePath(commandsPath ?? joinPath(folderOf(source.path), COMMANDS_FILE_NAME)),
    bindPath: joinPath(paths.socketDir, BIND_FOLDER, nameOf(paths.socketPath)),
    stateDir: readCommanderStateDir(new TomlFields(source), paths.configDir),
  };
}

export function leasesPath(stateDir: string): string {
  return `${stateDir}/${LEASES_NAME}`;
}

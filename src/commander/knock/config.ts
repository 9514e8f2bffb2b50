/** config.toml as the commander reads it; the server reads the same file. */
import { unknownKeyWarnings } from "../../system/config_keys.ts";
import {
  COMMANDS_FILE_NAME,
  type ConfigPaths,
  readCommanderStateDir,
  readConfigPaths,
} from "../../system/config_paths.ts";
import { absolutePath, folderOf, joinPath, nameOf } from "../../system/path.ts";
import type { PermissionSet } from "../../system/permissions.ts";
import { TomlFields } from "../../system/toml_fields.ts";
import { readTomlFile } from "../../system/toml_file.ts";
import { ACCOUNT_FILES, type Accounts, readAccounts } from "./accounts.ts";
import type { CommandSpec } from "./command_spec.ts";
import { readCommandsFile } from "./commands_file.ts";
import { ownUid } from "./ownership.ts";
import { SHELL } from "./shell.ts";

/** Everything the commander runs by. All paths are absolute; the lock lies in the folder of the socket. */
export interface CommanderConfig extends ConfigPaths {
  readonly commandsPath: string;
  readonly commands: readonly CommandSpec[];
  /** Where the socket is bound before it is renamed to `socketPath`: the path of the net permission. */
  readonly bindPath: string;
  /** Owner of the socket; null leaves it to this process. */
  readonly socketUid: number | null;
  readonly socketGid: number | null;
  readonly allowNonRoutableIps: boolean;
  readonly stateDir: string;
  readonly maxLeases: number;
  /** The user this process runs as, and its home folder. */
  readonly ownUid: number;
  readonly home: string;
  /** For the log; none of them keeps the commander from starting. */
  readonly warnings: readonly string[];
}

const BIND_FOLDER = ".commander";
const DEFAULT_ACCOUNTS = ["postern", "ruroco"] as const;
const DEFAULT_MAX_LEASES = 1024;
const MAX_LEASES_RANGE = { min: 1, max: 65_536 };

/**
 * Reads config.toml and commands.toml. Relative folders count from the current one, as in ruroco.
 *
 * @param commandsPath `commands.toml` in the folder of the config file when not given
 * @throws {Failure} naming file, line and key, what was found and what is accepted; never the content of commands.toml
 */
export async function loadCommanderConfig(
  configPath: string,
  commandsPath?: string,
): Promise<CommanderConfig> {
  const source = await readTomlFile(absolutePath(configPath));
  const fields = new TomlFields(source);
  const paths = readConfigPaths(source);
  const accounts = await readAccounts();
  const self = await ownUid();
  const resolvedCommandsPath = absolutePath(
    commandsPath ?? joinPath(folderOf(source.path), COMMANDS_FILE_NAME),
  );
  const file = await readCommandsFile(resolvedCommandsPath, self);
  return {
    ...paths,
    commandsPath: resolvedCommandsPath,
    commands: file.commands,
    bindPath: joinPath(paths.socketDir, BIND_FOLDER, nameOf(paths.socketPath)),
    socketUid: readAccount(fields, "socket_user", accounts),
    socketGid: readAccount(fields, "socket_group", accounts),
    allowNonRoutableIps: fields.flag("allow_non_routable_ips") ?? false,
    stateDir: readCommanderStateDir(fields, paths.configDir),
    maxLeases: fields.count("max_leases", MAX_LEASES_RANGE) ?? DEFAULT_MAX_LEASES,
    ownUid: self,
    home: accounts.homes.get(self) ?? "/",
    warnings: [...unknownKeyWarnings(source), ...file.warnings],
  };
}

/**
 * Exactly what the commander process needs.
 *
 * - net: the place where its socket is bound, nothing else; even that is given back once it is bound.
 * - read and write: the folder of the socket and the lock, and its own state; read alone: the two config files and
 *   the names of users and groups.
 * - run: the shell.
 */
export function commanderPermissions(config: CommanderConfig): PermissionSet {
  return {
    net: [`unix:${config.bindPath}`],
    read: [config.configPath, config.commandsPath, ...ACCOUNT_FILES, config.socketDir, config.stateDir],
    write: [config.socketDir, config.stateDir],
    run: [SHELL],
  };
}

function readAccount(
  fields: TomlFields,
  key: "socket_user" | "socket_group",
  accounts: Accounts,
): number | null {
  const [known, kind, list] = key === "socket_user"
    ? [accounts.users, "user", "/etc/passwd"]
    : [accounts.groups, "group", "/etc/group"];
  const given = fields.text(key)?.trim();
  if (given === "") return null;
  const accepted = `a name in ${list}, a number, or "" to leave the ${kind} as it is`;
  if (given === undefined) {
    const name = DEFAULT_ACCOUNTS.find((candidate) => known.has(candidate));
    const id = name === undefined ? undefined : known.get(name);
    if (id !== undefined) return id;
    return fields.fail(
      key,
      `found no such key, and no ${kind} ${DEFAULT_ACCOUNTS.join(" or ")} in ${list}; ` +
        `accepted is ${accepted}`,
    );
  }
  // A number is for accounts that are kept elsewhere (LDAP): only the C library can look those up by name.
  const id = known.get(given) ?? (/^[0-9]{1,9}$/.test(given) ? Number(given) : undefined);
  if (id !== undefined) return id;
  return fields.refuse(key, accepted);
}

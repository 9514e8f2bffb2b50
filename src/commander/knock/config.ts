/** config.toml as the commander reads it; the server reads the same file. */
import { dirname, join, resolve } from "node:path";
import { unknownKeyWarnings } from "../../system/config_keys.ts";
import type { PermissionSet } from "../../system/permissions.ts";
import { readTomlFile } from "../../system/toml_file.ts";
import { ACCOUNT_FILES, type Accounts, readAccounts } from "./accounts.ts";
import type { CommandSpec } from "./command_spec.ts";
import { readCommandsFile } from "./commands_file.ts";
import { Fields } from "./fields.ts";
import { ownUid } from "./ownership.ts";
import { SHELL } from "./shell.ts";

/** Everything the commander runs by. All paths are absolute. */
export interface CommanderConfig {
  readonly configPath: string;
  readonly commandsPath: string;
  readonly commands: readonly CommandSpec[];
  /** Folder of the socket and of the commander's lock. */
  readonly socketDir: string;
  /** The socket the server connects to. */
  readonly socketPath: string;
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

const SOCKET_NAME = "ruroco.socket";
const BIND_FOLDER = ".commander";
const DEFAULT_ACCOUNTS = ["postern", "ruroco"] as const;
const DEFAULT_MAX_LEASES = 1024;
const MAX_MAX_LEASES = 65_536;

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
  const source = await readTomlFile(resolve(configPath));
  const fields = new Fields(source, [], source.table);
  const configDir = readFolder(fields, "config_dir") ?? dirname(source.path);
  const socketDir = readFolder(fields, "socket_dir") ?? configDir;
  const accounts = await readAccounts();
  const self = await ownUid();
  const resolvedCommandsPath = resolve(commandsPath ?? join(dirname(source.path), "commands.toml"));
  const file = await readCommandsFile(resolvedCommandsPath, self);
  return {
    configPath: source.path,
    commandsPath: resolvedCommandsPath,
    commands: file.commands,
    socketDir,
    socketPath: join(socketDir, SOCKET_NAME),
    bindPath: join(socketDir, BIND_FOLDER, SOCKET_NAME),
    socketUid: readAccount(fields, "socket_user", accounts),
    socketGid: readAccount(fields, "socket_group", accounts),
    allowNonRoutableIps: fields.flag("allow_non_routable_ips") ?? false,
    stateDir: readFolder(fields, "commander_state_dir") ?? join(configDir, "commander-state"),
    maxLeases: fields.count("max_leases", 1, MAX_MAX_LEASES) ?? DEFAULT_MAX_LEASES,
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

function readFolder(fields: Fields, name: string): string | undefined {
  const path = fields.text(name);
  if (path === undefined) return undefined;
  // A comma would end the path in a permission flag and grant what follows it as another one.
  if (path === "" || path.includes(",")) {
    return fields.fail(name, `found ${JSON.stringify(path)}, accepted is a path without a comma`);
  }
  return resolve(path);
}

function readAccount(fields: Fields, key: "socket_user" | "socket_group", accounts: Accounts): number | null {
  const [known, kind, list] = key === "socket_user"
    ? [accounts.users, "user", "/etc/passwd"]
    : [accounts.groups, "group", "/etc/group"];
  const given = fields.text(key)?.trim();
  if (given === "") return null;
  const accepted = `accepted is a name in ${list}, a number, or "" to leave the ${kind} as it is`;
  if (given === undefined) {
    const name = DEFAULT_ACCOUNTS.find((candidate) => known.has(candidate));
    const id = name === undefined ? undefined : known.get(name);
    if (id !== undefined) return id;
    return fields.fail(
      key,
      `found no such key, and no ${kind} ${DEFAULT_ACCOUNTS.join(" or ")} in ${list}; ${accepted}`,
    );
  }
  // A number is for accounts that are kept elsewhere (LDAP): only the C library can look those up by name.
  const id = known.get(given) ?? (/^[0-9]{1,9}$/.test(given) ? Number(given) : undefined);
  if (id !== undefined) return id;
  return fields.fail(key, `found ${JSON.stringify(given)}, ${accepted}`);
}

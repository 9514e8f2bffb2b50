/** config.toml as the commander reads it; the server reads the same file. */
import { unknownKeyWarnings } from "../../system/config_keys.ts";
import { absolutePath } from "../../system/path.ts";
import { TomlFields } from "../../system/toml_fields.ts";
import { readTomlFile } from "../../system/toml_file.ts";
import { type Accounts, readAccounts } from "./accounts.ts";
import type { CommandSpec } from "./command_spec.ts";
import { readCommandsFile } from "./commands_file.ts";
import { ownUid } from "./ownership.ts";
import { type CommanderPaths, readCommanderPaths } from "./paths.ts";

/** Everything the commander runs by. The lock lies in the folder of the socket. */
export interface CommanderConfig extends CommanderPaths {
  readonly commands: readonly CommandSpec[];
  /** Owner of the socket; null leaves it to this process. */
  readonly socketUid: number | null;
  readonly socketGid: number | null;
  readonly allowNonRoutableIps: boolean;
  readonly maxLeases: number;
  /** The user this process runs as, and its home folder. */
  readonly ownUid: number;
  readonly home: string;
  /** For the log; none of them keeps the commander from starting. */
  readonly warnings: readonly string[];
}

const DEFAULT_ACCOUNTS = ["postern", "ruroco"] as const;
export const DEFAULT_MAX_LEASES = 1024;
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
  const paths = readCommanderPaths(source, commandsPath);
  const accounts = await readAccounts();
  const self = await ownUid();
  const file = await readCommandsFile(paths.commandsPath, self);
  return {
    ...paths,
    commands: file.commands,
    socketUid: readAccount(fields, "socket_user", accounts),
    socketGid: readAccount(fields, "socket_group", accounts),
    allowNonRoutableIps: fields.flag("allow_non_routable_ips") ?? false,
    maxLeases: fields.count("max_leases", MAX_LEASES_RANGE) ?? DEFAULT_MAX_LEASES,
    ownUid: self,
    home: accounts.homes.get(self) ?? "/",
    warnings: [...unknownKeyWarnings(source), ...file.warnings],
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

import { didYouMean } from "./suggest.ts";
import { configFailure, formatKeyPath, keyLocation, type TomlSource } from "./toml_file.ts";

/**
 * Every key that may stand at the top of `config.toml`. Server and commander read the same file, so both know all of
 * them: a key of the other role is not a typo.
 */
export const CONFIG_KEYS = [
  "address",
  "allow_non_routable_ips",
  "blocklist_dir",
  "commander_state_dir",
  "config_dir",
  "ips",
  "keys",
  "max_clock_skew_seconds",
  "max_leases",
  "max_packet_age_seconds",
  "max_requests_per_second",
  "max_requests_per_second_global",
  "socket_dir",
  "socket_group",
  "socket_user",
  "status_file",
] as const;

/** Keys of older ruroco versions that mean nothing any more and must not be complained about. */
export const IGNORED_CONFIG_KEYS = ["ntp"] as const;

/** ruroco's old table of commands, which moved to a file of its own. */
const COMMANDS_TABLE = "commands";
const KEYS_TABLE = "keys";

/**
 * One warning per key at the top of `config.toml` that no role knows, with what was probably meant. Only warned of: a
 * ruroco of tomorrow may know keys that we do not, and its file must still work here.
 */
export function unknownKeyWarnings(source: TomlSource): string[] {
  const known = new Set<string>([...CONFIG_KEYS, ...IGNORED_CONFIG_KEYS]);
  return Object.keys(source.table).filter((key) => !known.has(key)).map((key) => {
    const problem = key === COMMANDS_TABLE
      ? "ignored, commands belong in commands.toml"
      : `unknown key, ignored${didYouMean(key, CONFIG_KEYS)}`;
    return `${keyLocation(source, [key])}: ${formatKeyPath([key])}: ${problem}`;
  });
}

/**
 * Refuses a table at the top of `config.toml` that no role knows. Not only warned of, as other keys are: the one
 * table there is says what keys may do, and under a misspelt name it leaves them open.
 *
 * @throws {Failure} naming file, line and table, with what was probably meant
 */
export function requireKnownTables(source: TomlSource): void {
  const known = new Set<string>([...CONFIG_KEYS, ...IGNORED_CONFIG_KEYS, COMMANDS_TABLE]);
  for (const [key, value] of Object.entries(source.table)) {
    if (known.has(key) || !isTableOrTables(value)) continue;
    throw configFailure(
      source,
      [key],
      `found an unknown table, accepted is [${KEYS_TABLE}.<file stem>]${didYouMean(key, [KEYS_TABLE])}`,
    );
  }
}

/** `[name]`, `name = {}`, `name.key = 1`, or `[[name]]`. */
function isTableOrTables(value: unknown): boolean {
  if (Array.isArray(value)) return value.some(isTableOrTables);
  return typeof value === "object" && value !== null && !(value instanceof Date);
}

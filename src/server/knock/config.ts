/**
 * config.toml as the server reads it: the keys of ruroco with ruroco's meaning, and ours besides. The commander
 * reads the same file; each knows the other's keys, so that only a real typo is warned of.
 */
import { tryParseIp } from "../../protocol/knock/address.ts";
import type { IpAddress } from "../../protocol/knock/address.ts";
import { requireKnownTables, unknownKeyWarnings } from "../../system/config_keys.ts";
import {
  type ConfigPaths,
  readCommanderStateDir,
  readConfigPaths,
  readPath,
} from "../../system/config_paths.ts";
import { absolutePath, isWithin, joinPath } from "../../system/path.ts";
import { type CountRange, TomlFields } from "../../system/toml_fields.ts";
import { readTomlFile, type TomlSource } from "../../system/toml_file.ts";
import { readGrants, SECONDS_RANGE } from "./grants.ts";
import type { KeyGrant } from "./grants.ts";
import { LISTEN_ADDRESS_FORMS, parseListenAddress } from "./listen_address.ts";
import type { ListenAddress } from "./listen_address.ts";

/** All paths are absolute. */
export interface ServerConfig extends ConfigPaths {
  /** The file it came from, for errors that only show when the key folder has been read. */
  readonly source: TomlSource;
  /** Destination addresses accepted in a packet; empty accepts none. */
  readonly ips: ReadonlySet<IpAddress>;
  readonly address: ListenAddress;
  /** Folder of the floors file and the server's lock. */
  readonly blocklistDir: string;
  readonly floorsPath: string;
  readonly lockPath: string;
  /** The commander's, which the server must not touch. */
  readonly commanderStateDir: string;
  /** null: no status file. */
  readonly statusPath: string | null;
  /** From one peer address with one key. */
  readonly maxRequestsPerSecond: number;
  readonly maxRequestsPerSecondGlobal: number;
  readonly maxClockSkewSeconds: number;
  /** 0 is no limit. */
  readonly maxPacketAgeSeconds: number;
  /** By file stem; a key without a table of its own is not in here. */
  readonly grants: ReadonlyMap<string, KeyGrant>;
  readonly warnings: readonly string[];
}

/** Whom the server's files belong to in an installation, for hints. */
export const SERVER_USER = "postern";

const DEFAULT_ADDRESS = "[::]:34020";
const DEFAULT_REQUESTS_PER_SECOND = 2;
const DEFAULT_REQUESTS_PER_SECOND_GLOBAL = 100;
/** Covers the disagreement of two clocks, not the age of a packet. */
export const DEFAULT_CLOCK_SKEW_SECONDS = 3600;
const DEFAULT_PACKET_AGE_SECONDS = 0;
const REQUESTS_RANGE: CountRange = { min: 0, max: 1_000_000 };

const IPS_FORMS = 'a list of IPv4 and IPv6 addresses, such as ["192.0.2.1", "2001:db8::1"]';

/**
 * Reads and checks a config.toml. Relative folders count from the current one, as in ruroco.
 *
 * @throws {Failure} naming file, line and key, what was found and what is accepted
 */
export async function loadServerConfig(path: string): Promise<ServerConfig> {
  return parseServerConfig(await readTomlFile(absolutePath(path)));
}

/** The same for a file that has been read. */
export function parseServerConfig(source: TomlSource): ServerConfig {
  requireKnownTables(source);
  const table = new TomlFields(source);
  const paths = readConfigPaths(source);
  const blocklistDir = readPath(table, "blocklist_dir") ?? paths.configDir;
  const ips = readIps(table);
  return {
    ...paths,
    source,
    ips,
    address: readAddress(table),
    blocklistDir,
    floorsPath: joinPath(blocklistDir, "blocklist.msgpck"),
    lockPath: joinPath(blocklistDir, "postern-server.lock"),
    commanderStateDir: readStateDir(table, paths, blocklistDir),
    statusPath: readPath(table, "status_file") ?? null,
    maxRequestsPerSecond: table.count("max_requests_per_second", REQUESTS_RANGE) ??
      DEFAULT_REQUESTS_PER_SECOND,
    maxRequestsPerSecondGlobal: table.count("max_requests_per_second_global", REQUESTS_RANGE) ??
      DEFAULT_REQUESTS_PER_SECOND_GLOBAL,
    maxClockSkewSeconds: table.count("max_clock_skew_seconds", SECONDS_RANGE) ?? DEFAULT_CLOCK_SKEW_SECONDS,
    maxPacketAgeSeconds: table.count("max_packet_age_seconds", SECONDS_RANGE) ?? DEFAULT_PACKET_AGE_SECONDS,
    grants: readGrants(table),
    warnings: [...unknownKeyWarnings(source), ...emptyIpsWarning(source, ips)],
  };
}

function readIps(table: TomlFields): Set<IpAddress> {
  const texts = table.texts("ips", IPS_FORMS);
  // Required: an absent list is more likely a lost line than the wish to refuse every packet.
  if (texts === undefined) return table.refuse("ips", IPS_FORMS);
  return new Set(texts.map((text) => tryParseIp(text) ?? table.refuseElement("ips", text, IPS_FORMS)));
}

/** Refuses a folder whose denial would take from the server what it needs. */
function readStateDir(table: TomlFields, paths: ConfigPaths, blocklistDir: string): string {
  const stateDir = readCommanderStateDir(table, paths.configDir);
  const ours = [paths.configPath, paths.configDir, blocklistDir, paths.socketPath];
  if (!ours.some((path) => isWithin(path, stateDir))) return stateDir;
  return table.fail(
    "commander_state_dir",
    `found the folder ${stateDir}, accepted is one without files of the server (keys, replay floors, socket)`,
  );
}

function emptyIpsWarning(source: TomlSource, ips: ReadonlySet<IpAddress>): string[] {
  return ips.size > 0 ? [] : [`${source.path}: ips is empty, so every packet is refused`];
}

function readAddress(table: TomlFields): ListenAddress {
  const text = table.text("address", LISTEN_ADDRESS_FORMS) ?? DEFAULT_ADDRESS;
  return parseListenAddress(text) ?? table.refuse("address", LISTEN_ADDRESS_FORMS);
}

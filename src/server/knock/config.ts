/**
 * config.toml as the server reads it: the keys of ruroco with ruroco's meaning, and ours besides. The commander
 * reads the same file; each knows the other's keys, so that only a real typo is warned of.
 */
import { dirname, join, resolve } from "node:path";
import { AddressError, parseIp } from "../../protocol/knock/address.ts";
import type { IpAddress } from "../../protocol/knock/address.ts";
import { formatKeyPath, keyLocation, readTomlFile } from "../../system/toml_file.ts";
import type { TomlSource } from "../../system/toml_file.ts";
import { CONFIG_KEYS, IGNORED_CONFIG_KEYS } from "../../system/config_keys.ts";
import { suggest } from "../../system/suggest.ts";
import { ConfigTable, describeFound } from "./config_table.ts";
import { MAX_SECONDS, readGrants } from "./grants.ts";
import type { KeyGrant } from "./grants.ts";
import { LISTEN_ADDRESS_FORMS, parseListenAddress } from "./listen_address.ts";
import type { ListenAddress } from "./listen_address.ts";

/** All paths are absolute. */
export interface ServerConfig {
  readonly configPath: string;
  /** The file it came from, for errors that only show when the key folder has been read. */
  readonly source: TomlSource;
  /** Destination addresses accepted in a packet; empty accepts none. */
  readonly ips: ReadonlySet<IpAddress>;
  readonly address: ListenAddress;
  /** Folder of the key files. */
  readonly configDir: string;
  /** Folder of the floors file and the server's lock: the one folder that must be writable. */
  readonly blocklistDir: string;
  readonly socketDir: string;
  readonly floorsPath: string;
  readonly lockPath: string;
  /** The commander's socket. */
  readonly socketPath: string;
  /** null: no status file. */
  readonly statusPath: string | null;
  readonly maxRequestsPerSecond: number;
  readonly maxRequestsPerSecondGlobal: number;
  readonly maxClockSkewSeconds: number;
  /** 0 is no limit. */
  readonly maxPacketAgeSeconds: number;
  /** By file stem; a key without a table of its own is not in here. */
  readonly grants: ReadonlyMap<string, KeyGrant>;
  readonly warnings: readonly string[];
}

const DEFAULT_ADDRESS = "[::]:34020";
const DEFAULT_REQUESTS_PER_SECOND = 2;
const DEFAULT_REQUESTS_PER_SECOND_GLOBAL = 100;
/** Covers the disagreement of two clocks, not the age of a packet. */
const DEFAULT_CLOCK_SKEW_SECONDS = 3600;
const DEFAULT_PACKET_AGE_SECONDS = 0;
const MAX_REQUESTS = 1_000_000;

const IPS_FORMS = 'a list of IPv4 and IPv6 addresses, such as ["192.0.2.1", "2001:db8::1"]';
const PATH_FORMS = "a path without a comma (the sandbox separates paths by commas)";

/**
 * Reads and checks a config.toml. Relative folders count from the current one, as in ruroco.
 *
 * @throws {Failure} naming file, line and key, what was found and what is accepted
 */
export async function loadServerConfig(path: string): Promise<ServerConfig> {
  return parseServerConfig(await readTomlFile(resolve(path)));
}

/** The same for a file that has been read. */
export function parseServerConfig(source: TomlSource): ServerConfig {
  const table = new ConfigTable(source);
  const configDir = readPath(table, "config_dir") ?? dirname(source.path);
  const blocklistDir = readPath(table, "blocklist_dir") ?? configDir;
  const socketDir = readPath(table, "socket_dir") ?? configDir;
  const ips = readIps(table);
  const requests = { min: 0, max: MAX_REQUESTS };
  const seconds = { min: 0, max: MAX_SECONDS };
  return {
    configPath: source.path,
    source,
    ips,
    address: readAddress(table),
    configDir,
    blocklistDir,
    socketDir,
    floorsPath: join(blocklistDir, "blocklist.msgpck"),
    lockPath: join(blocklistDir, "postern-server.lock"),
    socketPath: join(socketDir, "ruroco.socket"),
    statusPath: readPath(table, "status_file") ?? null,
    maxRequestsPerSecond: table.count("max_requests_per_second", requests) ?? DEFAULT_REQUESTS_PER_SECOND,
    maxRequestsPerSecondGlobal: table.count("max_requests_per_second_global", requests) ??
      DEFAULT_REQUESTS_PER_SECOND_GLOBAL,
    maxClockSkewSeconds: table.count("max_clock_skew_seconds", seconds) ?? DEFAULT_CLOCK_SKEW_SECONDS,
    maxPacketAgeSeconds: table.count("max_packet_age_seconds", seconds) ?? DEFAULT_PACKET_AGE_SECONDS,
    grants: readGrants(table),
    warnings: [...unknownNameWarnings(source), ...emptyIpsWarning(source, ips)],
  };
}

function readIps(table: ConfigTable): Set<IpAddress> {
  const texts = table.texts("ips", IPS_FORMS);
  // Required: an absent list is more likely a lost line than the wish to refuse every packet.
  if (texts === undefined) return table.fail("ips", `found nothing, accepted ${IPS_FORMS}`);
  return new Set(texts.map((text) => readIp(table, text)));
}

function readIp(table: ConfigTable, text: string): IpAddress {
  try {
    return parseIp(text);
  } catch (error) {
    if (!(error instanceof AddressError)) throw error;
    return table.fail("ips", `found ${describeFound(text)} in the list, accepted ${IPS_FORMS}`);
  }
}

function emptyIpsWarning(source: TomlSource, ips: ReadonlySet<IpAddress>): string[] {
  return ips.size > 0 ? [] : [`${source.path}: ips is empty, so every packet is refused`];
}

/** Only warned of: a ruroco of tomorrow may know keys that we do not, and its file must still work here. */
function unknownNameWarnings(source: TomlSource): string[] {
  const known: readonly string[] = [...CONFIG_KEYS, ...IGNORED_CONFIG_KEYS];
  return Object.keys(source.table).filter((name) => !known.includes(name)).map((name) => {
    const near = suggest(name, CONFIG_KEYS);
    const question = near === undefined ? "" : ` (did you mean ${near}?)`;
    return `${keyLocation(source, [name])}: ${formatKeyPath([name])}: unknown key, ignored${question}`;
  });
}

function readAddress(table: ConfigTable): ListenAddress {
  const text = table.text("address", LISTEN_ADDRESS_FORMS) ?? DEFAULT_ADDRESS;
  const address = parseListenAddress(text);
  return address ?? table.fail("address", `found ${describeFound(text)}, accepted ${LISTEN_ADDRESS_FORMS}`);
}

function readPath(table: ConfigTable, name: string): string | undefined {
  const path = table.text(name, PATH_FORMS);
  if (path === undefined) return undefined;
  if (path === "" || path.includes(",") || path.includes("\0")) {
    return table.fail(name, `found ${describeFound(path)}, accepted ${PATH_FORMS}`);
  }
  return resolve(path);
}

/**
 * What each doctor may do. None may change anything: the one write permission is for the commander's socket, because
 * the runtime asks it of whoever connects there.
 */
import { formatHostPort, parseHostAddress } from "../../client/knock/destination.ts";
import type { ServerConfig } from "../../server/knock/config.ts";
import { formatListenAddress } from "../../server/knock/listen_address.ts";
import type { GrantKind, PermissionGrant } from "../../system/permissions.ts";
import { CAT, DF, IP, NFT, type Program, SS, SYSTEMCTL } from "./programs.ts";
import { parseTimeSource, timeSourceHost } from "./time_source.ts";

export interface ClientDoctorScope {
  /** `--address`. */
  readonly address?: string;
  readonly timeFrom: string;
  readonly offline: boolean;
}

export interface ServerDoctorScope {
  readonly timeFrom: string;
  readonly offline: boolean;
  /** What is known of the server; undefined if its configuration cannot be read. */
  readonly config?: Pick<ServerConfig, "address" | "socketPath">;
}

export interface CommanderDoctorScope {
  /** Undefined if the configuration cannot be read. */
  readonly socketPath?: string;
}

const CONFIG_FOLDER_VARIABLES = ["POSTERN_CONF_DIR", "RUROCO_CONF_DIR", "XDG_CONFIG_HOME", "HOME"];
/** Where a datagram is sent from, which the runtime asks a permission for as well. */
const ANY_LOCAL = ["0.0.0.0:0", "[::]:0"];

/** @throws {UsageFailure} if an option is malformed */
export function clientDoctorPermissions(
  { address, timeFrom, offline }: ClientDoctorScope,
): PermissionGrant[] {
  const host = address === undefined ? null : parseHostAddress(address, 1);
  return [
    readAll("key, counter and their folders; which programs there are"),
    ...timeGrants(timeFrom, offline),
    ...(host === null || host.ip !== null || offline
      ? []
      : [allow("net", host.host, "--address", "resolve the server's name")]),
    ...runGrants(IP, "which way a packet would go"),
    ...CONFIG_FOLDER_VARIABLES.map((name) => allow("env", name, "always", "find the config folder")),
    ...sysGrants(),
  ];
}

/** @throws {UsageFailure} if an option is malformed */
export function serverDoctorPermissions({ timeFrom, offline, config }: ServerDoctorScope): PermissionGrant[] {
  return [
    readAll("configuration, keys, state, status, and who owns them; which programs there are"),
    ...timeGrants(timeFrom, offline),
    ...(config === undefined ? [] : [...socketGrants(config.socketPath), ...proofGrants(config)]),
    ...runGrants(SYSTEMCTL, "state of the service"),
    ...runGrants(SS, "who listens on the port"),
    ...runGrants(NFT, "whether a firewall is in the way"),
    ...runGrants(DF, "room on the disk"),
    ...runGrants(CAT, "kernel settings below /proc/sys, which the runtime may not read"),
    ...sysGrants(),
  ];
}

export function commanderDoctorPermissions({ socketPath }: CommanderDoctorScope): PermissionGrant[] {
  return [
    readAll("configuration, commands, leases, and who owns them; which programs there are"),
    ...(socketPath === undefined ? [] : socketGrants(socketPath)),
    ...runGrants(SYSTEMCTL, "state of the service"),
    ...runGrants(DF, "room on the disk"),
    allow("sys", "uid", "always", "who looks"),
  ];
}

/** What all three need besides files and the network, for an executable that has them all. */
export function anyDoctorPermissions(): PermissionGrant[] {
  const all = [
    ...clientDoctorPermissions({ timeFrom: "", offline: true }),
    ...serverDoctorPermissions({ timeFrom: "", offline: true }),
    ...commanderDoctorPermissions({}),
  ];
  const seen = new Set<string>();
  return all.filter(({ kind, scope }) =>
    !seen.has(`${kind} ${scope}`) && seen.add(`${kind} ${scope}`) && kind !== "read"
  );
}

function readAll(why: string): PermissionGrant {
  return allow("read", true, "always", why);
}

function timeGrants(timeFrom: string, offline: boolean): PermissionGrant[] {
  if (offline) return [];
  const source = parseTimeSource(timeFrom);
  const why = "what time it is";
  return [
    allow("net", timeSourceHost(source), "--time-from", why),
    ...(source.kind === "ntp" ? ANY_LOCAL.map((host) => allow("net", host, "--time-from", why)) : []),
  ];
}

function socketGrants(socketPath: string): PermissionGrant[] {
  const why = "whether the commander listens";
  return [
    allow("net", `unix:${socketPath}`, "socket_dir", why),
    allow("write", socketPath, "socket_dir", `${why}; a connection needs it`),
  ];
}

function proofGrants({ address }: Pick<ServerConfig, "address">): PermissionGrant[] {
  const why = "a real knock, over loopback";
  const targets = new Set([formatHostPort("127.0.0.1", address.port), formatListenAddress(address)]);
  return [
    ...ANY_LOCAL.map((host) => allow("net", host, "always", why)),
    ...[...targets].map((host) => allow("net", host, "address", why)),
  ];
}

function runGrants(program: Program, why: string): PermissionGrant[] {
  return program.map((path): PermissionGrant => ({
    kind: "run",
    access: "allow",
    scope: path,
    from: "always",
    why,
    optional: true,
  }));
}

function sysGrants(): PermissionGrant[] {
  return [
    allow("sys", "uid", "always", "who looks"),
    allow("sys", "networkInterfaces", "always", "this machine's addresses"),
  ];
}

function allow(kind: GrantKind, scope: string | true, from: string, why: string): PermissionGrant {
  return { kind, access: "allow", scope, from, why };
}

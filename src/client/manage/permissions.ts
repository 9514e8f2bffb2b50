/** What the commands of an administrator need: the server's addresses and the folder; listening is of forwards alone. */
import { parseJoinToken } from "../../protocol/manage/join_token.ts";
import { withoutCoveredGrants } from "../../system/covered_grants.ts";
import { type GrantKind, hasPermission, type PermissionGrant } from "../../system/permissions.ts";
import { CONFIG_FOLDER_VARIABLES } from "../knock/config_folder.ts";
import { ManageFolder, namedManageFolder } from "./manage_folder.ts";

/** What the command line, the environment and the folder say. */
export interface ManageScope {
  /** The folder and the variable that decides it, null where that is `--dir`; null: none is known. */
  readonly folder: { readonly path: string; readonly variable: string | null } | null;
  /** `host:port` each; none where no server was joined. */
  readonly addresses: readonly string[];
}

const FIND_FOLDER = "find the folder of what belongs to the server";
const DIR = "--dir";

/**
 * What there is to know without being allowed anything more; a folder that may not be read has no addresses.
 *
 * @param dir what `--dir` says
 * @throws {Failure} if what is in the folder cannot be used
 */
export function manageScope(dir: string | undefined): ManageScope {
  const folder = namedManageFolder(dir);
  if (folder === null || !hasPermission({ name: "read", path: folder.path })) {
    return { folder, addresses: [] };
  }
  return { folder, addresses: new ManageFolder(folder.path).serverIfJoined()?.addresses ?? [] };
}

/** `client hosts`, `client exec`, and what every session needs. */
export function managePermissions(scope: ManageScope): PermissionGrant[] {
  return withoutCoveredGrants([
    ...serverPermissions(scope.addresses, "server.json"),
    ...folderPermissions(scope, "write"),
  ]);
}

/**
 * `client join`.
 *
 * @param token as typed; of one that is read from standard input nobody knows the addresses yet
 */
export function joinPermissions(scope: ManageScope, token: string): PermissionGrant[] {
  const addresses = token === "-" ? null : addressesIn(token);
  return withoutCoveredGrants([
    ...addresses === null
      ? [allow("net", true, "TOKEN", "connect to the server that the token names")]
      : serverPermissions(addresses, "TOKEN"),
    ...folderPermissions(scope, "write"),
  ]);
}

/** `client identity`. */
export function identityPermissions(scope: ManageScope): PermissionGrant[] {
  return folderPermissions(scope, "read");
}

/** `client shell`. */
export function shellPermissions(
  scope: ManageScope & { readonly recordPath?: string | undefined },
): PermissionGrant[] {
  const { recordPath } = scope;
  return withoutCoveredGrants([
    ...managePermissions(scope),
    optional(allow("env", "TERM", "always", "tell the host which terminal this is")),
    ...recordPath === undefined ? [] : [allow("write", recordPath, "--record", "the recording")],
  ]);
}

/**
 * `client forward`.
 *
 * @param scope.listen `host:port` each, where it listens
 */
export function forwardPermissions(
  scope: ManageScope & { readonly listen: readonly string[] },
): PermissionGrant[] {
  return withoutCoveredGrants([
    ...managePermissions(scope),
    ...scope.listen.map((address) =>
      allow("net", address, "FORWARD, --socks", "listen for what is forwarded")
    ),
  ]);
}

/** `client replay`. */
export function replayPermissions(path: string): PermissionGrant[] {
  return [allow("read", path, "FILE", "the recording")];
}

/** For a program whose command line and environment nobody knows yet: beside the whole kinds of a client that knocks. */
export function anyManagePermissions(): PermissionGrant[] {
  return [
    ...manageVariablePermissions(),
    optional(allow("env", "TERM", "always", "tell the host which terminal this is")),
  ];
}

/** All the variables that decide the folder. */
export function manageVariablePermissions(): PermissionGrant[] {
  return CONFIG_FOLDER_VARIABLES.map((name) => optional(allow("env", name, "always", FIND_FOLDER)));
}

function serverPermissions(addresses: readonly string[], from: string): PermissionGrant[] {
  return addresses.map((address) => allow("net", address, from, "connect to the management server"));
}

function folderPermissions({ folder }: ManageScope, most: "read" | "write"): PermissionGrant[] {
  // No flag can name a path with a comma: the command then says which one it lacks.
  if (folder === null || folder.path.includes(",")) return [];
  const { path, variable } = folder, from = variable ?? DIR;
  const reading = [
    ...variable === null ? [] : [optional(allow("env", variable, "the environment", FIND_FOLDER))],
    allow("read", path, from, "your key, the server, known hosts"),
  ];
  return most === "read"
    ? reading
    : [...reading, allow("write", path, from, "known hosts, the newest head of the server's audit")];
}

function addressesIn(token: string): readonly string[] | null {
  try {
    return parseJoinToken(token).addresses;
  } catch {
    // The command says what is wrong with it.
    return [];
  }
}

function allow(kind: GrantKind, scope: string | true, from: string, why: string): PermissionGrant {
  return { kind, access: "allow", scope, from, why };
}

function optional(grant: PermissionGrant): PermissionGrant {
  return { ...grant, optional: true };
}

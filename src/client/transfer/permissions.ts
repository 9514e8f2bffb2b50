/** What `client share` and `client receive` need: the relay and the files; what makes an interrupted one go on is optional. */
import { folderOf } from "../../system/path.ts";
import type { GrantKind, PermissionGrant } from "../../system/permissions.ts";
import { withoutCoveredGrants } from "../../system/covered_grants.ts";
import { type NamedRelay, RELAY_VARIABLE } from "./relay_address.ts";
import { STATE_FOLDER_VARIABLES } from "./state_folder.ts";

/** What the command line and the environment say. */
export interface TransferScope {
  /** Null: nobody names one, and the command says so and ends. */
  readonly relay: NamedRelay | null;
  /** The state folder and the variable that decides it; null: the environment names none, or may not be read. */
  readonly stateFolder: { readonly path: string; readonly variable: string } | null;
}

const FIND_RELAY = "find the relay";
const FIND_STATE = "find the state folder";
const GO_ON = "what is needed to go on after an interruption";

/**
 * `client share`.
 *
 * @param scope.paths what is shared, as typed; none of a text or standard input
 */
export function sharePermissions(
  scope: TransferScope & { readonly paths: readonly string[] },
): PermissionGrant[] {
  return withoutCoveredGrants([
    ...relayPermissions(scope.relay),
    ...scope.paths.map((path) => allow("read", expressible(path), "PATH", "what is shared")),
    ...statePermissions(scope.stateFolder),
  ]);
}

/**
 * `client receive`.
 *
 * @param scope.folder where files are put, as typed
 */
export function receivePermissions(scope: TransferScope & { readonly folder: string }): PermissionGrant[] {
  const { relay, folder, stateFolder } = scope;
  return withoutCoveredGrants([
    ...relayPermissions(relay),
    allow("read", folder, "--output-dir", "what is there already, what has come so far"),
    allow("write", folder, "--output-dir", "what is received"),
    optional(allow("sys", "statfs", "always", "see before anything is sent whether there is room for it")),
    ...statePermissions(stateFolder),
  ]);
}

/** For a program whose command line and environment nobody knows yet: beside the whole kinds of a client that knocks. */
export function anyTransferPermissions(): PermissionGrant[] {
  return [
    ...transferVariablePermissions(),
    optional(allow("sys", "statfs", "always", "see whether there is room for what is received")),
  ];
}

/** All the variables that decide what a transfer needs. */
export function transferVariablePermissions(): PermissionGrant[] {
  return [
    optional(allow("env", RELAY_VARIABLE, "always", FIND_RELAY)),
    ...STATE_FOLDER_VARIABLES.map((name) => optional(allow("env", name, "always", FIND_STATE))),
  ];
}

/** One address and no other; its name is resolved under the same grant. */
function relayPermissions(relay: NamedRelay | null): PermissionGrant[] {
  const asking = optional(allow("env", RELAY_VARIABLE, "always", FIND_RELAY));
  if (relay === null) return [asking];
  const net = allow("net", relay.address, relay.from, "connect to the relay");
  return relay.from === RELAY_VARIABLE ? [net, asking] : [net];
}

function statePermissions(folder: TransferScope["stateFolder"]): PermissionGrant[] {
  // No flag can name a path with a comma: then an interrupted transfer begins anew, as without a folder.
  if (folder === null || folder.path.includes(",")) return [];
  const { path, variable } = folder;
  return [
    optional(allow("env", variable, "the environment", FIND_STATE)),
    optional(allow("read", path, variable, GO_ON)),
    optional(allow("write", path, variable, GO_ON)),
  ];
}

/** No flag can name a path with a comma, and people's files have such names: then it is the folder that has no comma. */
function expressible(path: string): string {
  let each = path;
  while (each.includes(",")) each = folderOf(each);
  return each;
}

function allow(kind: GrantKind, scope: string | true, from: string, why: string): PermissionGrant {
  return { kind, access: "allow", scope, from, why };
}

function optional(grant: PermissionGrant): PermissionGrant {
  return { ...grant, optional: true };
}

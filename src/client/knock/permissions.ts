/** What the client's commands need; for `send` and `connect` the network alone, and the rest makes them better. */
import { withoutCoveredGrants } from "../../system/covered_grants.ts";
import type { GrantKind, PermissionGrant } from "../../system/permissions.ts";
import { anyTransferPermissions } from "../transfer/permissions.ts";
import { CONFIG_FOLDER_VARIABLES } from "./config_folder.ts";
import { isKeyText } from "./key_source.ts";

/** What the command line and the environment say. */
export interface ClientScope {
  /** `-K FILE`. */
  readonly keyFile?: string | undefined;
  /** The config folder and the variable that decides it; null: the environment names none, or may not be read. */
  readonly configFolder: { readonly path: string; readonly variable: string } | null;
}

/**
 * `client send` and `client connect`. The network as a whole: the address is a name, as a rule, that DNS leads to any
 * other address, and an answerless datagram needs a socket of its own besides.
 */
export function knockPermissions(scope: ClientScope): PermissionGrant[] {
  const { keyFile } = scope;
  return [
    allow("net", true, "always", "resolve the address, send the packet, connect"),
    ...fileGrants("read", keyFile, "the key"),
    ...folderPermissions(scope).map((each): PermissionGrant => ({ ...each, optional: true })),
  ];
}

/** `client gen`. */
export function genPermissions(keyFile: string | undefined): PermissionGrant[] {
  return fileGrants("write", keyFile, "the new key file");
}

/** `client reseed`. */
export function reseedPermissions(scope: ClientScope): PermissionGrant[] {
  return folderPermissions(scope);
}

/** For a program whose command line and environment nobody knows yet: the files can be any. */
export function anyClientPermissions(): PermissionGrant[] {
  const from = "--key-file, PATH, --output-dir, the environment";
  const why = "key files, the config folder, what is shared and received, known only when it runs";
  return withoutCoveredGrants([
    allow("net", true, "always", "resolve the address, send the packet, connect"),
    { ...allow("read", true, from, why), optional: true },
    { ...allow("write", true, from, why), optional: true },
    ...variablePermissions(),
    ...anyTransferPermissions(),
  ]);
}

/** All the variables by which the config folder may be found. */
export function variablePermissions(): PermissionGrant[] {
  return CONFIG_FOLDER_VARIABLES.map((name): PermissionGrant => ({
    ...allow("env", name, "always", "find the config folder"),
    optional: true,
  }));
}

/** A key typed where its file belongs gets no flag, which others could see: the command refuses it by itself. */
function fileGrants(kind: GrantKind, keyFile: string | undefined, why: string): PermissionGrant[] {
  return keyFile === undefined || isKeyText(keyFile) ? [] : [allow(kind, keyFile, "--key-file", why)];
}

function folderPermissions({ configFolder }: ClientScope): PermissionGrant[] {
  // No flag can name a path with a comma: the counter is then taken from the clock, as without a folder.
  if (configFolder === null || configFolder.path.includes(",")) return [];
  const { path, variable } = configFolder;
  return [
    allow("env", variable, "the environment", "find the config folder"),
    allow("read", path, variable, "the counter, so that no knock repeats another's"),
    allow("write", path, variable, "the counter and its lock"),
  ];
}

function allow(kind: GrantKind, scope: string | true, from: string, why: string): PermissionGrant {
  return { kind, access: "allow", scope, from, why };
}

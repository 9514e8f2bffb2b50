/** Compares what the process was granted with what its role needs, once its configuration is known. */
import { Failure } from "../system/failure.ts";
import { hasPermission, permissionFlags, type PermissionSet } from "../system/permissions.ts";

/** How the program was called, to print a line that can be called instead. */
export interface Invocation {
  /** Path of the main module. */
  readonly mainPath: string;
  readonly argv: readonly string[];
}

/** Differences between what is granted and what is needed, as flags of `deno run`. */
export interface PermissionAudit {
  readonly missing: readonly string[];
  readonly excess: readonly string[];
}

const SCOPED_KINDS = ["net", "read", "write", "run", "env", "sys"] as const;
type ScopedKind = (typeof SCOPED_KINDS)[number];

/**
 * Finds what is missing, and what is granted beyond `needed`.
 *
 * The runtime cannot list its grants, only answer about one. So excess is looked for where it happens: a kind
 * without any scope, a folder above a needed path, a host whose every port is granted, a denial left out. Two
 * unrelated grants, such as an extra folder elsewhere, are not seen.
 */
export function auditPermissions(needed: PermissionSet): PermissionAudit {
  const missing: PermissionSet = {};
  const excess: PermissionSet = {};
  for (const kind of SCOPED_KINDS) {
    const scopes = needed[kind] ?? [];
    const isWholeKindGranted = hasPermission({ name: kind });
    if (scopes === true) {
      if (!isWholeKindGranted) missing[kind] = true;
      continue;
    }
    missing[kind] = scopes.filter((scope) => !isGranted(kind, scope));
    excess[kind] = isWholeKindGranted ? true : broaderGrants(kind, scopes);
  }
  const notDenied = (needed.denyRead ?? []).filter((path) => isGranted("read", path));
  return {
    missing: permissionFlags(missing),
    excess: [...permissionFlags(excess), ...notDenied.map((path) => `no --deny-read=${path}`)],
  };
}

/** The granted scopes that hold a needed one and more. */
function broaderGrants(kind: ScopedKind, scopes: readonly string[]): string[] {
  const broader = new Set(scopes.flatMap((scope) => broaderScopes(kind, scope)));
  return [...broader].filter((scope) =>
    !scopes.some((each) => each === scope || scope.startsWith(`${each}/`)) && isGranted(kind, scope)
  );
}

/**
 * Refuses to go on without a needed permission; says so in one warning, or refuses under `isStrict`, if more is
 * granted than needed.
 *
 * @throws {Failure} with the `deno run` line that grants exactly what is needed
 */
export function enforcePermissions(
  needed: PermissionSet,
  invocation: Invocation,
  isStrict: boolean,
  warn: (line: string) => void,
): void {
  const { missing, excess } = auditPermissions(needed);
  const line = runLine(needed, invocation);
  if (missing.length > 0) {
    throw new Failure(`cannot start: permissions are missing: ${missing.join(" ")}`, { hint: line });
  }
  if (excess.length === 0) return;
  const problem = `more permissions are granted than needed: ${excess.join(" ")}`;
  if (isStrict) throw new Failure(`cannot start: ${problem}`, { hint: line });
  warn(`warning: ${problem}; exactly what is needed: ${line}`);
}

/**
 * Refuses to go on without what is needed before the configuration is known, where going on would prompt on a
 * terminal.
 *
 * @throws {Failure} naming the missing flags
 */
export function requirePermissions(needed: PermissionSet, what: string): void {
  const { missing } = auditPermissions(needed);
  if (missing.length === 0) return;
  throw new Failure(`${what}: permissions are missing: ${missing.join(" ")}`, {
    hint: `add ${missing.join(" ")} to deno run`,
  });
}

/** The line that starts this program with exactly the given permissions. */
export function runLine(needed: PermissionSet, { mainPath, argv }: Invocation): string {
  return ["deno", "run", "--no-prompt", ...permissionFlags(needed), mainPath, ...argv].map(shellWord).join(
    " ",
  );
}

function isGranted(kind: ScopedKind, scope: string): boolean {
  switch (kind) {
    case "read":
    case "write":
      return hasPermission({ name: kind, path: scope });
    case "net":
      return hasPermission({ name: "net", host: scope });
    case "run":
      return hasPermission({ name: "run", command: scope });
    case "env":
      return hasPermission({ name: "env", variable: scope });
    case "sys":
      return hasPermission({ name: "sys", kind: scope as NonNullable<Deno.SysPermissionDescriptor["kind"]> });
  }
}

/** Scopes that would grant `scope` and more. */
function broaderScopes(kind: ScopedKind, scope: string): string[] {
  if (kind === "net") {
    const host = /^(.+):[0-9]+$/.exec(scope)?.[1];
    return host === undefined || scope.startsWith("unix:") ? [] : [host];
  }
  if (kind !== "read" && kind !== "write") return [];
  const parents: string[] = [];
  for (let end = scope.lastIndexOf("/"); end > 0; end = scope.lastIndexOf("/", end - 1)) {
    parents.push(scope.slice(0, end));
  }
  return scope.startsWith("/") ? [...parents, "/"] : parents;
}

/** A word as a POSIX shell reads it back. */
function shellWord(word: string): string {
  return /^[A-Za-z0-9_@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

/** Compares what the process was granted with what its role needs, once its configuration is known. */
import { Failure, type FailureOptions } from "../system/failure.ts";
import { isWithin as isPathWithin } from "../system/path.ts";
import { hasPermission, permissionFlags, type PermissionSet } from "../system/permissions.ts";
import type { Build } from "./build.ts";
import { brokenRunLine } from "./deno_line.ts";
import { SENTINELS } from "./permission_sentinels.ts";
import { shellWord } from "./shell_word.ts";

/** How the program was called, to print a line that can be called instead. */
export interface Invocation {
  /** Path of the main module. */
  readonly mainPath: string;
  readonly argv: readonly string[];
  readonly build: Build;
}

/**
 * Differences between what is granted and what is needed, as flags of `deno run`. A denial that is not there is
 * missing where the rest was granted scope by scope: it was left out of a line that was meant to be exact. Beside a
 * whole kind, as under `-A`, it is one more thing that is granted beyond need.
 */
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
 * without any scope, a folder above a needed path, a host whose every port is granted, a denial left out, and the
 * common places of `permission_sentinels.ts`. A grant of any other place or address is not seen.
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
    excess[kind] = isWholeKindGranted ? true : unneededGrants(kind, scopes);
  }
  const notDenied: string[] = [];
  for (const [kind, key] of [["read", "denyRead"], ["write", "denyWrite"]] as const) {
    const paths = (needed[key] ?? []).filter((path) => isGranted(kind, path));
    if (hasPermission({ name: kind })) notDenied.push(...paths.map((path) => `no --deny-${kind}=${path}`));
    else missing[key] = paths;
  }
  return {
    missing: permissionFlags(missing),
    excess: [...permissionFlags(excess), ...notDenied],
  };
}

/** The granted scopes that hold a needed one and more, or have nothing to do with any; the outermost of them. */
function unneededGrants(kind: ScopedKind, scopes: readonly string[]): string[] {
  const suspects = new Set([...scopes.flatMap((scope) => broaderScopes(kind, scope)), ...SENTINELS[kind]]);
  const granted = [...suspects].filter((suspect) =>
    !scopes.some((scope) => isWithin(kind, suspect, scope)) && isGranted(kind, suspect)
  );
  return granted.filter((one) => !granted.some((other) => other !== one && isWithin(kind, one, other)));
}

/** Whether a grant of `outer` is one of `inner` too: a folder of what is in it, a host of all its ports. */
function isWithin(kind: ScopedKind, inner: string, outer: string): boolean {
  if (inner === outer) return true;
  if (kind === "net") return inner.startsWith(`${outer}:`);
  return (kind === "read" || kind === "write") && isPathWithin(inner, outer);
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
  const help = exactLineHint(needed, invocation);
  if (missing.length > 0) {
    const { role, executablePath } = invocation.build;
    const isCompiled = role !== null && executablePath === null;
    throw new Failure(`cannot start: permissions are missing: ${missing.join(" ")}`, {
      ...help,
      ...(isCompiled ? { hintLines: BAKED_IN } : {}),
    });
  }
  if (excess.length === 0) return;
  const problem = `more permissions are granted than needed: ${excess.join(" ")}`;
  if (isStrict) throw new Failure(`cannot start: ${problem}`, help);
  warn(`warning: ${problem}`);
  for (const line of [`hint: ${help.hint}`, ...help.hintLines ?? []]) warn(line);
}

/**
 * Refuses to go on without what is needed before the configuration is known, where going on would prompt on a
 * terminal.
 *
 * @throws {Failure} naming the missing flags
 */
export function requirePermissions(needed: PermissionSet, invocation: Invocation, what: string): void {
  const { missing } = auditPermissions(needed);
  if (missing.length === 0) return;
  throw new Failure(`${what}: permissions are missing: ${missing.join(" ")}`, {
    hint: invocation.build.role === null
      ? `add ${missing.join(" ")} to deno run`
      : `${permissionsLine(invocation)} shows what this executable may do`,
  });
}

/** Of an executable by `deno compile`, which cannot give itself anything: neither another layout nor another job. */
const BAKED_IN: readonly string[] = [
  "  this one has what deno compile has baked in, of servers and commanders that for knocks alone;",
  "  the self-extracting executable of the same role gives itself what each command line needs",
];

function exactLineHint(needed: PermissionSet, invocation: Invocation): FailureOptions {
  // Its own flags are worked out or baked in: a line with the bundle in it is nothing an operator could use.
  if (invocation.build.role !== null) {
    return { hint: `${permissionsLine(invocation)} shows what this executable may do, and why` };
  }
  const lines = brokenRunLine(permissionFlags(needed), [invocation.mainPath, ...invocation.argv]);
  return { hint: "exactly what is needed:", hintLines: lines.map((line) => `  ${line}`) };
}

/** What to type to see the permissions of this very command line. */
function permissionsLine({ build, argv }: Invocation): string {
  const program = build.executablePath ?? `postern-${build.role}`;
  return `${[program, "permissions", "--flags", "--", ...argv].map(shellWord).join(" ")}`;
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

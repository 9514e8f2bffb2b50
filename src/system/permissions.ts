import { Failure } from "./failure.ts";

/** What one role may do. A list is a scoped grant, `true` an unscoped one, absence none at all. */
export interface PermissionSet {
  /** `host:port`, `[v6]:port` or `unix:/absolute/path`. */
  net?: readonly string[] | true;
  read?: readonly string[] | true;
  write?: readonly string[] | true;
  run?: readonly string[] | true;
  env?: readonly string[] | true;
  sys?: readonly string[] | true;
  /** Exceptions from what `read` and `write` grant. */
  denyRead?: readonly string[];
  denyWrite?: readonly string[];
}

const ALLOW_KINDS = ["net", "read", "write", "run", "env", "sys"] as const;

/** A kind of permission that a command of this program may need; ffi and import are none of them. */
export type GrantKind = (typeof ALLOW_KINDS)[number];

/** One line of the permission table: what is granted or denied, what decides it, and why. */
export interface PermissionGrant {
  readonly kind: GrantKind;
  /** `deny` is an exception from what is allowed, and only of `read` and `write`. */
  readonly access: "allow" | "deny";
  /** One path, address, program, variable or name; `true`: the whole kind. */
  readonly scope: string | true;
  /** What decides the scope: a key of config.toml, an option such as `--status`, or `always`. */
  readonly from: string;
  readonly why: string;
  /** It works without, with less. */
  readonly optional?: true;
}

/** The grants as one set; a scope that several lines name counts once, a whole kind covers every scope of it. */
export function permissionSet(grants: readonly PermissionGrant[]): PermissionSet {
  const set: PermissionSet = {};
  for (const kind of ALLOW_KINDS) {
    const scopes = scopesOf(grants, kind, "allow");
    if (scopes.includes(true)) set[kind] = true;
    else if (scopes.length > 0) set[kind] = scopes.filter((scope) => scope !== true);
  }
  for (const [kind, key] of [["read", "denyRead"], ["write", "denyWrite"]] as const) {
    const scopes = scopesOf(grants, kind, "deny").filter((scope) => scope !== true);
    if (scopes.length > 0) set[key] = scopes;
  }
  return set;
}

function scopesOf(
  grants: readonly PermissionGrant[],
  kind: GrantKind,
  access: PermissionGrant["access"],
): (string | true)[] {
  const scopes = grants.filter((each) => each.kind === kind && each.access === access);
  return [...new Set(scopes.map(({ scope }) => scope))];
}

/**
 * The flags of `deno run` for a permission set, in a fixed order.
 *
 * @throws {Failure} naming an entry with a comma: the runtime would split it in two and grant both, so a path in a
 * config file could widen the sandbox
 */
export function permissionFlags(set: PermissionSet): string[] {
  const flags: string[] = [];
  for (const kind of ALLOW_KINDS) {
    const grant = set[kind];
    if (grant === true) flags.push(`--allow-${kind}`);
    else if (grant !== undefined && grant.length > 0) flags.push(`--allow-${kind}=${joinScopes(grant)}`);
  }
  for (const [kind, denied] of [["read", set.denyRead], ["write", set.denyWrite]] as const) {
    if (denied !== undefined && denied.length > 0) flags.push(`--deny-${kind}=${joinScopes(denied)}`);
  }
  return flags;
}

function joinScopes(entries: readonly string[]): string {
  for (const entry of entries) {
    if (entry.includes(",")) {
      throw new Failure(
        `could not express the permission for ${JSON.stringify(entry)}: found a comma, ` +
          "accepted are paths and addresses without one",
      );
    }
    if (entry === "") throw new Failure("could not express a permission: found an empty path or address");
  }
  return [...new Set(entries)].join(",");
}

/** True when the running process holds the permission now; never prompts. */
export function hasPermission(descriptor: Deno.PermissionDescriptor): boolean {
  return Deno.permissions.querySync(descriptor).state === "granted";
}

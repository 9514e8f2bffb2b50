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

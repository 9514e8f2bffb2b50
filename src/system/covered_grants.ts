import { isWithin } from "./path.ts";
import type { PermissionGrant } from "./permissions.ts";

/**
 * Leaves away every path that a granted folder of the same kind holds, and what is there twice: each grant that is
 * left is needed by itself, so a test can take one away and see the program fail.
 */
export function withoutCoveredGrants(grants: readonly PermissionGrant[]): PermissionGrant[] {
  return grants.filter((grant, index) => !grants.some((other, at) => covers(other, at, grant, index)));
}

function covers(other: PermissionGrant, at: number, grant: PermissionGrant, index: number): boolean {
  if (at === index || other.kind !== grant.kind || other.access !== grant.access) return false;
  if (other.scope === grant.scope) return at < index;
  if (other.scope === true) return true;
  const isPath = grant.kind === "read" || grant.kind === "write";
  return isPath && grant.scope !== true && isWithin(grant.scope, other.scope);
}

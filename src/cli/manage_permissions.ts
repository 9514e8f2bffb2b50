/** Permissions of an administrator's commands, asked for before the first of them is needed. */
import { type PermissionGrant, permissionSet } from "../system/permissions.ts";
import { type Invocation, requirePermissions } from "./permission_audit.ts";

/**
 * Refuses to begin without what is needed, where going on would prompt.
 *
 * @param what what cannot be done, such as "cannot open a session"
 * @throws {Failure} naming the missing flags
 */
export function requireManagePermissions(
  grants: readonly PermissionGrant[],
  invocation: Invocation,
  what: string,
): void {
  requirePermissions(permissionSet(grants.filter(({ optional }) => optional !== true)), invocation, what);
}

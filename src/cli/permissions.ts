/** Drops, before a role's code is loaded, every kind of permission its command has no use for. */
import { Failure } from "../system/failure.ts";
import type { CommandSpec, PermissionKind } from "./table.ts";

const KINDS: readonly PermissionKind[] = ["read", "write", "net", "env", "sys", "run", "ffi", "import"];

/**
 * Gives up for good every kind that `command` does not need (undefined needs none).
 *
 * Only whole kinds: revoking a part of an unscoped grant changes nothing and reports no error. For the same reason
 * the state that comes back is looked at instead of trusted.
 *
 * @throws {Failure} if the runtime keeps a kind granted
 */
export function dropUnneededPermissions(command: CommandSpec | undefined): void {
  for (const kind of KINDS) {
    if (command?.needs[kind] !== undefined) continue;
    const { state } = Deno.permissions.revokeSync({ name: kind });
    if (state === "granted") {
      throw new Failure(`cannot drop the permission "${kind}": the runtime keeps it granted`);
    }
  }
}

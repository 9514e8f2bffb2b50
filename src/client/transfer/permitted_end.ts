/** Links, as the permissions see them: what is opened by way of a link is, to the runtime, the file behind it. */
import { hasPermission } from "../../system/permissions.ts";

/**
 * Where a path leads that the permissions name in vain: its end is another one, by a link anywhere on the way, and is not
 * permitted. The runtime would ask for it in the middle of a transfer.
 *
 * @param path absolute; something is there, and reading it is permitted
 * @param acts what is to be done there
 * @returns the end; null if nothing is missing
 */
export function endNotPermitted(path: string, acts: readonly ("read" | "write")[]): string | null {
  const end = Deno.realPathSync(path);
  return acts.every((name) => hasPermission({ name, path: end })) ? null : end;
}

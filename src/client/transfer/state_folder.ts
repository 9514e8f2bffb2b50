/** Where a transfer keeps what it needs to go on after a restart, if it may. */
import { hasPermission } from "../../system/permissions.ts";

/** The variables that name it, the first one first. */
export const STATE_FOLDER_VARIABLES = ["XDG_STATE_HOME", "HOME"] as const;

/**
 * The state folder: `$XDG_STATE_HOME/postern/transfers`, else `~/.local/state/postern/transfers`.
 *
 * Only what is already granted is used: a variable that may not be read counts as unset, and a folder that may not be
 * read and written is no folder. A transfer works without, so nothing here may ever prompt.
 *
 * @returns null if no folder is known or its permissions are not granted
 */
export function usableStateFolder(): string | null {
  const path = namedStateFolder()?.path;
  if (path === undefined) return null;
  return hasPermission({ name: "read", path }) && hasPermission({ name: "write", path }) ? path : null;
}

/** The folder, whether it may be used or not, and the one variable that decides it; null if none may be read that does. */
export function namedStateFolder(): { readonly path: string; readonly variable: string } | null {
  const base = grantedVariable("XDG_STATE_HOME");
  // A relative one is to be ignored (XDG Base Directory Specification).
  if (base?.startsWith("/")) return { path: `${base}/postern/transfers`, variable: "XDG_STATE_HOME" };
  const home = grantedVariable("HOME");
  return home?.startsWith("/") ? { path: `${home}/.local/state/postern/transfers`, variable: "HOME" } : null;
}

/** A variable that may be read and is not empty. */
function grantedVariable(name: (typeof STATE_FOLDER_VARIABLES)[number]): string | undefined {
  if (!hasPermission({ name: "env", variable: name })) return undefined;
  return Deno.env.get(name) || undefined;
}

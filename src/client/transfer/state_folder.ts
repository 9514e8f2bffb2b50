/** Where a transfer keeps what it needs to go on after a restart, if it may. */
import { systemFiles } from "../../system/durable_file.ts";
import { describeError } from "../../system/failure.ts";
import { folderOf } from "../../system/path.ts";
import { hasPermission } from "../../system/permissions.ts";
import { endNotPermitted } from "./permitted_end.ts";

/** The variables that name it, the first one first. */
export const STATE_FOLDER_VARIABLES = ["XDG_STATE_HOME", "HOME"] as const;
const PRIVATE_FOLDER_MODE = 0o700;
const OTHERS_WRITE_BITS = 0o022;

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

/**
 * Makes the state folder if it is missing, 0700.
 *
 * @throws what the system says, or why nothing may be kept there; a transfer works without it all the same
 */
export async function makeStateFolder(folder: string): Promise<void> {
  await Deno.mkdir(folder, { recursive: true, mode: PRIVATE_FOLDER_MODE });
  const end = endNotPermitted(folder, ["read", "write"]);
  if (end !== null) throw new Error(`it leads to ${end}, which this program may not read and write`);
  const { mode } = await Deno.stat(folder);
  if (Deno.build.os !== "windows" && ((mode ?? 0) & OTHERS_WRITE_BITS) !== 0) {
    throw new Error("others may write there, accepted is a folder of mode 0700");
  }
  // Its own name should outlive a power cut too; the folder above it is asked for nowhere else.
  const above = folderOf(folder);
  if (hasPermission({ name: "read", path: above })) await systemFiles.syncFolder(above).catch(() => {});
}

/** What the user is told if nothing can be kept in the state folder. */
export function cannotKeepNotice(folder: string, what: "share" | "transfer", error: unknown): string {
  const reason = describeError(error);
  return `could not keep anything in ${folder}: ${reason}; so this ${what} cannot go on after a restart`;
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

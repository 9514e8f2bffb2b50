/** Where the client keeps its counter, if it may. */
import { hasPermission } from "../../system/permissions.ts";

/**
 * The config folder: `POSTERN_CONF_DIR`, else `RUROCO_CONF_DIR`, else `$XDG_CONFIG_HOME/postern`, else
 * `~/.config/postern`.
 *
 * Only what is already granted is used: a variable that may not be read counts as unset, and a folder that may not
 * be read and written is no folder. A knock needs the network alone, so nothing here may ever prompt.
 *
 * @returns null if no folder is known or its permissions are not granted
 */
export function usableConfigFolder(): string | null {
  const folder = configFolder(grantedVariable);
  if (folder === null) return null;
  const isUsable = hasPermission({ name: "read", path: folder }) &&
    hasPermission({ name: "write", path: folder });
  return isUsable ? folder : null;
}

/** The folder, whether it may be used or not, and the one variable that decides it; null if none may be read that does. */
export function namedConfigFolder(): { readonly path: string; readonly variable: string } | null {
  for (const name of CONFIG_FOLDER_VARIABLES) {
    const path = configFolder((each) => each === name ? grantedVariable(each) : undefined);
    if (path !== null) return { path, variable: name };
  }
  return null;
}

/** The variables that name it, the first one first. */
export const CONFIG_FOLDER_VARIABLES = [
  "POSTERN_CONF_DIR",
  "RUROCO_CONF_DIR",
  "XDG_CONFIG_HOME",
  "HOME",
] as const;

/** What to do when there is no folder that may be used. */
export function unusableFolderHint(): string {
  const named = namedConfigFolder();
  if (named === null) {
    return `add --allow-env=${CONFIG_FOLDER_VARIABLES.join(",")} to deno run, or set one of these variables`;
  }
  const { path } = named;
  const missing = (["read", "write"] as const).filter((name) => !hasPermission({ name, path }));
  return `add ${missing.map((name) => `--allow-${name}=${path}`).join(" ")} to deno run`;
}

/** The same rule over any environment; null if it names no folder. */
export function configFolder(variable: (name: string) => string | undefined): string | null {
  const named = variable("POSTERN_CONF_DIR") ?? variable("RUROCO_CONF_DIR");
  if (named !== undefined) return named;
  const base = variable("XDG_CONFIG_HOME");
  // A relative one is to be ignored (XDG Base Directory Specification).
  if (base?.startsWith("/")) return `${base}/postern`;
  const home = variable("HOME");
  return home === undefined ? null : `${home}/.config/postern`;
}

/** A variable that may be read and is not empty. */
function grantedVariable(name: string): string | undefined {
  if (!hasPermission({ name: "env", variable: name })) return undefined;
  return Deno.env.get(name) || undefined;
}

/**
 * Paths as text, the POSIX way. `node:path` does the same, but a bundle loads it at every start, also of
 * `client send`, which needs none of it.
 */

/** The path from the root, normalised as `joinPath` does; a relative one counts from the current folder. */
export function absolutePath(path: string): string {
  return path.startsWith("/") ? joinPath(path) : joinPath(Deno.cwd(), path);
}

/**
 * One path of several parts, without `.`, without `//` or a slash at the end, and without `..` but at the start of
 * a relative path; `.` when nothing is left. As text: a link on the way is not looked at.
 */
export function joinPath(...parts: readonly string[]): string {
  const joined = parts.filter((part) => part !== "").join("/");
  const isAbsolute = joined.startsWith("/");
  const names: string[] = [];
  for (const name of joined.split("/")) {
    if (name === "" || name === ".") continue;
    const canGoUp = names.length > 0 && names.at(-1) !== "..";
    if (name !== "..") names.push(name);
    else if (canGoUp) names.pop();
    else if (!isAbsolute) names.push(name);
  }
  const path = names.join("/");
  return isAbsolute ? `/${path}` : path || ".";
}

/** The folder part of `path`; `.` when it has none. */
export function folderOf(path: string): string {
  const bare = withoutEndSlashes(path);
  const slash = bare.lastIndexOf("/");
  if (slash === -1) return bare === "" && path !== "" ? "/" : ".";
  return withoutEndSlashes(bare.slice(0, slash)) || "/";
}

/** The last part of `path`; empty for the root. */
export function nameOf(path: string): string {
  const bare = withoutEndSlashes(path);
  return bare.slice(bare.lastIndexOf("/") + 1);
}

/** Whether a path is the folder or lies below it; both as `absolutePath` gives them. */
export function isWithin(path: string, folder: string): boolean {
  return path === folder || path.startsWith(folder === "/" ? folder : `${folder}/`);
}

function withoutEndSlashes(path: string): string {
  let end = path.length;
  while (path[end - 1] === "/") end--;
  return path.slice(0, end);
}

/**
 * Where setup is about to write: a way of folders that root alone can change, to a place that is empty or holds what
 * it should. What another user may rename, replace or lead elsewhere by a link decides what root runs.
 */
import { Failure } from "../system/failure.ts";
import { folderOf, isWithin } from "../system/path.ts";
import { withRoot } from "./layout.ts";
import type { MachineLooks } from "./machine.ts";

/** What should lie at a place, if anything does. */
export interface Place {
  readonly path: string;
  /** A `key` may belong to whoever the operator chose: the server itself says what is wrong with it. */
  readonly kind: "file" | "key" | "folder";
  /** Who may own it besides root. */
  readonly alsoOwner?: number | undefined;
}

const WRITABLE_BY_GROUP = 0o020;
const WRITABLE_BY_ALL = 0o002;
const PERMISSION_BITS = 0o7777;
/** Debian gives it to a group of its own on some machines, whose members count as root there. */
const LOCAL_DIR = "/usr/local";

/**
 * Looks at every place and at the folders above it. Changes nothing.
 *
 * @returns what the operator should know, though it is no reason to refuse
 * @throws {Failure} naming the first path that somebody else than root could change, or that is something else
 */
export async function requireSoundPlaces(
  machine: MachineLooks,
  root: string,
  places: readonly Place[],
): Promise<string[]> {
  const notes = new Set<string>();
  const checked = new Set<string>();
  for (const { path, kind, alsoOwner } of places) {
    await requireSoundFolder(machine, root, folderOf(path), { checked, notes });
    const found = await requireKind(machine, root, path, kind);
    if (found !== null && kind !== "key") requireOwner(withRoot(root, path), found, notes, alsoOwner);
  }
  return [...notes];
}

/**
 * Refuses a path below another root that a link leads out of it: it would be another system that is changed.
 *
 * @throws {Failure}
 */
export async function requireInsideRoot(
  machine: Pick<MachineLooks, "realPath">,
  root: string,
  paths: readonly string[],
): Promise<void> {
  if (root === "/") return;
  const realRoot = await machine.realPath(root) ?? root;
  for (const path of paths) {
    for (let each = path; each !== "/"; each = folderOf(each)) {
      const real = await machine.realPath(withRoot(root, each));
      if (real === null) continue;
      if (!isWithin(real, realRoot)) throw outside(withRoot(root, each), real, root);
      break;
    }
  }
}

interface Memory {
  readonly checked: Set<string>;
  readonly notes: Set<string>;
}

/** The folder and all above it; what is not there is made by root. */
async function requireSoundFolder(
  machine: MachineLooks,
  root: string,
  path: string,
  memory: Memory,
): Promise<void> {
  const full = path === "/" ? root : withRoot(root, path);
  if (memory.checked.has(full)) return;
  memory.checked.add(full);
  if (path !== "/") await requireSoundFolder(machine, root, folderOf(path), memory);
  const link = await machine.stat(full);
  if (link === null) return;
  if (link.isSymlink) {
    const real = await machine.realPath(full);
    if (real === null) throw wrong(full, "a link that leads nowhere", "a folder");
    if (root === "/") return await requireSoundFolder(machine, root, real, memory);
    // Inside of the tree it would lead to another place than from here.
    throw outside(full, real, root);
  }
  if (!link.isDirectory) throw wrong(full, kindOf(link), "a folder");
  requireOwner(full, link, memory.notes);
}

async function requireKind(
  machine: MachineLooks,
  root: string,
  path: string,
  kind: Place["kind"],
): Promise<Deno.FileInfo | null> {
  const full = withRoot(root, path);
  const found = await machine.stat(full);
  if (found === null) return null;
  const isFolder = kind === "folder";
  const accepted = isFolder ? "a folder, or nothing" : "a file, or nothing";
  if (found.isSymlink && root !== "/") throw outside(full, await machine.realPath(full) ?? "nowhere", root);
  const real = found.isSymlink ? await machine.follow(full) : found;
  if (real === null) throw wrong(full, "a link that leads nowhere", accepted);
  if (isFolder ? !real.isDirectory : !real.isFile) {
    throw wrong(full, found.isSymlink ? `a link to ${kindOf(real)}` : kindOf(real), accepted);
  }
  return real;
}

function requireOwner(path: string, info: Deno.FileInfo, notes: Set<string>, alsoOwner?: number): void {
  const { uid, gid } = info;
  const mode = (info.mode ?? 0) & PERMISSION_BITS;
  const shown = mode.toString(8).padStart(4, "0");
  if (uid !== 0 && uid !== alsoOwner) throw foreign(path, `owned by uid ${uid}`);
  // Also in a sticky folder: whoever is first there with a name has it.
  if ((mode & WRITABLE_BY_ALL) !== 0) throw foreign(path, `mode ${shown}`);
  if ((mode & WRITABLE_BY_GROUP) === 0 || gid === 0) return;
  if (!info.isDirectory || !isWithin(path, LOCAL_DIR)) throw foreign(path, `mode ${shown} and group ${gid}`);
  notes.add(`whoever is in group ${gid} may write ${path} (mode ${shown}), and so decides what root runs`);
}

function foreign(path: string, found: string): Failure {
  return new Failure(
    `cannot set up a server: ${path} is ${found}, accepted is owner root and nobody else may write it`,
    { hint: `see what is in it, then: chown root:root ${path} && chmod go-w ${path}` },
  );
}

function wrong(path: string, found: string, accepted: string): Failure {
  return new Failure(`cannot set up a server: ${path} is ${found}, accepted is ${accepted}`, {
    hint: `see what it is for: ls -ld ${path}`,
  });
}

function outside(path: string, real: string, root: string): Failure {
  return new Failure(
    `cannot set up the system below ${root}: ${path} is a link, and leads to ${real}; accepted are folders and files`,
    { hint: "what a link leads to may be another system: chroot into it and run this there" },
  );
}

function kindOf(info: Deno.FileInfo): string {
  if (info.isDirectory) return "a folder";
  if (info.isFile) return "a file";
  if (info.isFifo) return "a pipe";
  if (info.isSocket) return "a socket";
  return "a device";
}

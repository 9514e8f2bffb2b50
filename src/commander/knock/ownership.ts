/** Who may write the files that decide what root runs. */
import { Failure } from "../../system/failure.ts";
import { hasPermission } from "../../system/permissions.ts";
import { askShell } from "./shell.ts";

/** Owner and permission bits of a file or folder. */
export interface Ownership {
  readonly uid: number;
  /** The twelve permission bits, sticky included. */
  readonly mode: number;
}

const ROOT_UID = 0;
const WRITABLE_BY_OTHERS = 0o022;
const STICKY = 0o1000;
const PERMISSION_BITS = 0o7777;

/** The user this process runs as. */
export async function ownUid(): Promise<number> {
  if (hasPermission({ name: "sys", kind: "uid" })) return Deno.uid() ?? ROOT_UID;
  return Number(await askShell("id -u"));
}

export function ownershipOf(info: Deno.FileInfo): Ownership {
  return { uid: info.uid ?? ROOT_UID, mode: (info.mode ?? 0) & PERMISSION_BITS };
}

/** Owner and mode of a folder that the runtime may not let us look at: through the shell, symlinks followed. */
export async function folderOwnership(path: string): Promise<Ownership> {
  const [uid, mode] = (await askShell('stat -L -c "%u %a" -- "$1"', path)).split(" ");
  return { uid: Number(uid), mode: parseInt(mode ?? "", 8) };
}

/**
 * Says in words who else than root and `self` may write, or null if nobody may. In a sticky folder nobody can replace
 * another's files, so with `stickyIsFine` its write bits do not count.
 */
export function foreignWriter(
  ownership: Ownership,
  self: number,
  options: { stickyIsFine?: boolean } = {},
): string | null {
  if (ownership.uid !== ROOT_UID && ownership.uid !== self) return `owned by uid ${ownership.uid}`;
  if (options.stickyIsFine === true && (ownership.mode & STICKY) !== 0) return null;
  if ((ownership.mode & WRITABLE_BY_OTHERS) !== 0) {
    return `mode ${ownership.mode.toString(8).padStart(4, "0")}`;
  }
  return null;
}

/**
 * Refuses a file or folder that somebody else than root and `self` may write.
 *
 * @throws {Failure} naming `path` and the command that helps
 */
export function requireOwnWriters(
  path: string,
  ownership: Ownership,
  self: number,
  options: { stickyIsFine?: boolean } = {},
): void {
  const found = foreignWriter(ownership, self, options);
  if (found === null) return;
  const owner = self === ROOT_UID ? "root" : `root or uid ${self}`;
  throw new Failure(
    `could not trust ${path}: found ${found}, accepted is owner ${owner} and nobody else may write it`,
    { hint: `chown ${self === ROOT_UID ? "root" : self} ${path} && chmod go-w ${path}` },
  );
}

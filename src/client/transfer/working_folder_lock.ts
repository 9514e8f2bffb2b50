/** How a working folder is made, and held by one process. */
import { TransferError } from "../../protocol/transfer/errors.ts";
import { joinPath } from "../../system/path.ts";
import { storageError } from "./file_sink_errors.ts";

/** Of the working folder. */
export const PRIVATE_FOLDER_MODE = 0o700;
const PRIVATE_MODE = 0o600;
/** Of the file that tells whose folder it is; it is there for a moment. */
const OWNER_PREFIX = "owner-";
const RANDOM_BYTES = 8;

/** @returns whether it was not there; a symbolic link in its place is refused */
export async function makeFolder(path: string): Promise<boolean> {
  try {
    await Deno.mkdir(path, { mode: PRIVATE_FOLDER_MODE });
    return true;
  } catch (error) {
    if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
    const stat = await lstatOrNull(path);
    if (stat !== null && !stat.isDirectory) {
      throw new TransferError("storage", `cannot work in ${path}: it is no folder`);
    }
    return false;
  }
}

/**
 * Refuses a folder that another user has put into the place of ours. Where others can write into the target folder, the
 * name of an interrupted transfer is no secret; and its lock could be a link, by which we would make a file elsewhere.
 * Who we are is told, without a permission, by what we make in it.
 *
 * @returns false if the folder is not there any more
 * @throws {TransferError} `storage`
 */
export async function requireOwnFolder(path: string): Promise<boolean> {
  const probe = joinPath(path, OWNER_PREFIX + crypto.getRandomValues(new Uint8Array(RANDOM_BYTES)).toHex());
  try {
    (await Deno.open(probe, { write: true, createNew: true, mode: PRIVATE_MODE })).close();
    const [folder, made] = [await Deno.lstat(path), await Deno.lstat(probe)];
    await Deno.remove(probe);
    if (folder.uid === made.uid) return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw storageError("work in", path, error);
  }
  throw new TransferError("storage", `cannot work in ${path}: it belongs to another user`);
}

/**
 * @returns null if the folder, or the lock in it, is not there any more
 * @throws {TransferError} `storage` if another process holds it
 */
export async function lockIn(folder: string, name: string): Promise<Deno.FsFile | null> {
  const path = joinPath(folder, name);
  let file: Deno.FsFile;
  try {
    file = await Deno.open(path, { read: true, write: true, create: true, mode: PRIVATE_MODE });
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw storageError("open", path, error);
  }
  try {
    if (!(await file.tryLock(true))) {
      throw new TransferError(
        "storage",
        `cannot work in ${folder}: another process receives into it, accepted is one at a time`,
      );
    }
    const [held, there] = [await file.stat(), await lstatOrNull(path)];
    if (there !== null && there.isFile && there.ino === held.ino && there.dev === held.dev) return file;
  } catch (error) {
    file.close();
    throw storageError("lock", path, error);
  }
  file.close();
  return null;
}

export async function lstatOrNull(path: string): Promise<Deno.FileInfo | null> {
  try {
    return await Deno.lstat(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}

/** How a working folder is made, and held by one process. */
import { TransferError } from "../../protocol/transfer/errors.ts";
import { joinPath } from "../../system/path.ts";
import { storageError } from "./file_sink_errors.ts";

/** Of the working folder. */
export const PRIVATE_FOLDER_MODE = 0o700;
const PRIVATE_MODE = 0o600;

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

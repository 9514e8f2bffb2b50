/**
 * Files that must survive a crash at any moment: whoever reads such a file finds the whole old content or the whole
 * new one, and after a successful write a power cut brings back the new one.
 *
 *   create .NAME.<random>.tmp (O_EXCL) -> write all -> fsync -> rename over NAME -> fsync of the folder
 *
 * A process that alone writes a file, by a lock it holds, uses .NAME.tmp instead: one name that a permission can be
 * given for, where a random one takes the permission to write the whole folder.
 *
 * The fsync before the rename is what keeps an empty file from appearing under the final name after a power cut; the
 * fsync of the folder is what makes the rename itself survive it.
 */
import { Failure } from "./failure.ts";
import {
  type FileLayer,
  type FileLayerSync,
  type OpenFile,
  systemFiles,
  systemFilesSync,
} from "./file_layer.ts";
import { folderOf, joinPath, nameOf } from "./path.ts";

export {
  type FileLayer,
  type FileLayerSync,
  type OpenFile,
  type OpenFileSync,
  systemFiles,
  systemFilesSync,
} from "./file_layer.ts";

/** Mode of a file nobody else needs to read. */
export const PRIVATE_MODE = 0o600;
const TEMPORARY_RANDOM_BYTES = 8;

export interface WriteOptions {
  /** Exact mode of the file, whatever the umask. @default 0o600 */
  mode?: number;
  /**
   * Nobody else writes this file, because a lock that the caller holds keeps them away: the temporary file is then
   * `temporaryPathOf(path)`, and what a killed predecessor left there is removed.
   *
   * @default false
   */
  soleWriter?: boolean;
  /** @default systemFiles */
  files?: FileLayer;
}

/**
 * Replaces (or creates) the file at `path` by `bytes`, atomically and durably.
 *
 * @throws {Failure} naming `path`. The old content is untouched unless the very last step, the fsync of the folder,
 * failed: then the new content is in place but may not survive a power cut, so the caller must not rely on it.
 */
export async function writeFileDurably(
  path: string,
  bytes: Uint8Array,
  options: WriteOptions = {},
): Promise<void> {
  await replace(path, bytes, options, true);
}

/**
 * Replaces the file at `path` atomically but without any fsync: for content that is rewritten all the time and worth
 * nothing after a crash.
 *
 * @throws {Failure} naming `path`; the old content is untouched
 */
export async function replaceFile(
  path: string,
  bytes: Uint8Array,
  options: WriteOptions = {},
): Promise<void> {
  await replace(path, bytes, options, false);
}

async function replace(
  path: string,
  bytes: Uint8Array,
  options: WriteOptions,
  durable: boolean,
): Promise<void> {
  const { files = systemFiles, mode = PRIVATE_MODE, soleWriter = false } = options;
  const temporary = soleWriter ? temporaryPathOf(path) : randomTemporaryPath(path);
  let leftover = false;
  try {
    const file = soleWriter
      ? await createInPlaceOfLeftover(temporary, mode, files)
      : await files.createNew(temporary, mode);
    leftover = true;
    try {
      for (let offset = 0; offset < bytes.length;) {
        offset += checkedCount(await file.write(bytes.subarray(offset)));
      }
      if (durable) await file.sync();
    } finally {
      file.close();
    }
    await files.rename(temporary, path);
    leftover = false;
    if (durable) await files.syncFolder(folderOf(path));
  } catch (error) {
    if (leftover) await files.remove(temporary).catch(() => {});
    throw writeFailure(path, error);
  }
}

/** `writeFileDurably` without a turn of the event loop, for a program that does nothing else meanwhile. */
export function writeFileDurablySync(
  path: string,
  bytes: Uint8Array,
  options: { mode?: number; files?: FileLayerSync } = {},
): void {
  const files = options.files ?? systemFilesSync;
  const temporary = randomTemporaryPath(path);
  let leftover = false;
  try {
    const file = files.createNew(temporary, options.mode ?? PRIVATE_MODE);
    leftover = true;
    try {
      for (let offset = 0; offset < bytes.length;) {
        offset += checkedCount(file.write(bytes.subarray(offset)));
      }
      file.sync();
    } finally {
      file.close();
    }
    files.rename(temporary, path);
    leftover = false;
    files.syncFolder(folderOf(path));
  } catch (error) {
    if (leftover) removeQuietly(temporary, files);
    throw writeFailure(path, error);
  }
}

/** The temporary file of a sole writer of `path`; beside it, since a rename cannot leave its file system. */
export function temporaryPathOf(path: string): string {
  return joinPath(folderOf(path), `.${nameOf(path)}.tmp`);
}

/**
 * What lies there is removed, never opened: still O_EXCL, so that a link planted in between is refused and not
 * written through.
 */
async function createInPlaceOfLeftover(path: string, mode: number, files: FileLayer): Promise<OpenFile> {
  try {
    return await files.createNew(path, mode);
  } catch (error) {
    if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
    await files.remove(path);
    return await files.createNew(path, mode);
  }
}

function randomTemporaryPath(path: string): string {
  const random = crypto.getRandomValues(new Uint8Array(TEMPORARY_RANDOM_BYTES));
  return `${folderOf(path)}/.${nameOf(path)}.${random.toHex()}.tmp`;
}

function checkedCount(written: number): number {
  // write(2) may report no progress without an error; looping on it would never end.
  if (written <= 0) throw new Error("the file system accepted no more bytes");
  return written;
}

function removeQuietly(path: string, files: FileLayerSync): void {
  try {
    files.remove(path);
  } catch {
    // The first failure is the one worth reporting.
  }
}

function writeFailure(path: string, cause: unknown): Failure {
  return new Failure(`could not write ${path}`, { cause });
}

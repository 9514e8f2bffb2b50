/**
 * Files that must survive a crash at any moment: whoever reads such a file finds the whole old content or the whole
 * new one, and after a successful write a power cut brings back the new one.
 *
 *   create .NAME.<random>.tmp (O_EXCL) -> write all -> fsync -> rename over NAME -> fsync of the folder
 *
 * The fsync before the rename is what keeps an empty file from appearing under the final name after a power cut; the
 * fsync of the folder is what makes the rename itself survive it.
 */
import { Failure } from "./failure.ts";

/** One file opened for writing. */
export interface OpenFile {
  /** Writes some of `bytes` and returns how many. */
  write(bytes: Uint8Array): Promise<number>;
  sync(): Promise<void>;
  close(): void;
}

/** The file system as this module sees it: a seam through which tests make each single step fail. */
export interface FileLayer {
  /** Creates a file that must not exist (O_EXCL: a planted symlink is refused) with exactly the given mode. */
  createNew(path: string, mode: number): Promise<OpenFile>;
  rename(from: string, to: string): Promise<void>;
  /** Makes creations and renames in a folder durable. */
  syncFolder(path: string): Promise<void>;
  remove(path: string): Promise<void>;
  readFile(path: string): Promise<Uint8Array>;
}

/** `OpenFile` for `writeFileDurablySync`. */
export interface OpenFileSync {
  write(bytes: Uint8Array): number;
  sync(): void;
  close(): void;
}

/** `FileLayer` for `writeFileDurablySync`. */
export interface FileLayerSync {
  createNew(path: string, mode: number): OpenFileSync;
  rename(from: string, to: string): void;
  syncFolder(path: string): void;
  remove(path: string): void;
}

/** Mode of a file nobody else needs to read. */
export const PRIVATE_MODE = 0o600;
const OTHERS_BITS = 0o077;
const TEMPORARY_RANDOM_BYTES = 8;

// Windows has no handle on a folder that could be flushed, and no modes.
const isWindows = Deno.build.os === "windows";

export const systemFiles: FileLayer = {
  async createNew(path: string, mode: number): Promise<OpenFile> {
    const file = await Deno.open(path, { write: true, createNew: true, mode });
    try {
      // The umask may have taken bits away that the readers of this file need.
      if ((mode & OTHERS_BITS) !== 0 && !isWindows) await Deno.chmod(path, mode);
    } catch (error) {
      file.close();
      await Deno.remove(path);
      throw error;
    }
    return file;
  },
  rename: (from: string, to: string): Promise<void> => Deno.rename(from, to),
  async syncFolder(path: string): Promise<void> {
    if (isWindows) return;
    using folder = await Deno.open(path, { read: true });
    await folder.sync();
  },
  remove: (path: string): Promise<void> => Deno.remove(path),
  readFile: (path: string): Promise<Uint8Array> => Deno.readFile(path),
};

export const systemFilesSync: FileLayerSync = {
  createNew(path: string, mode: number): OpenFileSync {
    const file = Deno.openSync(path, { write: true, createNew: true, mode });
    try {
      if ((mode & OTHERS_BITS) !== 0 && !isWindows) Deno.chmodSync(path, mode);
    } catch (error) {
      file.close();
      Deno.removeSync(path);
      throw error;
    }
    return {
      write: (bytes: Uint8Array): number => file.writeSync(bytes),
      sync: (): void => file.syncSync(),
      close: (): void => file.close(),
    };
  },
  rename: (from: string, to: string): void => Deno.renameSync(from, to),
  syncFolder(path: string): void {
    if (isWindows) return;
    using folder = Deno.openSync(path, { read: true });
    folder.syncSync();
  },
  remove: (path: string): void => Deno.removeSync(path),
};

export interface WriteOptions {
  /** Exact mode of the file, whatever the umask. @default 0o600 */
  mode?: number;
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
  const files = options.files ?? systemFiles;
  await replace(path, bytes, options.mode ?? PRIVATE_MODE, files, true);
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
  const files = options.files ?? systemFiles;
  await replace(path, bytes, options.mode ?? PRIVATE_MODE, files, false);
}

async function replace(
  path: string,
  bytes: Uint8Array,
  mode: number,
  files: FileLayer,
  durable: boolean,
): Promise<void> {
  const temporary = temporaryPath(path);
  let leftover = false;
  try {
    const file = await files.createNew(temporary, mode);
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
  const temporary = temporaryPath(path);
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

/**
 * Removes the temporary files that earlier writers of `path` left behind when they were killed half-way. Only for
 * the holder of the lock that guards `path`: it would take away the file of a writer that is at work.
 */
export async function removeStaleTemporaries(path: string): Promise<void> {
  const folder = folderOf(path);
  const prefix = `.${nameOf(path)}.`;
  for await (const entry of Deno.readDir(folder)) {
    if (entry.isFile && entry.name.startsWith(prefix) && entry.name.endsWith(".tmp")) {
      await Deno.remove(`${folder}/${entry.name}`).catch(() => {});
    }
  }
}

/** The folder part of `path`; `.` when it has none. */
export function folderOf(path: string): string {
  const slash = path.lastIndexOf("/");
  if (slash === -1) return ".";
  return slash === 0 ? "/" : path.slice(0, slash);
}

function nameOf(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

function temporaryPath(path: string): string {
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

/**
 * How finished files come to their places below the target folder, without ever taking the place of anything:
 *
 *   each folder on the way: lstat; a link is refused, what is missing is made
 *   link(2) the data file to its place, which fails if anything is there; the data file's own name goes later
 *
 * Where the file system has no links, the place is reserved by an empty file (O_EXCL), over which the data file is
 * renamed. With `overwrite` it is renamed over the file that is there, and over nothing else.
 *
 * The look at the way and what then uses it are two calls: whoever can write into the target folder and is quick can
 * turn a folder into a link between the two. The system calls that would close that gap are not to be had here; so it is
 * all synchronous, and every folder is looked at again for every file.
 */
import { TransferError } from "../../protocol/transfer/errors.ts";
import { systemFiles } from "../../system/durable_file.ts";
import { folderOf, joinPath } from "../../system/path.ts";
import { storageError, storing, systemCode } from "./file_sink_errors.ts";

/** Of a reserved place, until the file comes. */
const PRIVATE_MODE = 0o600;
/** Of links, by which nobody can tell that there are none: these are the answer to the place, not to the linking. */
const PLACE_CODES = new Set(["EEXIST", "ENOENT", "ENOSPC", "EDQUOT", "EROFS", "ENAMETOOLONG", "EXDEV"]);
/** As many fsyncs are under way at once. */
export const SYNCS_AT_ONCE = 32;

/** How files are put into place. */
export interface PlacingOptions {
  /** Whether files that are there are replaced. */
  readonly overwrite: boolean;
  /** Makes a hard link; a seam for tests. @default Deno.linkSync */
  readonly link?: ((from: string, to: string) => void) | undefined;
}

/** Puts files and folders into their places below one target folder. Names are those of `targetPath`. */
export class Placing {
  readonly #target: string;
  readonly #overwrite: boolean;
  readonly #link: (from: string, to: string) => void;
  #hasLinks = true;
  /** Folders in which something was made that is not durable yet. */
  readonly #touched = new Set<string>();

  /** Makes one for a target folder, which is there. */
  constructor(target: string, options: PlacingOptions) {
    this.#target = target;
    this.#overwrite = options.overwrite;
    this.#link = options.link ?? Deno.linkSync;
  }

  /** Whether a file may come to its place by a rename, which must then be written down before. */
  get renames(): boolean {
    return this.#overwrite || !this.#hasLinks;
  }

  /** Where these names lead. */
  pathOf(names: readonly string[]): string {
    return joinPath(this.#target, ...names);
  }

  /**
   * Makes a folder, and those on the way; one that is there already is as good.
   *
   * @throws {TransferError} `exists` if a link or a file is there, `path`, `storage`, `space`
   */
  makeFolder(names: readonly string[]): void {
    for (let count = 1; count <= names.length; count++) this.#makeOne(this.pathOf(names.slice(0, count)));
  }

  /**
   * Puts a data file into its place.
   *
   * @param isReserved whether an empty file that is there may be the place that was reserved for it before a crash
   * @returns false if the file system has no links: nothing was done, and `renames` is true from now on
   * @throws {TransferError} `exists`, `path`, `storage`, `space`
   */
  put(dataPath: string, names: readonly string[], isReserved: boolean): boolean {
    this.makeFolder(names.slice(0, -1));
    const path = this.pathOf(names);
    const there = lookAt(path);
    refuseLink(path, there);
    if (there !== null) this.#replace(dataPath, path, there, isReserved);
    else if (!this.#hasLinks) this.#reserveAndRename(dataPath, path);
    else if (!this.#linkTo(dataPath, path)) return false;
    this.#touched.add(folderOf(path));
    return true;
  }

  /**
   * Makes durable what was put into place.
   *
   * @throws {TransferError} `storage`, `space`
   */
  async sync(): Promise<void> {
    const folders = [...this.#touched];
    this.#touched.clear();
    await inGroups(folders, (path) => storing("write", path, () => systemFiles.syncFolder(path)));
  }

  #makeOne(path: string): void {
    let there = lookAt(path);
    if (there === null) {
      try {
        Deno.mkdirSync(path);
        this.#touched.add(folderOf(path));
      } catch (error) {
        if (!(error instanceof Deno.errors.AlreadyExists)) throw storageError("make", path, error);
      }
      there = lookAt(path);
    }
    refuseLink(path, there);
    if (there?.isDirectory === true) return;
    throw new TransferError("exists", `cannot make the folder ${path}: a file is there`);
  }

  #replace(dataPath: string, path: string, there: Deno.FileInfo, isReserved: boolean): void {
    const isOurPlace = isReserved && there.isFile && there.size === 0;
    if (!there.isFile || (!this.#overwrite && !isOurPlace)) throw alreadyThere(path);
    rename(dataPath, path);
  }

  /** @returns false if it has no links */
  #linkTo(dataPath: string, path: string): boolean {
    try {
      this.#link(dataPath, path);
      return true;
    } catch (error) {
      if (error instanceof Deno.errors.AlreadyExists) throw alreadyThere(path);
      if (PLACE_CODES.has(systemCode(error)) || error instanceof Deno.errors.NotCapable) {
        throw storageError("write", path, error);
      }
      this.#hasLinks = false;
      return false;
    }
  }

  #reserveAndRename(dataPath: string, path: string): void {
    try {
      Deno.openSync(path, { write: true, createNew: true, mode: PRIVATE_MODE }).close();
    } catch (error) {
      if (error instanceof Deno.errors.AlreadyExists) throw alreadyThere(path);
      throw storageError("write", path, error);
    }
    rename(dataPath, path);
  }
}

/** What is there, without following a link; null if nothing is. */
export function lookAt(path: string): Deno.FileInfo | null {
  try {
    return Deno.lstatSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) return null;
    throw storageError("look at", path, error);
  }
}

/**
 * Whatever lies behind a link is not in the target folder.
 *
 * @throws {TransferError} `exists`
 */
export function refuseLink(path: string, there: Deno.FileInfo | null): void {
  if (there?.isSymlink !== true) return;
  throw new TransferError(
    "exists",
    `cannot write ${path}: a symbolic link is there, accepted are files and folders`,
  );
}

/** Does the same for many, some of them at once. */
export async function inGroups<T>(all: readonly T[], act: (each: T) => Promise<void>): Promise<void> {
  const left = all.values();
  const workers = Array.from({ length: Math.min(SYNCS_AT_ONCE, all.length) }, async () => {
    for (const each of left) await act(each);
  });
  // All of them are over before any failure is told: nobody is still at a file that the caller gives up.
  const failed = (await Promise.allSettled(workers)).find(({ status }) => status === "rejected");
  if (failed?.status === "rejected") throw failed.reason;
}

function rename(from: string, to: string): void {
  try {
    Deno.renameSync(from, to);
  } catch (error) {
    throw storageError("write", to, error);
  }
}

function alreadyThere(path: string): TransferError {
  return new TransferError(
    "exists",
    `cannot write ${path}: something of that name is there, and is not replaced`,
  );
}

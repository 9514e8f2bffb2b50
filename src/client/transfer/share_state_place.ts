/**
 * Where a share keeps what it needs to go on after a restart, in the state folder:
 *
 *   share-<what>-<n>/   0700   of one share; <what> from what is shared, with whom, through which relay
 *     lock                     held by the process whose share it is
 *     share.json               share_state_record.ts
 *     hashes                   hash_journal.ts
 *     spool                    what came from a stream (spool.ts)
 *
 * The same command finds its folder again. Who shares the same in two processes at once gets two, by their numbers.
 */
import { systemFiles } from "../../system/durable_file.ts";
import type { Clock } from "../../system/clock.ts";
import { joinPath } from "../../system/path.ts";
import { cannotKeepNotice, makeStateFolder } from "./state_folder.ts";

/** By what a share is known again. */
export interface ShareKey {
  /** Absolute paths in their order; for a stream "-" and its name. */
  readonly what: readonly string[];
  /** Empty for none. */
  readonly relay: string;
  /** How many may receive it. */
  readonly receivers: number;
}

/** Name of the file that says what the share has come to. */
export const RECORD_NAME = "share.json";
/** Name of the file with what came from a stream. */
export const SPOOL_NAME = "spool";
const LOCK_NAME = "lock";
const PRIVATE_FOLDER_MODE = 0o700;
const PRIVATE_MODE = 0o600;
const MAX_AGE_MS = 7 * 24 * 3600 * 1000;
const FOLDER_NAME = /^share-([0-9a-f]{16})-([1-9][0-9]{0,3})$/;
const ID_BYTES = 8;
/** How often a folder may be gone by the time that its lock is held. */
const MAX_TRIES = 10;

/** The folder of one share, held by this process; or none, and why. */
export class SharePlace implements Disposable {
  /** Path of the folder; null: nothing outlives this process. */
  readonly path: string | null;
  /** What the user should know about that; null if nothing. */
  readonly notice: string | null;
  readonly #lock: Deno.FsFile | null;
  #isReleased = false;

  private constructor(path: string | null, lock: Deno.FsFile | null, notice: string | null) {
    this.path = path;
    this.#lock = lock;
    this.notice = notice;
  }

  /**
   * Takes the folder of a share, or makes one, and drops those that nobody has come back to for a week, as well as the
   * spools of killed runs. A transfer works without: so this never fails, it only says why there is none.
   *
   * @param folder the state folder; null: there is none that may be used
   */
  static async take(folder: string | null, key: ShareKey, clock: Clock): Promise<SharePlace> {
    if (folder === null) return new SharePlace(null, null, null);
    try {
      await makeStateFolder(folder);
      await dropStale(folder, clock);
      return await SharePlace.#takeIn(folder, await idOf(key));
    } catch (error) {
      return new SharePlace(null, null, cannotKeepNotice(folder, "share", error));
    }
  }

  static async #takeIn(folder: string, id: string): Promise<SharePlace> {
    const found = foldersIn(folder).filter((each) => each.id === id).map(({ number }) => number);
    for (const number of candidates(found)) {
      const path = joinPath(folder, `share-${id}-${number}`);
      const lock = await takeLock(path);
      if (lock === null) continue; // another process shares the same just now
      await systemFiles.syncFolder(folder);
      return new SharePlace(path, lock, null);
    }
    throw new Error("other processes take every folder for it");
  }

  /** Removes everything that is kept, and the folder. What cannot be removed is dropped after a week. */
  remove(): void {
    if (this.path !== null) removeFolder(this.path);
    this[Symbol.dispose]();
  }

  /**
   * Gives the folder back with all that is in it but the spool, which a later run could not use: it has to read the
   * stream again to know that it is the same. Does nothing the second time.
   */
  [Symbol.dispose](): void {
    if (this.#isReleased) return;
    this.#isReleased = true;
    if (this.path !== null) removeQuietly(joinPath(this.path, SPOOL_NAME));
    this.#lock?.close();
  }
}

/** @returns null if another process holds it */
async function takeLock(path: string): Promise<Deno.FsFile | null> {
  for (let tries = 0; tries < MAX_TRIES; tries++) {
    const lock = await openLock(path);
    try {
      if (lock !== null && !(await lock.tryLock(true))) {
        lock.close();
        return null;
      }
      // Whoever held it before may have removed it: then ours is the lock of nothing.
      if (lock !== null && isStillThere(path, await lock.stat())) return lock;
    } catch (error) {
      lock?.close();
      throw error;
    }
    lock?.close();
  }
  throw new Error("other processes take it away again and again");
}

async function openLock(path: string): Promise<Deno.FsFile | null> {
  try {
    await Deno.mkdir(path, { recursive: true, mode: PRIVATE_FOLDER_MODE });
    const lockPath = joinPath(path, LOCK_NAME);
    return await Deno.open(lockPath, { read: true, write: true, create: true, mode: PRIVATE_MODE });
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null; // removed between the two
    throw error;
  }
}

function isStillThere(path: string, opened: Deno.FileInfo): boolean {
  try {
    const { ino, dev } = Deno.lstatSync(joinPath(path, LOCK_NAME));
    return ino === opened.ino && dev === opened.dev;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** Drops what nobody came back to, and what killed runs have left of streams: it may be large, and private. */
async function dropStale(folder: string, clock: Clock): Promise<void> {
  for (const { id, number } of foldersIn(folder)) {
    const path = joinPath(folder, `share-${id}-${number}`);
    const isStale = clock.wallMs() - lastUsedMs(path) > MAX_AGE_MS;
    if (!isStale && !isThere(joinPath(path, SPOOL_NAME))) continue;
    // One that cannot be taken, such as one of a run as root, is no reason to keep nothing of this share.
    using lock = await takeLock(path).catch(() => null);
    if (lock === null) continue;
    if (isStale) removeFolder(path);
    else removeQuietly(joinPath(path, SPOOL_NAME));
  }
}

function isThere(path: string): boolean {
  try {
    Deno.lstatSync(path);
    return true;
  } catch {
    return false;
  }
}

/** When anything in it was written last. */
function lastUsedMs(path: string): number {
  try {
    const paths = [...Deno.readDirSync(path)].map(({ name }) => joinPath(path, name));
    const times = [path, ...paths].map((each) => Deno.lstatSync(each).mtime?.getTime() ?? Infinity);
    return Math.max(...times);
  } catch {
    return Infinity; // somebody removes it just now
  }
}

function removeFolder(path: string): void {
  try {
    const names = [...Deno.readDirSync(path)].map(({ name }) => name).filter((name) => name !== LOCK_NAME);
    // The lock at last, while we hold it: whoever waits for it then sees that it is the lock of nothing.
    for (const name of [...names, LOCK_NAME]) Deno.removeSync(joinPath(path, name));
    Deno.removeSync(path);
  } catch {
    // Another process is there already, or the disk refuses; nothing depends on it.
  }
}

function removeQuietly(path: string): void {
  try {
    Deno.removeSync(path);
  } catch {
    // There is none, as a rule.
  }
}

function foldersIn(folder: string): { readonly id: string; readonly number: number }[] {
  const found: { id: string; number: number }[] = [];
  for (const { name } of Deno.readDirSync(folder)) {
    const [, id, number] = FOLDER_NAME.exec(name) ?? [];
    if (id !== undefined) found.push({ id, number: Number(number) });
  }
  return found;
}

/** First those that are there, as there may be something to go on with; then those that are not. */
function candidates(found: readonly number[]): readonly number[] {
  const others = Array.from({ length: found.length + MAX_TRIES }, (_, at) => at + 1);
  return [...found.toSorted((a, b) => a - b), ...others.filter((number) => !found.includes(number))];
}

async function idOf({ what, relay, receivers }: ShareKey): Promise<string> {
  const text = new TextEncoder().encode(JSON.stringify([what, relay, receivers]));
  return new Uint8Array(await crypto.subtle.digest("SHA-256", text)).subarray(0, ID_BYTES).toHex();
}

/**
 * The folder in which a receiver works, `.postern-<id>` in the target folder, so that what is finished there can be put
 * into its place without being copied:
 *
 *   lock      held by the process that works in it
 *   pairing   by whom it goes on (received_pairing.ts)
 *   chunks    what is there (chunk_list.ts)
 *   data-<n>  what there is of entry n of the offer, until the file is in its place
 *
 * The id comes from the resume secret: no sender can name it, and nobody can be there before.
 */
import { TransferError } from "../../protocol/transfer/errors.ts";
import { workingFolderId } from "../../protocol/transfer/key_schedule.ts";
import { WORKING_FOLDER_PREFIX } from "../../protocol/transfer/name_rules.ts";
import { systemFiles, writeFileDurably } from "../../system/durable_file.ts";
import { joinPath } from "../../system/path.ts";
import { hasPermission } from "../../system/permissions.ts";
import { RECEIVE_INTO, storageError, storing, systemCode } from "./file_sink_errors.ts";
import { endNotPermitted } from "./permitted_end.ts";
import {
  lockIn,
  lstatOrNull,
  makeFolder,
  PRIVATE_FOLDER_MODE,
  requireOwnFolder,
} from "./working_folder_lock.ts";

const LOCK_NAME = "lock";
const PAIRING_NAME = "pairing";
const LIST_NAME = "chunks";
const PROBE_NAME = "mode";
const DATA_PREFIX = "data-";
const OWN_NAME = /^(?:lock|pairing|\.pairing\.tmp|chunks|mode|data-[0-9]+|owner-[0-9a-f]{16})$/;
/** How often a folder may vanish, because the process that worked in it was done, before we give up. */
const MAX_TRIES = 10;
const RANDOM_BYTES = 8;

/** Path of the working folder of a transfer. */
export function workingFolderPath(target: string, resumeSecret: Uint8Array): string {
  return joinPath(target, WORKING_FOLDER_PREFIX + workingFolderId(resumeSecret));
}

/**
 * Sees whether anything can be made in the target folder, or the folder itself if it is missing, and takes it away
 * again: to be asked before a code is spent on what could not be kept.
 *
 * @throws {TransferError} `storage`, `space`
 */
export async function prepareTarget(target: string): Promise<void> {
  const random = crypto.getRandomValues(new Uint8Array(RANDOM_BYTES)).toHex();
  const probe = joinPath(target, `${WORKING_FOLDER_PREFIX}probe-${random}`);
  await storing(RECEIVE_INTO, target, async () => {
    const isNew = await makeTarget(target);
    await Deno.mkdir(probe, { mode: PRIVATE_FOLDER_MODE });
    await Deno.remove(probe);
    if (isNew) await Deno.remove(target).catch(() => {}); // somebody else was quick to use it
  });
}

/** An open working folder, locked for this process. */
export class WorkingFolder {
  /** Path of the folder. */
  readonly path: string;
  /** Whether it was made just now. */
  readonly isNew: boolean;
  readonly #target: string;
  readonly #isTargetNew: boolean;
  readonly #lock: Deno.FsFile;

  private constructor(
    path: string,
    lock: Deno.FsFile,
    made: { readonly target: string; readonly isTargetNew: boolean; readonly isNew: boolean },
  ) {
    this.path = path;
    this.#lock = lock;
    this.#target = made.target;
    this.#isTargetNew = made.isTargetNew;
    this.isNew = made.isNew;
  }

  /**
   * Opens the folder of a transfer, which is made if it is missing, the target folder too.
   *
   * @throws {TransferError} `storage`, also if another process works in it; `space`
   */
  static async open(target: string, resumeSecret: Uint8Array): Promise<WorkingFolder> {
    const path = workingFolderPath(target, resumeSecret);
    const isTargetNew = await storing("make", target, () => makeTarget(target));
    for (let tries = 0; tries < MAX_TRIES; tries++) {
      const isNew = await storing("make", path, () => makeFolder(path));
      if (!isNew && !(await requireOwnFolder(path))) continue;
      const lock = await lockIn(path, LOCK_NAME);
      if (lock === null) continue;
      // The name must outlive a power cut before anything that relies on what is in it.
      if (isNew) await storing("write", target, () => systemFiles.syncFolder(target));
      return new WorkingFolder(path, lock, { target, isTargetNew, isNew });
    }
    throw new TransferError(
      "storage",
      `cannot work in ${path}: other processes take it away again and again`,
    );
  }

  /** The same for a folder that is there; null if it is not. */
  static async openExisting(target: string, resumeSecret: Uint8Array): Promise<WorkingFolder | null> {
    const path = workingFolderPath(target, resumeSecret);
    // What may not be looked at was not made by us either.
    if (!hasPermission({ name: "read", path }) || await lstatOrNull(path) === null) return null;
    return await WorkingFolder.open(target, resumeSecret);
  }

  /**
   * Keeps the pairing, durably; one that is there already stays.
   *
   * @throws {TransferError} `storage`, `space`
   */
  async keepPairing(pairing: Uint8Array): Promise<void> {
    await storing("write", this.path, () => writePairing(this.path, pairing));
  }

  /** Path of the list of chunks. */
  get listPath(): string {
    return joinPath(this.path, LIST_NAME);
  }

  /** Path of the data of an entry. */
  dataPath(file: number): string {
    return joinPath(this.path, DATA_PREFIX + file);
  }

  /**
   * The entries that there is data of.
   *
   * @throws {TransferError} `storage`
   */
  dataFiles(): Set<number> {
    try {
      const names = this.#names().filter((name) => name.startsWith(DATA_PREFIX) && OWN_NAME.test(name));
      return new Set(names.map((name) => Number(name.slice(DATA_PREFIX.length))));
    } catch (error) {
      throw storageError("read", this.path, error);
    }
  }

  /**
   * Takes away the list and all data; the pairing stays.
   *
   * @throws {TransferError} `storage`
   */
  async clear(): Promise<void> {
    await storing("clear", this.path, async () => {
      // The list first: without it, data is nothing that anybody relies on.
      removeIfThere(this.listPath);
      await systemFiles.syncFolder(this.path);
      for (const file of this.dataFiles()) removeIfThere(this.dataPath(file));
    });
  }

  /**
   * What files and folders that this process makes with mode 0777 come to have, which is 0777 without the umask:
   * reading the umask itself takes a permission that nothing else needs.
   *
   * @throws {TransferError} `storage`, `space`
   */
  allowedMode(): number {
    const path = joinPath(this.path, PROBE_NAME);
    try {
      removeIfThere(path);
      Deno.openSync(path, { write: true, createNew: true, mode: 0o777 }).close();
      const { mode } = Deno.lstatSync(path);
      Deno.removeSync(path);
      return (mode ?? 0o777) & 0o777;
    } catch (error) {
      throw storageError("write", path, error);
    }
  }

  /** Makes durable which files are in it. */
  async sync(): Promise<void> {
    await storing("write", this.path, () => systemFiles.syncFolder(this.path));
  }

  /**
   * Takes away what this program put into it, and the folder itself if nothing else is in it; the lock is given back.
   * So is a target folder that was made for it, if nothing came to be in it.
   *
   * @throws {TransferError} `storage`
   */
  remove(): void {
    try {
      for (const name of this.#names()) {
        if (OWN_NAME.test(name) && name !== LOCK_NAME) removeIfThere(joinPath(this.path, name));
      }
      // While we hold it: whoever waits for the lock then sees that his is the lock of nothing.
      removeIfThere(joinPath(this.path, LOCK_NAME));
      Deno.removeSync(this.path);
      if (this.#isTargetNew) Deno.removeSync(this.#target);
    } catch (error) {
      // Something that is not ours is in it, or nothing is there any more.
      if (error instanceof Deno.errors.NotFound || systemCode(error) === "ENOTEMPTY") return;
      throw storageError("remove", this.path, error);
    } finally {
      this.close();
    }
  }

  /** Gives the lock back and leaves everything there. */
  close(): void {
    this.#lock.close();
  }

  #names(): string[] {
    return [...Deno.readDirSync(this.path)].map(({ name }) => name);
  }
}

/**
 * Keeps a pairing in the working folder of its transfer, durably; one that is there already stays. Nothing is kept in a
 * target folder that is not there: whether it is made is still the user's to say.
 *
 * @throws {TransferError} `storage`, `space`
 */
export async function keepPairing(
  target: string,
  resumeSecret: Uint8Array,
  pairing: Uint8Array,
): Promise<void> {
  const path = workingFolderPath(target, resumeSecret);
  await storing("make", path, async () => {
    if (await lstatOrNull(target) === null) return;
    if (await makeFolder(path)) await systemFiles.syncFolder(target);
    await writePairing(path, pairing);
  });
}

async function writePairing(folder: string, pairing: Uint8Array): Promise<void> {
  const path = joinPath(folder, PAIRING_NAME);
  if (await lstatOrNull(path) === null) await writeFileDurably(path, pairing, { soleWriter: true });
}

/** The pairings in all working folders of a target folder: what each file holds, at most `maxBytes` of it. */
export async function keptPairings(target: string, maxBytes: number): Promise<Uint8Array[]> {
  const found: Uint8Array[] = [];
  for (const name of await workingFolderNames(target)) {
    const path = joinPath(target, name, PAIRING_NAME);
    try {
      const stat = await Deno.lstat(path);
      if (stat.isFile && stat.size <= maxBytes) found.push(await Deno.readFile(path));
    } catch {
      // One that cannot be read is none that we wrote, or none for us.
    }
  }
  return found;
}

async function workingFolderNames(target: string): Promise<string[]> {
  try {
    const entries = await Array.fromAsync(Deno.readDir(target));
    return entries.filter(({ name, isDirectory }) => isDirectory && name.startsWith(WORKING_FOLDER_PREFIX))
      .map(({ name }) => name);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw storageError("read", target, error);
  }
}

/**
 * @returns whether it was not there
 * @throws {TransferError} `storage` if a link leads to where nothing may be written
 */
async function makeTarget(target: string): Promise<boolean> {
  const isNew = await lstatOrNull(target) === null;
  await Deno.mkdir(target, { recursive: true });
  const end = endNotPermitted(target, ["read", "write"]);
  if (end === null) return isNew;
  throw new TransferError(
    "storage",
    `cannot receive into ${target}: it leads to ${end}, for which the program lacks the permission: name that folder, ` +
      `or run it with --allow-read=${end} --allow-write=${end}`,
  );
}

function removeIfThere(path: string): void {
  try {
    Deno.removeSync(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

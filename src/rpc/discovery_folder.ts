/**
 * Services in a folder of this user's, one file for each publisher:
 *
 *   MATH@<instance>.json   the record, replaced as a whole at each renewal
 *   MATH@<instance>.alive  empty; the publisher holds a lock on it for as long as it lives
 *
 * The kernel gives the lock back when its holder dies, of whatever. So a reader knows a crash at once and for sure, by
 * trying the lock: no clock is asked, and no process number, which another process may have by now. The lease of the
 * record is left for the publisher that lives but does not run. Locks do not reach to other machines, so the folder
 * must not be one that several machines share.
 */
import { type Discovery, type DiscoveryOptions, discoveryOver } from "../protocol/rpc/discovery/discovery.ts";
import { MAX_RECORD_CHARACTERS } from "../protocol/rpc/discovery/record.ts";
import {
  DiscoveryError,
  type RecordKey,
  type RecordStore,
  type StoredRecord,
} from "../protocol/rpc/discovery/record_store.ts";
import { replaceFile } from "../system/durable_file.ts";
import { describeError } from "../system/failure.ts";
import { acquireLock } from "../system/lock.ts";
import { joinPath } from "../system/path.ts";
import { watchFolder } from "./folder_watch.ts";
import { openPrivateFolder } from "./private_folder.ts";
import { thisProcess } from "./this_process.ts";

/** What may be said about a folder of services. */
export interface FolderDiscoveryOptions extends DiscoveryOptions {
  /**
   * Where the records are: a folder on this machine that is ours alone (0700); made if it is missing.
   *
   * @default $XDG_RUNTIME_DIR/postern/services; where that is not set, $HOME/.local/state/postern/services, on Windows
   * %LOCALAPPDATA%\postern\services
   */
  readonly folder?: string | undefined;
}

/**
 * Discovery between the processes of one user on this machine. Needs read and write on the folder and
 * `--allow-sys=uid`; without `folder` also `--allow-env=XDG_RUNTIME_DIR,HOME`.
 *
 * @throws {DiscoveryError} "store" if no folder is named and the environment names none
 */
export function folderDiscovery(options: FolderDiscoveryOptions = {}): Discovery {
  const folders = options.folder === undefined ? defaultFolders() : [options.folder];
  return discoveryOver(new FolderStore(folders), { owner: thisProcess(), ...options });
}

const RECORD_ENDING = ".json", ALIVE_ENDING = ".alive";
/** Nobody else knows the file whose lock is taken, so it is free at once. */
const LOCK_TIMEOUT_MS = 2_000;
const OWN_FILE = /^\.?(?<name>[A-Za-z0-9][A-Za-z0-9_.-]*)@(?<instance>[0-9a-f]{32})(?<ending>\.[a-z0-9.]+)$/;

/** The folder itself last; those before it must be ours alone too. */
function defaultFolders(): readonly string[] {
  const base = Deno.build.os === "windows"
    ? variable("LOCALAPPDATA")
    // Empty is not set, as the specification of these variables has it.
    : variable("XDG_RUNTIME_DIR") || withSuffix(variable("HOME"), ".local/state");
  if (base === undefined || base === "") {
    throw new DiscoveryError(
      "store",
      "cannot keep services: neither XDG_RUNTIME_DIR nor HOME is set; name a folder in its place",
    );
  }
  const own = joinPath(base, "postern");
  return [own, joinPath(own, "services")];
}

function variable(name: string): string | undefined {
  try {
    return Deno.env.get(name);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotCapable)) throw error;
    const found = `the program may not read the variable ${name}, run it with --allow-env=${name}`;
    throw new DiscoveryError("store", `cannot keep services: ${found}`, { cause: error });
  }
}

function withSuffix(path: string | undefined, suffix: string): string | undefined {
  return path === undefined || path === "" ? undefined : joinPath(path, suffix);
}

/** The folder as a store. */
export class FolderStore implements RecordStore {
  readonly #folders: readonly string[];
  readonly #folder: string;
  /** Locks of the records that were put here, by instance. */
  readonly #held = new Map<string, Disposable>();

  /** The last of the folders holds the records; all of them must be ours alone. */
  constructor(folders: readonly string[]) {
    this.#folders = folders;
    this.#folder = folders.at(-1) ?? ".";
  }

  /** Reads the files of one service. What has no form of ours is passed over. */
  async list(name: string): Promise<readonly StoredRecord[]> {
    await this.#open();
    const found: StoredRecord[] = [];
    for (const [instance, files] of await this.#filesOf(name)) {
      const key = { name, instance };
      const owner = await this.#ownerOf(key);
      const text = await readShort(this.#path(key, RECORD_ENDING));
      if (text !== null) found.push({ ...key, text, owner });
      // What a crash between two steps leaves: a lock or a temporary file without a record.
      else if (owner === "gone") await removeAll(files);
    }
    return found;
  }

  /** Replaces the record's file, mode 0600. The lock is taken before the record appears. */
  async put(key: RecordKey, text: string): Promise<void> {
    await this.#open();
    try {
      await this.#holdAlive(key);
      await replaceFile(this.#path(key, RECORD_ENDING), new TextEncoder().encode(text));
    } catch (error) {
      throw new DiscoveryError("store", `cannot publish "${key.name}": ${describeError(error)}`, {
        cause: error,
      });
    }
  }

  /** Removes what a dead owner left. */
  async remove(key: RecordKey): Promise<void> {
    if (await this.#ownerOf(key) !== "gone") return;
    await this.#removeFiles(key);
  }

  /** Removes our own record, then gives its lock back. */
  async withdraw(key: RecordKey): Promise<void> {
    const held = this.#held.get(key.instance);
    this.#held.delete(key.instance);
    try {
      await this.#removeFiles(key);
    } finally {
      held?.[Symbol.dispose]();
    }
  }

  /** By the kernel's notice; where there is none, every now and then. */
  watch(changed: () => void): () => void {
    return watchFolder(this.#folder, changed);
  }

  async #open(): Promise<void> {
    for (const folder of this.#folders) await openPrivateFolder(folder);
  }

  /** Paths of everything that belongs to each instance of the name. */
  async #filesOf(name: string): Promise<ReadonlyMap<string, readonly string[]>> {
    const files = new Map<string, string[]>();
    try {
      for await (const entry of Deno.readDir(this.#folder)) {
        const parts = OWN_FILE.exec(entry.name)?.groups;
        const instance = parts?.["instance"];
        if (instance === undefined || parts?.["name"] !== name) continue;
        const paths = files.get(instance) ?? [];
        paths.push(joinPath(this.#folder, entry.name));
        files.set(instance, paths);
      }
    } catch (error) {
      throw new DiscoveryError("store", `cannot read services in ${this.#folder}: ${describeError(error)}`, {
        cause: error,
      });
    }
    return files;
  }

  async #ownerOf(key: RecordKey): Promise<"alive" | "gone"> {
    try {
      // Shared, so that any number of readers may try at once and none takes another for the owner.
      using file = await Deno.open(this.#path(key, ALIVE_ENDING));
      return await file.tryLock(false) ? "gone" : "alive";
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return "gone";
      throw new DiscoveryError("store", `cannot look at "${key.name}": ${describeError(error)}`, {
        cause: error,
      });
    }
  }

  /**
   * Makes the lock file elsewhere, takes its lock, and only then gives it its name: under that it is locked from the
   * first moment, or a reader who was woken by the new file would find it free and sweep it away as a leftover.
   */
  async #holdAlive(key: RecordKey): Promise<void> {
    const path = this.#path(key, ALIVE_ENDING);
    const held = this.#held.get(key.instance);
    // A file that was removed keeps its lock, but nobody can try it any more.
    if (held !== undefined && await exists(path)) return;
    this.#held.delete(key.instance);
    held?.[Symbol.dispose]();
    const unnamed = joinPath(this.#folder, `.${key.instance}${ALIVE_ENDING}.tmp`);
    const lock = await acquireLock(unnamed, { timeoutMs: LOCK_TIMEOUT_MS });
    try {
      await Deno.rename(unnamed, path);
    } catch (error) {
      lock[Symbol.dispose]();
      throw error;
    }
    this.#held.set(key.instance, lock);
  }

  #removeFiles(key: RecordKey): Promise<void> {
    // The record first: without its lock a record is that of a crashed service, without a record a lock is nothing.
    return removeAll([this.#path(key, RECORD_ENDING), this.#path(key, ALIVE_ENDING)]);
  }

  #path({ name, instance }: RecordKey, ending: string): string {
    // Neither part can hold a slash or an "@": `serviceName` and `OWN_FILE` saw to it.
    return joinPath(this.#folder, `${name}@${instance}${ending}`);
  }
}

/** Text of a small file; null if it is gone or longer than a record. */
async function readShort(path: string): Promise<string | null> {
  try {
    const { size } = await Deno.stat(path);
    return size > MAX_RECORD_CHARACTERS ? null : await Deno.readTextFile(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw new DiscoveryError("store", `cannot read ${path}: ${describeError(error)}`, { cause: error });
  }
}

async function exists(path: string): Promise<boolean> {
  try {
    await Deno.lstat(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

async function removeAll(paths: readonly string[]): Promise<void> {
  for (const path of paths) {
    try {
      await Deno.remove(path);
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) continue;
      throw new DiscoveryError("store", `cannot remove ${path}: ${describeError(error)}`, { cause: error });
    }
  }
}

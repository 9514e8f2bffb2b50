/**
 * What one run of setup does, in a way that can be taken back: each act is written down in the manifest before it is
 * done, and has its inverse, which is remembered before it is done as well.
 */
import { parseAccounts } from "../commander/knock/accounts.ts";
import { ownershipOf, requireOwnWriters } from "../commander/knock/ownership.ts";
import { describeError, Failure } from "../system/failure.ts";
import { folderOf, nameOf } from "../system/path.ts";
import { MANIFEST_PATH, SERVICE_USER, SETUP_LOCK_PATH, SETUP_STATE_DIR, withRoot } from "./layout.ts";
import type { Machine, Owner, ProgramResult } from "./machine.ts";
import {
  EMPTY_MANIFEST,
  findEntry,
  formatManifest,
  type Manifest,
  type ManifestEntry,
  parseManifest,
  withEntries,
} from "./manifest.ts";

/** A file to be there. Paths are those of the running system; `root` is put before them here. */
export interface PlannedFile {
  readonly path: string;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly mode: number;
  readonly kind: "file" | "config" | "key";
  readonly owner: ManifestEntry["owner"];
}

/** A folder to be there. */
export interface PlannedFolder {
  readonly path: string;
  readonly kind: "folder" | "cache" | "state";
  readonly mode: number;
  readonly owner: ManifestEntry["owner"];
}

/** How a planned file compares with what lies in its place. */
export type FileState = "missing" | "as planned" | "ours, of another version" | "changed" | "not ours";

/** An executable that lies beside its place. */
export interface StagedExecutable {
  readonly temporary: string;
  readonly entry: ManifestEntry;
}

interface Inverse {
  readonly what: string;
  readonly undo: () => Promise<void>;
}

const ROOT: Owner = { uid: 0, gid: 0 };
const FOLDER_MODE = 0o755;
const PRIVATE_FOLDER_MODE = 0o700;
const PERMISSION_BITS = 0o7777;

export class Undertaking {
  readonly machine: Machine;
  readonly root: string;
  #before: Manifest | null;
  #manifest: Manifest;
  #isLocked = false;
  readonly #inverses: Inverse[] = [];
  readonly #signal: AbortSignal | undefined;

  private constructor(machine: Machine, root: string, before: Manifest | null, signal?: AbortSignal) {
    this.machine = machine;
    this.root = root;
    this.#signal = signal;
    this.#before = before;
    this.#manifest = before ?? EMPTY_MANIFEST;
  }

  /**
   * @param signal ends it: nothing more is begun, so that what was done can be taken back
   * @throws {Failure} if there is a manifest that is none of ours
   */
  static async begin(machine: Machine, root: string, signal?: AbortSignal): Promise<Undertaking> {
    return new Undertaking(machine, root, await readManifest(machine, root), signal);
  }

  /** @throws the reason of the signal, if it has come */
  throwIfInterrupted(): void {
    this.#signal?.throwIfAborted();
  }

  /** Whether there is a manifest, as of the start or of the lock. */
  get isListed(): boolean {
    return this.#before !== null;
  }

  get manifest(): Manifest {
    return this.#manifest;
  }

  at(path: string): string {
    return withRoot(this.root, path);
  }

  /** Numbers of an owner, from the tree's own passwd. */
  async owner(owner: ManifestEntry["owner"]): Promise<Owner> {
    if (owner === "root") return ROOT;
    const { users, groups } = await this.accounts();
    const uid = owner === "postern" ? users.get(SERVICE_USER) : ROOT.uid;
    const gid = groups.get(SERVICE_USER);
    if (uid !== undefined && gid !== undefined) return { uid, gid };
    throw new Failure(`could not find user and group ${SERVICE_USER} in ${this.at("/etc/passwd")}`);
  }

  async accounts(): Promise<ReturnType<typeof parseAccounts>> {
    const [passwd, group] = await Promise.all([this.#text("/etc/passwd"), this.#text("/etc/group")]);
    return parseAccounts(passwd, group);
  }

  /** Makes a folder that is not there, and those above it. */
  async makeFolder(folder: PlannedFolder): Promise<void> {
    const { path, kind, mode, owner } = folder;
    if (await this.machine.stat(this.at(path)) !== null) return;
    await this.#makeParents(path);
    const numbers = await this.owner(owner);
    await this.record([folder]);
    await this.machine.makeFolder(this.at(path), mode, numbers);
    // Only now: one that somebody else made meanwhile is not ours to take away.
    // The services' own folders may have been filled by a start that is taken back with them.
    this.onUndo(
      `folder ${path}`,
      () => kind === "folder" ? this.machine.remove(this.at(path)) : this.machine.removeTree(this.at(path)),
    );
  }

  async #makeParents(path: string): Promise<void> {
    for (const parent of await this.#missingFolders(folderOf(path))) {
      await this.makeFolder({ path: parent, kind: "folder", mode: FOLDER_MODE, owner: "root" });
    }
  }

  async stateOf(file: PlannedFile): Promise<FileState> {
    const found = await this.machine.read(this.at(file.path));
    return compare(
      found === null ? null : await sha256(found),
      await sha256(file.bytes),
      findEntry(this.#manifest, file.path),
    );
  }

  /** Makes a file, or brings one that setup wrote and nobody changed up to date. */
  async writeFile(file: PlannedFile): Promise<void> {
    await this.#makeParents(file.path);
    const { path, mode, kind, owner } = file;
    const old = await this.machine.read(this.at(path));
    const hash = await sha256(file.bytes);
    await this.record([{
      path,
      kind,
      sha256: hash,
      ...(old === null ? {} : { replaces: await sha256(old) }),
      mode,
      owner,
    }]);
    const numbers = await this.owner(owner);
    const before = await this.machine.stat(this.at(path));
    this.onUndo(`file ${path}`, async () => {
      if (old === null) await this.removeFile(path);
      else {
        const { uid, gid } = before ?? {};
        await this.machine.writeFile(this.at(path), old, (before?.mode ?? mode) & PERMISSION_BITS, {
          uid: uid ?? numbers.uid,
          gid: gid ?? numbers.gid,
        });
      }
    });
    await this.machine.writeFile(this.at(path), file.bytes, mode, numbers);
  }

  /** Removes a file and what a writer of it left that was killed half-way. */
  async removeFile(path: string): Promise<void> {
    await this.machine.remove(this.at(path));
    await removeTemporaries(this.machine, this.at(path));
  }

  /**
   * Makes an executable beside its place: `make` writes it to the path it is given. Nothing that is in use changes.
   * What it will be nobody knows before it is made; what a crash leaves of it has a name of its own.
   */
  async stageExecutable(
    entry: ManifestEntry,
    make: (temporary: string) => Promise<void>,
  ): Promise<StagedExecutable> {
    const { path } = entry;
    await this.#makeParents(path);
    const target = this.at(path);
    const temporary = `${folderOf(target)}/.${nameOf(target)}.new.tmp`;
    const replaces = findEntry(this.#manifest, path)?.sha256;
    const { sha256: _none, ...unknown } = entry;
    const expected = replaces === undefined ? {} : { replaces };
    await this.record([{ ...unknown, ...expected }]);
    this.onUndo(`new executable for ${path}`, () => this.machine.remove(temporary));
    await make(temporary);
    return { temporary, entry: { ...entry, sha256: await this.machine.sha256(temporary), ...expected } };
  }

  /** Puts it in its place. One that is there is kept aside until this run has ended well. */
  async placeExecutable({ temporary, entry }: StagedExecutable): Promise<void> {
    const { path } = entry;
    const target = this.at(path);
    const aside = `${folderOf(target)}/.${nameOf(target)}.old.tmp`;
    await this.record([entry]);
    const isThere = await this.machine.stat(target) !== null;
    // One that a crash left would be taken for this run's.
    await this.machine.remove(aside);
    this.onUndo(`executable ${path}`, async () => {
      if (isThere && await this.machine.stat(aside) !== null) {
        await this.machine.rename(aside, target);
        // Two names of one file stay two: rename(2) does nothing then.
        await this.machine.remove(aside);
      } else if (!isThere) await this.machine.remove(target);
    });
    if (isThere) await this.machine.link(target, aside);
    await this.machine.rename(temporary, target);
  }

  /** Runs a program that must succeed; its inverse is remembered first. */
  async run(
    what: string,
    program: string,
    args: readonly string[],
    undo: (() => Promise<void>) | null,
    env?: Readonly<Record<string, string>>,
  ): Promise<ProgramResult> {
    this.throwIfInterrupted();
    if (undo !== null) this.onUndo(what, undo);
    return succeeded(program, args, await this.machine.run(program, args, env));
  }

  /** Has `undo` run if anything that follows fails. */
  onUndo(what: string, undo: () => Promise<void>): void {
    this.#inverses.push({ what, undo });
  }

  /** The same, but after everything else has been taken back. */
  onUndoLast(what: string, undo: () => Promise<void>): void {
    this.#inverses.unshift({ what, undo });
  }

  /** Writes down what is about to be made. */
  async record(entries: readonly ManifestEntry[]): Promise<void> {
    await this.rewrite((manifest) => withEntries(manifest, entries));
  }

  /** Has these units restarted by this run, or by the next one if this one does not come to it. */
  async mustRestart(units: readonly string[]): Promise<void> {
    const missing = units.filter((unit) => !this.#manifest.restart.includes(unit));
    if (missing.length === 0) return;
    await this.rewrite((manifest) => ({ ...manifest, restart: [...manifest.restart, ...missing] }));
  }

  /** Changes the manifest, durably. */
  async rewrite(change: (manifest: Manifest) => Manifest): Promise<void> {
    if (!this.#isLocked) throw new TypeError("the manifest is changed under the lock only");
    this.throwIfInterrupted();
    const changed = change(this.#manifest);
    await this.#save(changed);
    this.#manifest = changed;
  }

  /**
   * Keeps every other setup, uninstall and update out until the result is disposed of. Before it nothing is changed,
   * but for the folder of the lock itself, which is the one thing that is made unrecorded.
   *
   * @throws {Failure} if one of them is at work
   */
  async lock(): Promise<Disposable> {
    const made: ManifestEntry[] = [];
    for (const path of await this.#missingFolders(SETUP_STATE_DIR)) {
      const mode = path === SETUP_STATE_DIR ? PRIVATE_FOLDER_MODE : FOLDER_MODE;
      try {
        await this.machine.makeFolder(this.at(path), mode, ROOT);
      } catch (error) {
        // Another setup was faster: it is told apart by the lock.
        if (error instanceof Deno.errors.AlreadyExists) continue;
        throw error;
      }
      this.onUndo(`folder ${path}`, () => this.machine.remove(this.at(path)));
      made.push({ path, kind: "folder", mode, owner: "root" });
    }
    const lockPath = this.at(SETUP_LOCK_PATH);
    const isNew = await this.machine.stat(lockPath) === null;
    let lock: Disposable;
    try {
      lock = await this.machine.lock(lockPath);
    } catch (error) {
      // Whoever holds it works in these folders.
      this.#inverses.length = 0;
      for (const { path } of made.toReversed()) {
        if ((await this.machine.list(this.at(path))).length === 0) await this.machine.remove(this.at(path));
      }
      throw error;
    }
    this.#isLocked = true;
    if (isNew) this.onUndo(`file ${SETUP_LOCK_PATH}`, () => this.machine.remove(lockPath));
    // Of a list that somebody was killed over: it is on no list itself.
    await removeTemporaries(this.machine, this.at(MANIFEST_PATH));
    // Read again: until now somebody else may have changed it.
    this.#before = await readManifest(this.machine, this.root);
    if (this.#before === null) this.onUndo(`file ${MANIFEST_PATH}`, () => this.removeFile(MANIFEST_PATH));
    this.#manifest = withEntries(this.#before ?? EMPTY_MANIFEST, made);
    return lock;
  }

  /**
   * Ends well: what was kept aside goes.
   *
   * @returns what could not be removed: no reason to take back what has been proven
   */
  async commit(): Promise<string[]> {
    const left: string[] = [];
    for (const { path, kind } of this.#manifest.entries) {
      if (kind === "folder") continue;
      try {
        await removeTemporaries(this.machine, this.at(path));
      } catch (error) {
        left.push(`an old copy of ${path}: ${describeError(error)}`);
      }
    }
    return left;
  }

  /**
   * Takes back everything, last first; goes on when something cannot be taken back.
   *
   * @returns what was taken back, and what could not be, each with its reason
   */
  async undoAll(): Promise<{ undone: string[]; stuck: string[] }> {
    const undone: string[] = [];
    const stuck: string[] = [];
    for (const { what, undo } of this.#inverses.splice(0).reverse()) {
      try {
        await undo();
        undone.push(what);
      } catch (error) {
        stuck.push(`${what}: ${describeError(error)}`);
      }
    }
    // What is stuck stays on the list, for --uninstall.
    if (stuck.length === 0) {
      try {
        if (this.#before !== null) await this.#save(this.#before);
      } catch (error) {
        stuck.push(`${MANIFEST_PATH}: ${describeError(error)}`);
      }
    }
    return { undone, stuck };
  }

  /** The folder and those above it that are not there, outermost first. */
  async #missingFolders(path: string): Promise<string[]> {
    const missing: string[] = [];
    for (
      let each = path;
      each !== "/" && await this.machine.stat(this.at(each)) === null;
      each = folderOf(each)
    ) {
      missing.unshift(each);
    }
    return missing;
  }

  async #save(manifest: Manifest): Promise<void> {
    const bytes = new TextEncoder().encode(formatManifest(manifest));
    await this.machine.writeFile(this.at(MANIFEST_PATH), bytes, 0o600, ROOT);
  }

  async #text(path: string): Promise<string> {
    const bytes = await this.machine.read(this.at(path));
    return bytes === null ? "" : new TextDecoder().decode(bytes);
  }
}

async function readManifest(machine: Machine, root: string): Promise<Manifest | null> {
  const path = withRoot(root, MANIFEST_PATH);
  // Whoever else could write it would choose what root removes.
  for (const each of [withRoot(root, SETUP_STATE_DIR), path]) {
    const info = await machine.stat(each);
    if (info === null) return null;
    if (info.isSymlink) throw new Failure(`could not trust ${each}: found a link, accepted is none`);
    requireOwnWriters(each, ownershipOf(info), ROOT.uid);
  }
  const bytes = await machine.read(path);
  return bytes === null ? null : parseManifest(path, new TextDecoder().decode(bytes));
}

/** What a planned content, as its hash, is to the content that is there. */
function compare(found: string | null, planned: string, entry: ManifestEntry | undefined): FileState {
  if (found === null) return "missing";
  if (found === planned) return "as planned";
  if (entry === undefined) return "not ours";
  return found === entry.sha256 || found === entry.replaces ? "ours, of another version" : "changed";
}

/** Hex SHA-256. */
export async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
}

/** Removes what writers of `path` left that were killed half-way, whichever of our ways they wrote it. */
export async function removeTemporaries(machine: Machine, path: string): Promise<void> {
  const folder = folderOf(path);
  for (const name of await machine.list(folder)) {
    if (isTemporaryOf(nameOf(path), name)) await machine.remove(`${folder}/${name}`);
  }
}

/** Exactly the names that are given here and in `durable_file.ts`: others may have temporary files there, too. */
function isTemporaryOf(name: string, candidate: string): boolean {
  const marked = /^\.(.+)\.tmp$/.exec(candidate)?.[1];
  if (marked === undefined) return false;
  if ([name, `${name}.new`, `${name}.old`].includes(marked)) return true;
  const written = /^(.+)\.[0-9a-f]{16}$/.exec(marked)?.[1];
  // The second for the temporary file of one that is temporary itself.
  return written === name || written === `.${name}.new.tmp`;
}

/** @throws {Failure} with what the program said, if it failed */
export function succeeded(program: string, args: readonly string[], result: ProgramResult): ProgramResult {
  if (result.code === 0) return result;
  const said = result.stderr.trim().split("\n").slice(-3).join("; ");
  throw new Failure(
    `could not run ${[program, ...args].join(" ")}: it ended with exit code ${result.code}` +
      (said === "" ? "" : `: ${said}`),
  );
}

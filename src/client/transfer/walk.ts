/**
 * The walk: what the paths of a command line become as an offer. A folder comes before what is in it, and what is in it
 * in the order of its names, so that the same files give the same offer.
 *
 * Everything that would stop the transfer later is looked for here, before anybody is told a code: files that cannot
 * be read, names that the other side would refuse.
 */
import { WORKING_FOLDER_PREFIX } from "../../protocol/transfer/name_rules.ts";
import { shownPath } from "../../protocol/transfer/target_path.ts";
import { Failure } from "../../system/failure.ts";
import { FileList, identityOf } from "./file_source_list.ts";
import { type LeftOut, WalkFindings } from "./walk_findings.ts";
import { findRoot, refuseRoot } from "./walk_root.ts";

/** What was found. */
export interface Walk {
  /** In the order of the offer. */
  readonly files: FileList;
  /** What the user should know was left out, a line each. */
  readonly notices: readonly string[];
}

/** What else decides a walk. */
export interface WalkOptions {
  /** Folders that are never sent, wherever they are found: ours, with secrets in them. */
  readonly leaveOut?: readonly string[];
  /** Ends it; its reason is thrown. */
  readonly signal?: AbortSignal;
}

/** After so many entries others get a turn, such as Ctrl-C. */
const ENTRIES_A_TURN = 500;
/** More are a mistake as a rule, such as a whole disk, and would fill the memory of both sides. */
const MAX_ENTRIES = 1_000_000;
const MODE_BITS = 0o777;
const DEFAULT_FILE_MODE = 0o644;
const DEFAULT_FOLDER_MODE = 0o755;

/**
 * Lists files and folders, everything below them included. Links inside of folders are not followed; one that is named
 * itself is.
 *
 * @param paths as typed; relative ones count from the current folder
 * @throws {Failure} naming what cannot be shared, and what to do
 */
export async function walkPaths(paths: readonly string[], options: WalkOptions = {}): Promise<Walk> {
  const walker = new Walker(options);
  for (const path of paths) await walker.walk(path);
  return walker.result();
}

class Walker {
  readonly #options: WalkOptions;
  readonly #files = new FileList();
  readonly #findings = new WalkFindings();
  /** Of folders that are left out. */
  readonly #leftOut: ReadonlySet<string>;
  /** By name, what was typed. */
  readonly #roots = new Map<string, string>();

  constructor(options: WalkOptions) {
    this.#options = options;
    this.#leftOut = new Set(
      (options.leaveOut ?? []).map(statOrNull).filter((each) => each !== null).map(idOf),
    );
  }

  async walk(typed: string): Promise<void> {
    const { root, info } = findRoot(typed);
    if (info.isDirectory && this.#leftOut.has(idOf(info))) throw refuseRoot(typed, "postern works in it");
    this.#requireOwnName(root.name, typed);
    this.#findings.addName("", root.name, 1);
    this.#files.addRoot(root);
    await this.#add(root.path, root.name, info, 1);
  }

  result(): Walk {
    this.#findings.throwIfAny();
    return { files: this.#files, notices: this.#findings.notices() };
  }

  #requireOwnName(name: string, typed: string): void {
    const other = this.#roots.get(name);
    this.#roots.set(name, typed);
    if (other === undefined) return;
    throw new Failure(
      `cannot share ${shownPath(other)} and ${shownPath(typed)} together: both would be ${
        shownPath(name)
      } there`,
      { hint: "share them one after the other, or the folder that both are in" },
    );
  }

  async #add(place: string, path: string, info: Deno.FileInfo, depth: number): Promise<void> {
    if (this.#files.entries.length % ENTRIES_A_TURN === 0) await this.#giveTurn();
    const identity = identityOf(info);
    const { modifiedMs } = identity;
    if (info.isDirectory) {
      const mode = (info.mode ?? DEFAULT_FOLDER_MODE) & MODE_BITS;
      this.#files.add({ kind: "folder", path, sizeBytes: 0, modifiedMs, mode }, {
        ...identity,
        sizeBytes: 0,
      });
      await this.#addInside(place, path, depth);
    } else {
      const mode = (info.mode ?? DEFAULT_FILE_MODE) & MODE_BITS;
      this.#files.add({ kind: "file", path, sizeBytes: info.size, modifiedMs, mode }, identity);
      this.#findings.tryToRead(path, () => tryFile(place, info.size));
    }
  }

  async #addInside(place: string, path: string, depth: number): Promise<void> {
    const names = this.#findings.tryToRead(path, () => [...Deno.readDirSync(place)].map(({ name }) => name));
    // By code units, not by the language of the moment.
    for (const name of (names ?? []).sort()) {
      const inside = `${path}/${name}`;
      const info = this.#look(place, path, name, depth);
      if (info !== null) await this.#add(`${place}/${name}`, inside, info, depth + 1);
    }
    this.#findings.leaveFolder(path);
  }

  /** @returns null for what is not sent */
  #look(place: string, folder: string, name: string, depth: number): Deno.FileInfo | null {
    const path = `${folder}/${name}`;
    const info = this.#findings.tryToRead(path, () => lstatOrNull(`${place}/${name}`));
    if (info === null && name.includes("\ufffd")) this.#findings.addUnspeakable(path);
    if (info === null) return null; // it is gone again, or noted as what it is
    const reason = this.#whyLeftOut(name, info);
    if (reason === null) this.#findings.addName(folder, name, depth + 1);
    else this.#findings.leaveOut(reason, path);
    return reason === null ? info : null;
  }

  #whyLeftOut(name: string, info: Deno.FileInfo): LeftOut | null {
    if (info.isSymlink) return "link";
    if (info.isFile) return null;
    if (!info.isDirectory) return "device";
    return name.startsWith(WORKING_FOLDER_PREFIX) || this.#leftOut.has(idOf(info)) ? "own" : null;
  }

  /** Now and then. */
  async #giveTurn(): Promise<void> {
    if (this.#files.entries.length >= MAX_ENTRIES) {
      throw new Failure(`cannot share more than ${MAX_ENTRIES} files and folders at once`, {
        hint:
          "share parts of it, or one file that holds it: tar -cf - PATH | postern client share - --name NAME.tar --relay HOST:PORT",
      });
    }
    await new Promise((resolve) => setTimeout(resolve, 0));
    this.#options.signal?.throwIfAborted();
  }
}

/** Files of the kernel, such as those of /proc, have no size and something in them: they would be sent as empty ones. */
function tryFile(place: string, sizeBytes: number): void {
  using file = Deno.openSync(place);
  if (sizeBytes > 0 || file.readSync(new Uint8Array(1)) === null) return;
  throw new Error("it has no size, and something in it: only a pipe can tell how much");
}

function idOf({ dev, ino }: Deno.FileInfo): string {
  return `${dev}:${ino}`;
}

function statOrNull(path: string): Deno.FileInfo | null {
  try {
    return Deno.statSync(path);
  } catch {
    return null; // what cannot be looked at cannot be sent either
  }
}

function lstatOrNull(path: string): Deno.FileInfo | null {
  try {
    return Deno.lstatSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}

/** The data files of a working folder: what there is of files that are not in their places yet. */
import { TransferError } from "../../protocol/transfer/errors.ts";
import { CHUNK_BYTES, type OfferEntry } from "../../protocol/transfer/offer.ts";
import type { FileStamp } from "./chunk_list_records.ts";
import { storageError, storing } from "./file_sink_errors.ts";
import { lookAt } from "./placing.ts";
import type { WorkingFolder } from "./working_folder.ts";

const PRIVATE_MODE = 0o600;
/** As many are kept open: chunks come file by file. */
const MAX_OPEN = 8;
/** Less is written at once, which is cheaper than a turn through another thread. */
const SMALL_BYTES = 64 * 1024;
/** What a date can hold, in milliseconds before and after 1970. */
const MAX_TIME_MS = 8_640_000_000_000_000;
/** SHA-256 of a whole chunk of zeros. */
const ZERO_HASH = "30e14955ebf1352266dc2ff8067e68104607e750abb9d3b36582b8af909fcb58";

interface OpenData {
  readonly file: Deno.FsFile;
  /** Where it stands. */
  position: number;
  lengthBytes: number;
}

/** The data files of one transfer. Writes must not overlap; everything else may go on beside them. */
export class DataFiles {
  readonly #folder: WorkingFolder;
  readonly #open = new Map<number, OpenData>();
  /** Those that are there and ours; what else is there was left by a crash before anything relied on it. */
  readonly #known = new Set<number>();
  #allowedMode: number | null = null;

  /** Opens nothing yet. */
  constructor(folder: WorkingFolder) {
    this.#folder = folder;
  }

  /** Where the data of a file is. */
  path(file: number): string {
    return this.#folder.dataPath(file);
  }

  /** What is there of a file's data; null if nothing is. */
  look(file: number): Deno.FileInfo | null {
    return lookAt(this.#folder.dataPath(file));
  }

  /** All files that there is data of. */
  present(): Set<number> {
    return this.#folder.dataFiles();
  }

  /** Says that the list relies on the data of this file, which was looked at: it is gone on with. */
  know(file: number): void {
    this.#known.add(file);
  }

  /**
   * Writes a chunk. A chunk of zeros behind the end leaves a hole, as it may have been at the sender's.
   *
   * @param hash of the bytes
   * @throws {TransferError} `storage`, `space`
   */
  async write(file: number, chunk: number, bytes: Uint8Array, hash: Uint8Array): Promise<void> {
    const path = this.#folder.dataPath(file);
    const offset = chunk * CHUNK_BYTES;
    await storing("write", path, async () => {
      const data = this.#opened(file, path);
      const isHole = offset >= data.lengthBytes && bytes.length === CHUNK_BYTES && hash.toHex() === ZERO_HASH;
      if (isHole) await data.file.truncate(offset + bytes.length);
      else await writeAt(data, offset, bytes);
      data.lengthBytes = Math.max(data.lengthBytes, offset + bytes.length);
    });
  }

  /**
   * Makes durable what was written of a file.
   *
   * @throws {TransferError} `storage`, `space`
   */
  async sync(file: number): Promise<void> {
    const path = this.#folder.dataPath(file);
    await storing("write", path, async () => {
      // By a handle of its own: a handle takes one call at a time, and writing goes on meanwhile.
      using data = await Deno.open(path, { write: true });
      await data.syncData();
    });
  }

  /**
   * Gives the data of a whole file its time and its mode, and makes all of it durable. Empty files are made here.
   *
   * @returns by what the file is known again
   * @throws {TransferError} `storage`, `space`
   */
  async prepare(file: number, entry: OfferEntry): Promise<FileStamp> {
    const path = this.#folder.dataPath(file);
    return await storing("write", path, async () => {
      if (!this.#known.has(file)) this.#opened(file, path);
      this.#close(file);
      using data = openWritable(path);
      const time = timeOf(entry);
      data.utimeSync(time, time);
      setMode(path, this.maskedMode(entry));
      await data.sync();
      const { size, mtime } = data.statSync();
      if (size !== entry.sizeBytes) throw new Error(`it has ${size} bytes instead of ${entry.sizeBytes}`);
      return { sizeBytes: size, modifiedMs: mtime?.getTime() ?? 0 };
    });
  }

  /** What an entry's mode comes to here: no set-user-id and the like, and nothing that the umask takes away. */
  maskedMode(entry: OfferEntry): number {
    this.#allowedMode ??= this.#folder.allowedMode();
    return entry.mode & this.#allowedMode;
  }

  /**
   * Takes a file's data away, or only its name here if the file is in its place by another one.
   *
   * @throws {TransferError} `storage`
   */
  remove(file: number): void {
    this.#close(file);
    this.#known.delete(file);
    const path = this.#folder.dataPath(file);
    try {
      Deno.removeSync(path);
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw storageError("remove", path, error);
    }
  }

  /** Gives all files back. */
  close(): void {
    for (const file of [...this.#open.keys()]) this.#close(file);
  }

  #opened(file: number, path: string): OpenData {
    const open = this.#open.get(file);
    if (open !== undefined) return open;
    for (const [oldest] of this.#open) {
      if (this.#open.size >= MAX_OPEN) this.#close(oldest);
    }
    const data = this.#known.has(file) ? openKnown(path) : createNew(path);
    this.#known.add(file);
    this.#open.set(file, data);
    return data;
  }

  #close(file: number): void {
    this.#open.get(file)?.file.close();
    this.#open.delete(file);
  }
}

/** A file may have got its mode, and no permission to write with it, when an earlier try to put it into place ended. */
function openWritable(path: string): Deno.FsFile {
  try {
    return Deno.openSync(path, { write: true });
  } catch (error) {
    if (!(error instanceof Deno.errors.PermissionDenied)) throw error;
    Deno.chmodSync(path, PRIVATE_MODE);
    return Deno.openSync(path, { write: true });
  }
}

function openKnown(path: string): OpenData {
  const file = Deno.openSync(path, { write: true });
  const { size, ino, dev } = file.statSync();
  const there = lookAt(path);
  // The folder is ours alone; but root may work in the folder of somebody else.
  if (there?.isFile !== true || there.ino !== ino || there.dev !== dev) {
    file.close();
    throw new TransferError("storage", `cannot write ${path}: it is not the file that was made there`);
  }
  return { file, position: 0, lengthBytes: size };
}

function createNew(path: string): OpenData {
  if (lookAt(path) !== null) Deno.removeSync(path);
  const file = Deno.openSync(path, { write: true, createNew: true, mode: PRIVATE_MODE });
  return { file, position: 0, lengthBytes: 0 };
}

async function writeAt(data: OpenData, offset: number, bytes: Uint8Array): Promise<void> {
  if (data.position !== offset) data.file.seekSync(offset, Deno.SeekMode.Start);
  for (let at = 0; at < bytes.length;) {
    const rest = bytes.subarray(at);
    at += rest.length <= SMALL_BYTES ? data.file.writeSync(rest) : await data.file.write(rest);
  }
  data.position = offset + bytes.length;
}

/** Some file systems have no modes, or not all of them; the file is as good without. */
export function setMode(path: string, mode: number): void {
  if (Deno.build.os === "windows") return;
  try {
    Deno.chmodSync(path, mode);
  } catch (error) {
    if (!(error instanceof Deno.errors.PermissionDenied || error instanceof Deno.errors.NotSupported)) {
      throw error;
    }
  }
}

/** When an entry was modified, as near as a date can say. */
export function timeOf({ modifiedMs }: OfferEntry): Date {
  return new Date(Math.min(Math.max(modifiedMs, -MAX_TIME_MS), MAX_TIME_MS));
}

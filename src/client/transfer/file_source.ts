/**
 * The files of a share, as sessions read them.
 *
 * A file is the one that was offered as long as its size, its times and its place on the disk (inode) are those that
 * the walk found. That is looked at on the open file whenever it is opened, so that what is put in its place between
 * the walk and the opening, such as a link to another file, is never sent; and by its name before its hash is sent.
 */
import { TransferError } from "../../protocol/transfer/errors.ts";
import { CHUNK_BYTES, chunkLength, type Offer } from "../../protocol/transfer/offer.ts";
import type { Source } from "../../protocol/transfer/source.ts";
import { shownPath } from "../../protocol/transfer/target_path.ts";
import { type Clock, systemClock } from "../../system/clock.ts";
import { OpenFiles } from "./file_source_handles.ts";
import { differenceOf, type FileList, identityOf } from "./file_source_list.ts";
import type { ChunkHashes } from "./share_state_hashes.ts";
import { systemReason } from "./walk_findings.ts";

/** Several receivers are at different files as a rule. */
const MAX_OPEN_FILES = 8;
/**
 * The time of change has whole seconds: only of a file that was not changed in this second or the one before is it
 * sure that any change from now on shows.
 */
const SETTLED_MS = 2000;

/** The files of a list as a source; several sessions may read at once. */
export class FileSource implements Source, Disposable {
  /** All entries of the list. */
  readonly offer: Offer;
  readonly #files: FileList;
  readonly #hashes: ChunkHashes;
  readonly #clock: Clock;
  readonly #open: OpenFiles;
  #isClosed = false;

  /**
   * Makes one; no file is opened yet.
   *
   * @param hashes known from before, and kept for later
   */
  constructor(files: FileList, hashes: ChunkHashes, clock: Clock = systemClock) {
    this.#files = files;
    this.#hashes = hashes;
    this.#clock = clock;
    this.offer = { kind: "files", entries: files.entries, totalBytes: files.totalBytes };
    this.#open = new OpenFiles(MAX_OPEN_FILES, (file) => this.#opened(file));
  }

  /** Reads one chunk; see `Source.read`. */
  async read(file: number, chunk: number): Promise<Uint8Array<ArrayBuffer>> {
    const { sizeBytes } = this.#files.entry(file);
    const bytes = new Uint8Array(chunkLength(sizeBytes, chunk));
    const length = await this.#explained(
      file,
      () => this.#open.use(file, (handle) => readAt(handle, chunk * CHUNK_BYTES, bytes)),
    );
    if (length < bytes.length) throw this.#changed(file, "it is shorter");
    return bytes;
  }

  /** The hash of a chunk, if an earlier session or an earlier run told it. */
  knownHash(file: number, chunk: number): Uint8Array<ArrayBuffer> | null {
    return this.#hashes.get(file, chunk);
  }

  /** Keeps the hash of a chunk; for a later run too, if no change of the file could go unseen from now on. */
  keepHash(file: number, chunk: number, hash: Uint8Array<ArrayBuffer>): void {
    const { changedMs, modifiedMs } = this.#files.identity(file);
    const isSettled = this.#clock.wallMs() - Math.max(changedMs, modifiedMs) >= SETTLED_MS;
    this.#hashes.keep(file, chunk, hash, isSettled);
  }

  /** Looks at what lies in the file's place; see `Source.verifyUnchanged`. */
  async verifyUnchanged(file: number): Promise<void> {
    await this.#explained(file, () => this.#requireInPlace(file));
    this.#open.release(file); // one session is done with it, and another opens it again
  }

  /** Closes all files; what is still asked for is refused as `cancelled`. Does nothing the second time. */
  close(): void {
    this.#isClosed = true;
    this.#open.close();
  }

  /** The same as `close`. */
  [Symbol.dispose](): void {
    this.close();
  }

  async #requireInPlace(file: number): Promise<void> {
    const { path, followsLink } = this.#files.place(file);
    this.#requireSame(file, await (followsLink ? Deno.stat(path) : Deno.lstat(path)));
  }

  async #opened(file: number): Promise<Deno.FsFile> {
    // A pipe in its place would keep whoever opens it waiting for its other end.
    await this.#requireInPlace(file);
    const handle = await Deno.open(this.#files.place(file).path, { read: true });
    try {
      if (this.#isClosed) {
        throw new TransferError("cancelled", "could not read a file: its source was closed");
      }
      this.#requireSame(file, await handle.stat());
      return handle;
    } catch (error) {
      handle.close();
      throw error;
    }
  }

  #requireSame(file: number, info: Deno.FileInfo): void {
    if (!info.isFile) throw this.#changed(file, "it is no file any more");
    const difference = differenceOf(this.#files.identity(file), identityOf(info));
    if (difference !== null) throw this.#changed(file, `its ${difference}`);
  }

  async #explained<T>(file: number, act: () => Promise<T>): Promise<T> {
    try {
      return await act();
    } catch (error) {
      if (error instanceof TransferError) throw error;
      if (error instanceof Deno.errors.NotFound) throw this.#changed(file, "it is gone", error);
      const shown = shownPath(this.#files.entry(file).path);
      throw new TransferError("storage", `could not read ${shown}: ${systemReason(error)}`, { cause: error });
    }
  }

  #changed(file: number, how: string, cause?: unknown): TransferError {
    const shown = shownPath(this.#files.entry(file).path);
    return new TransferError(
      "changed",
      `could not send ${shown}: it was changed since it was offered: ${how}`,
      {
        cause,
      },
    );
  }
}

/** @returns how many bytes were read; fewer than asked for only where the file ends */
async function readAt(handle: Deno.FsFile, position: number, bytes: Uint8Array): Promise<number> {
  await handle.seek(position, Deno.SeekMode.Start);
  let length = 0;
  while (length < bytes.length) {
    const count = await handle.read(bytes.subarray(length));
    if (count === null) break;
    length += count;
  }
  return length;
}

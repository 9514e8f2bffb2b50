/** One accepted offer of files on its way into the target folder. */
import type { Timers } from "../../protocol/rpc/timers.ts";
import { TransferError } from "../../protocol/transfer/errors.ts";
import { HASH_BYTES } from "../../protocol/transfer/file_hash.ts";
import { chunkCount, type ChunkRange, type Offer, type OfferEntry } from "../../protocol/transfer/offer.ts";
import { targetPath } from "../../protocol/transfer/target_path.ts";
import type { ChunkList } from "./chunk_list.ts";
import { type DataFiles, setMode, timeOf } from "./file_sink_data.ts";
import { storing } from "./file_sink_errors.ts";
import { Keeper } from "./file_sink_keeper.ts";
import type { KeptFiles } from "./file_sink_kept.ts";
import { forEachEntry } from "./file_sink_offer.ts";
import { inGroups, lookAt, type Placing } from "./placing.ts";
import type { WorkingFolder } from "./working_folder.ts";

/** As many chunks wait to be written, a MiB each as a rule; more are not taken. */
const MAX_WAITING_CHUNKS = 2;

/** What it is made of. */
export interface WorkParts {
  readonly offer: Offer;
  readonly folder: WorkingFolder;
  readonly list: ChunkList;
  readonly data: DataFiles;
  readonly kept: KeptFiles;
  /** Numbers of the folders that were there before, which keep their times and modes. */
  readonly found: ReadonlySet<number>;
  readonly placing: Placing;
  readonly timers: Timers;
}

/** The part of a `Sink` that begins when an offer of files is accepted; see there. */
export class FileSinkWork {
  readonly #parts: WorkParts;
  readonly #keeper: Keeper;
  /** The writes that are not over, in order; each settles when it is, and never rejects. */
  readonly #writes: Promise<void>[] = [];
  #lastWrite: Promise<void> = Promise.resolve();
  #isComplete = false;

  /** Goes on with what `parts.kept` has. */
  constructor(parts: WorkParts) {
    this.#parts = parts;
    this.#keeper = new Keeper(parts);
  }

  /** Whether everything is in place. */
  get isComplete(): boolean {
    return this.#isComplete;
  }

  /** Every chunk that is missing. */
  missing(): ChunkRange[] {
    return this.#parts.kept.missing();
  }

  /** See `Sink.write`. */
  async write(
    file: number,
    chunk: number,
    bytes: Uint8Array<ArrayBuffer>,
    hash: Uint8Array<ArrayBuffer>,
  ): Promise<void> {
    this.#keeper.requireWorking();
    this.#parts.kept.of(file).add(chunk, hash);
    this.#lastWrite = this.#lastWrite.then(() => this.#store(file, chunk, bytes, hash));
    this.#writes.push(this.#lastWrite);
    if (this.#writes.length >= MAX_WAITING_CHUNKS) await this.#writes.shift();
    this.#keeper.requireWorking();
  }

  /** See `Sink.chunkHashes`. */
  async chunkHashes(file: number): Promise<Uint8Array<ArrayBuffer>> {
    const { kept, list } = this.#parts;
    const { sizeBytes } = kept.entry(file);
    if (!kept.isPlaced(file)) {
      const begun = kept.of(file);
      if (begun.chunks.isComplete) return begun.allHashes();
      throw new RangeError(`cannot tell the hashes of file ${file}: chunks of it are missing`);
    }
    const hashes = new Uint8Array(chunkCount(sizeBytes) * HASH_BYTES);
    const { first, end } = kept.recordsOf(file);
    await list.read(first, end, (record) => {
      if (record.kind === "chunk" && record.file === file) hashes.set(record.hash, record.chunk * HASH_BYTES);
    });
    return hashes;
  }

  /** See `Sink.finishFile`. Calls for several files may overlap. */
  async finishFile(file: number): Promise<void> {
    const { kept } = this.#parts;
    if (kept.isPlaced(file)) return;
    if (!kept.of(file).chunks.isComplete) {
      throw new RangeError(`cannot put file ${file} into its place: chunks of it are missing`);
    }
    await this.#lastWrite;
    this.#keeper.requireWorking();
    await this.#keeper.place(file);
  }

  /** See `Sink.forgetFile`. */
  async forgetFile(file: number): Promise<void> {
    await this.#lastWrite;
    await this.#keeper.forget(file);
  }

  /** See `Sink.finish`. */
  async finish(): Promise<void> {
    if (this.#isComplete) return;
    if (!this.#parts.kept.areAllPlaced) throw new RangeError("cannot finish: files are not in their places");
    await this.#makeFolders();
    this.#isComplete = true;
  }

  /** See `Sink.flush`. */
  async flush(): Promise<void> {
    await this.#lastWrite;
    await this.#keeper.flush();
  }

  /** Keeps what can be kept, and gives the files back. */
  async close(): Promise<void> {
    // What failed was told before, to whoever asked for it; what could not be kept is fetched again.
    await this.flush().catch(() => {});
    await this.#keeper.close();
    this.#parts.data.close();
    this.#parts.list.close();
  }

  async #store(
    file: number,
    chunk: number,
    bytes: Uint8Array<ArrayBuffer>,
    hash: Uint8Array<ArrayBuffer>,
  ): Promise<void> {
    const sizeBytes = bytes.length;
    try {
      this.#keeper.requireWorking();
      await this.#parts.data.write(file, chunk, bytes, hash);
      await this.#keeper.wrote({ kind: "chunk", file, chunk, hash }, sizeBytes);
    } catch (error) {
      this.#keeper.fail(error);
    } finally {
      // At once: a megabyte a chunk is too much to wait for the collector.
      if (!bytes.buffer.detached) bytes.buffer.transfer(0);
    }
  }

  async #makeFolders(): Promise<void> {
    const { offer, found, placing } = this.#parts;
    const byDepth: { path: string; entry: OfferEntry }[][] = [];
    await forEachEntry(offer, (entry, number) => {
      if (entry.kind === "file") return;
      const names = targetPath(entry.path);
      placing.makeFolder(names);
      if (found.has(number)) return;
      (byDepth[names.length] ??= []).push({ path: placing.pathOf(names), entry });
    });
    await placing.sync();
    // The deepest first: a folder whose mode lets nobody in is one that nothing is done in any more.
    for (const level of byDepth.toReversed()) {
      await inGroups(level ?? [], ({ path, entry }) => this.#settleFolder(path, entry));
    }
  }

  async #settleFolder(path: string, entry: OfferEntry): Promise<void> {
    await storing("write", path, async () => {
      // Looked at once more: what follows would follow a link.
      if (lookAt(path)?.isDirectory !== true) {
        throw new TransferError("exists", `cannot write ${path}: it is no folder any more`);
      }
      const time = timeOf(entry);
      if (Deno.build.os === "windows") return Deno.utimeSync(path, time, time);
      using folder = Deno.openSync(path, { read: true });
      Deno.utimeSync(path, time, time);
      setMode(path, this.#parts.data.maskedMode(entry));
      await folder.sync();
    });
  }
}

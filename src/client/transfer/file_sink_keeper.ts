/**
 * Makes durable, in rounds, what has been written since the last one, and puts finished files into their places:
 *
 *   1  fsync of the data files, some at once; those of finished files get their time and mode before
 *   2  their chunks are added to the list, and what files are to come to their places; fsync of the list
 *   3  finished files are linked to their places; fsync of the folders they came to
 *   4  "placed" is added to the list; fsync of the list
 *   5  the data files of these are taken away
 *
 * Killed anywhere, nothing is lost but what no record tells. In step 3 a file may be in its place and no record say so:
 * its data file is still there then, and is the same file. A round begins 64 MiB or a second after the first write, or
 * when a file is finished; what comes while one goes on is done together in the next. That is what makes many small
 * files fast: fsyncs at once cost little more than one.
 */
import type { Timers } from "../../protocol/rpc/timers.ts";
import type { TransferError } from "../../protocol/transfer/errors.ts";
import { targetPath } from "../../protocol/transfer/target_path.ts";
import type { ChunkList } from "./chunk_list.ts";
import type { FileStamp, ListRecord } from "./chunk_list_records.ts";
import type { DataFiles } from "./file_sink_data.ts";
import { storageError } from "./file_sink_errors.ts";
import type { KeptFiles } from "./file_sink_kept.ts";
import { inGroups, type Placing } from "./placing.ts";
import type { WorkingFolder } from "./working_folder.ts";

const ROUND_BYTES = 64 * 1024 * 1024;
const ROUND_MS = 1000;
/** Most files that are put into place in one round, all of which are open at some time. */
const MAX_GROUP = 256;

/** What a keeper works on. */
export interface KeeperParts {
  readonly folder: WorkingFolder;
  readonly list: ChunkList;
  readonly data: DataFiles;
  readonly kept: KeptFiles;
  readonly placing: Placing;
  readonly timers: Timers;
}

type WrittenChunk = Extract<ListRecord, { kind: "chunk" }>;

/** A finished file on its way to its place. */
interface Finished {
  readonly file: number;
  readonly settle: () => void;
  readonly fail: (error: unknown) => void;
}

/** Keeps what one transfer receives. */
export class Keeper {
  readonly #parts: KeeperParts;
  #written: WrittenChunk[] = [];
  #writtenBytes = 0;
  #finished: Finished[] = [];
  /** Settles when the last of the acts begun so far is over, which are done one after the other. */
  #turn: Promise<void> = Promise.resolve();
  #isScheduled = false;
  #stopTimer: (() => void) | null = null;
  #failure: TransferError | null = null;

  /** Makes one that has nothing to do. */
  constructor(parts: KeeperParts) {
    this.#parts = parts;
  }

  /**
   * Takes note of a chunk that was written to its data file.
   *
   * Settles at once, or, if as much again has been written since the round that goes on, when that is over.
   */
  async wrote(chunk: WrittenChunk, sizeBytes: number): Promise<void> {
    this.#written.push(chunk);
    this.#writtenBytes += sizeBytes;
    this.#stopTimer ??= this.#parts.timers.after(ROUND_MS, () => this.#schedule());
    if (this.#writtenBytes < ROUND_BYTES) return;
    const isBusy = this.#isScheduled;
    this.#schedule();
    if (isBusy) await this.#turn;
  }

  /**
   * Puts a file into its place, all chunks of which were written.
   *
   * @throws {TransferError} `exists`, `path`, `storage`, `space`
   */
  place(file: number): Promise<void> {
    return new Promise((settle, fail) => {
      this.#finished.push({ file, settle, fail });
      this.#schedule();
    });
  }

  /**
   * Makes durable what was written so far.
   *
   * @throws {TransferError} `storage`, `space`
   */
  async flush(): Promise<void> {
    if (this.#written.length > 0) this.#schedule();
    await this.#turn;
    this.requireWorking();
  }

  /**
   * Forgets a file, durably.
   *
   * @throws {TransferError} `storage`, `space`
   */
  async forget(file: number): Promise<void> {
    await this.#inTurn(async () => {
      const { list, data, kept } = this.#parts;
      this.#written = this.#written.filter((chunk) => chunk.file !== file);
      await list.add([{ kind: "forgotten", file }]);
      await list.sync();
      kept.forget(file);
      data.remove(file);
    });
    this.requireWorking();
  }

  /**
   * After a failure of the disk nothing is believed to be durable any more.
   *
   * @throws {TransferError} the failure
   */
  requireWorking(): void {
    if (this.#failure !== null) throw this.#failure;
  }

  /** Notes a failure of the disk; the first one counts. */
  fail(error: unknown): void {
    this.#failure ??= storageError("write", this.#parts.folder.path, error);
  }

  /** Settles when nothing goes on any more, and nothing will by itself. */
  async close(): Promise<void> {
    this.#clearTimer();
    await this.#turn;
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    this.#inTurn(() => this.#round());
  }

  /** Does an act when those before it are over. Its failure is everybody's. */
  #inTurn(act: () => Promise<void>): Promise<void> {
    this.#turn = this.#turn.then(async () => {
      try {
        this.requireWorking();
        await act();
      } catch (error) {
        this.fail(error);
        this.#giveUp();
      }
    });
    return this.#turn;
  }

  async #round(): Promise<void> {
    this.#clearTimer();
    this.#isScheduled = false;
    const written = this.#written;
    const group = this.#finished.slice(0, MAX_GROUP);
    this.#written = [];
    this.#writtenBytes = 0;
    const stamps = await this.#makeDurable(written, group);
    await this.#note(written, stamps);
    const placed = this.#put(group);
    await this.#parts.placing.sync();
    await this.#record(placed.map((file) => ({ kind: "placed", file, stamp: stampOf(stamps, file) })));
    this.#settle(placed);
    if (this.#finished.length > 0) this.#schedule();
  }

  /** Step 1. */
  async #makeDurable(
    written: readonly WrittenChunk[],
    group: readonly Finished[],
  ): Promise<Map<number, FileStamp>> {
    const { data, kept, folder } = this.#parts;
    const stamps = new Map<number, FileStamp>();
    await inGroups(group, async ({ file }) => {
      stamps.set(file, await data.prepare(file, kept.entry(file)));
    });
    const unfinished = new Set(written.map(({ file }) => file).filter((file) => !stamps.has(file)));
    await inGroups([...unfinished], (file) => data.sync(file));
    if (unfinished.size > 0) await folder.sync();
    return stamps;
  }

  /** Step 2. */
  async #note(written: readonly WrittenChunk[], stamps: ReadonlyMap<number, FileStamp>): Promise<void> {
    const { list, kept, placing } = this.#parts;
    const kind = placing.renames ? "renaming" : "linking";
    for (const [at, { file }] of written.entries()) kept.of(file).note(list.count + at);
    const coming = [...stamps].map(([file, stamp]): ListRecord => ({ kind, file, stamp }));
    await this.#record([...written, ...coming]);
  }

  /** Step 3, but for the folders. What a file fails with is its own, and what has no place yet is asked again. */
  #put(group: readonly Finished[]): number[] {
    const { data, kept, placing } = this.#parts;
    const placed: number[] = [];
    for (const { file, fail } of group) {
      try {
        const names = targetPath(kept.entry(file).path);
        const { isReserving } = kept.of(file);
        if (placing.put(data.path(file), names, isReserving)) placed.push(file);
      } catch (error) {
        this.#finished = this.#finished.filter((each) => each.file !== file);
        fail(error);
      }
    }
    return placed;
  }

  async #record(records: readonly ListRecord[]): Promise<void> {
    if (records.length === 0) return;
    await this.#parts.list.add(records);
    await this.#parts.list.sync();
  }

  /** Step 5. */
  #settle(placed: readonly number[]): void {
    const { data, kept } = this.#parts;
    const isPlaced = new Set(placed);
    const settled = this.#finished.filter(({ file }) => isPlaced.has(file));
    this.#finished = this.#finished.filter(({ file }) => !isPlaced.has(file));
    for (const { file, settle } of settled) {
      kept.place(file);
      data.remove(file);
      settle();
    }
  }

  /** After a failure: whoever waits is told. */
  #giveUp(): void {
    this.#clearTimer();
    for (const { fail } of this.#finished.splice(0)) fail(this.#failure);
  }

  #clearTimer(): void {
    this.#stopTimer?.();
    this.#stopTimer = null;
  }
}

function stampOf(stamps: ReadonlyMap<number, FileStamp>, file: number): FileStamp {
  const stamp = stamps.get(file);
  if (stamp === undefined) throw new Error(`file ${file} was not made durable`);
  return stamp;
}

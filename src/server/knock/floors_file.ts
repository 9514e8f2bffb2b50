/**
 * The floors on disk: `<blocklist_dir>/blocklist.msgpck`, ruroco's file and format. Raised in memory first, by the
 * judge; here they become durable, and nothing runs before they are.
 *
 * ```
 *   raise 5, commit --+                       +-- raise 8, commit --+
 *   raise 6, commit --+--> one write, fsync --+   raise 9, commit --+--> the next write, fsync
 *                     (waiting while it runs) ^-- so bursts share a write, whatever keys they are for
 * ```
 */
import { decodeFloors, encodeFloors, FloorsCodecError } from "../../protocol/knock/floors_codec.ts";
import { ReplayFloors } from "../../protocol/knock/replay.ts";
import { systemFiles, writeFileDurably } from "../../system/durable_file.ts";
import type { FileLayer } from "../../system/durable_file.ts";
import { Failure } from "../../system/failure.ts";
import { foreignFileHint } from "../../system/foreign_file.ts";
import { SERVER_USER } from "./config.ts";

interface Batch {
  /** The generation of the floors that the batch's write holds. */
  generation: number;
  readonly promise: Promise<void>;
  resolve(): void;
  reject(error: unknown): void;
}

export class FloorsFile {
  readonly floors: ReplayFloors;
  readonly #path: string;
  readonly #files: FileLayer;
  /** Not the generation of the loaded floors: the first commit always writes, and so proves that we can. */
  #durableGeneration = -1;
  #writing: Batch | null = null;
  #next: Batch | null = null;
  #writes = 0;
  #failures = 0;

  private constructor(path: string, floors: ReplayFloors, files: FileLayer) {
    this.#path = path;
    this.floors = floors;
    this.#files = files;
  }

  /**
   * Reads the file; a missing one holds no floors.
   *
   * @throws {Failure} if it cannot be read or is damaged. Starting over with an empty one would be the tempting
   * answer; it would forget what was spent.
   */
  static async load(path: string, files: FileLayer = systemFiles): Promise<FloorsFile> {
    return new FloorsFile(path, new ReplayFloors(await readFloors(path, files)), files);
  }

  /** Whether everything raised so far survives a crash. */
  get isDurable(): boolean {
    return this.#durableGeneration === this.floors.generation;
  }

  /** Writes tried since the start. */
  get writes(): number {
    return this.#writes;
  }

  /** Writes that failed; each has refused the whole batch that waited for it. */
  get failures(): number {
    return this.#failures;
  }

  /**
   * Resolves when every raise made before this call is durable.
   *
   * @throws {Failure} if that write failed. The floors in memory stay up, and the next commit writes the newest,
   * so a packet of the failed batch can never be accepted later by this process.
   */
  commit(): Promise<void> {
    const generation = this.floors.generation;
    if (this.#durableGeneration === generation) return Promise.resolve();
    if (this.#writing?.generation === generation) return this.#writing.promise;
    this.#next ??= { generation, ...Promise.withResolvers<void>() };
    if (this.#writing === null) void this.#writeBatches(this.#next);
    return this.#next.promise;
  }

  /** Gives each key without a floor the given one, durably. */
  async seed(keyIds: Iterable<bigint>, counter: bigint): Promise<void> {
    for (const keyId of keyIds) this.floors.seedIfAbsent(keyId, counter);
    await this.commit();
  }

  async #writeBatches(first: Batch): Promise<void> {
    this.#writing = first;
    // One turn, so that packets judged in the same go (a draw, say) share the write of the first of them.
    await Promise.resolve();
    this.#next = null;
    for (let batch: Batch | null = first; batch !== null;) {
      await this.#writeBatch(batch);
      batch = this.#next;
      this.#writing = batch;
      this.#next = null;
    }
  }

  async #writeBatch(batch: Batch): Promise<void> {
    batch.generation = this.floors.generation;
    this.#writes++;
    try {
      const bytes = encodeFloors(this.floors.snapshot());
      // One batch after the other, and the server holds the lock of the folder.
      await writeFileDurably(this.#path, bytes, { files: this.#files, soleWriter: true });
      this.#durableGeneration = batch.generation;
      batch.resolve();
    } catch (error) {
      this.#failures++;
      batch.reject(error);
    }
  }
}

async function readFloors(path: string, files: FileLayer): Promise<Map<bigint, bigint>> {
  let bytes: Uint8Array;
  try {
    bytes = await files.readFile(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return new Map();
    throw new Failure(`cannot read the floors file ${path}`, {
      cause: error,
      hint: await foreignFileHint(path, error, SERVER_USER),
    });
  }
  try {
    return decodeFloors(bytes);
  } catch (error) {
    if (!(error instanceof FloorsCodecError)) throw error;
    throw new Failure(`cannot use the floors file ${path}: ${error.message}`, {
      hint: "restore it from a backup, or move it away: each key then gets a floor of now, " +
        "which refuses every packet made before",
    });
  }
}

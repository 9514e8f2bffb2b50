/**
 * The list of what a receiver has, in its working folder: records that are only ever added, each of them after what it
 * says is durable. Whoever finds a record there after a crash may rely on it without reading the file it is about.
 *
 *   data written -> fsync of the data -> record added -> fsync of the list
 *
 * A crash can leave the last records half written. What is behind the last good record is cut off when the list is
 * opened again: nobody relied on it. A bad record with a good one behind it was not torn by a crash, and is refused.
 */
import { TransferError } from "../../protocol/transfer/errors.ts";
import { claimedFingerprint, LIST_RECORD_BYTES, type ListRecord, ListRecords } from "./chunk_list_records.ts";
import { storing } from "./file_sink_errors.ts";

/** As many records are read at once. */
const READ_RECORDS = 1024;
const PRIVATE_MODE = 0o600;

/** One open list. Calls must not overlap, but for `read`. */
export class ChunkList {
  readonly #path: string;
  readonly #file: Deno.FsFile;
  readonly #records: ListRecords;
  #count = 0;

  private constructor(path: string, file: Deno.FsFile, fingerprint: Uint8Array) {
    this.#path = path;
    this.#file = file;
    this.#records = new ListRecords(fingerprint);
  }

  /**
   * Begins a list, durably but for its name in the folder.
   *
   * @param fingerprint of the offer, 32 bytes
   * @throws {TransferError} `storage`, `space`
   */
  static async create(path: string, fingerprint: Uint8Array): Promise<ChunkList> {
    const file = await storing(
      "make",
      path,
      () => Deno.open(path, { read: true, write: true, createNew: true, mode: PRIVATE_MODE }),
    );
    const list = new ChunkList(path, file, fingerprint);
    try {
      await list.add([{ kind: "begun", fingerprint }]);
      await list.sync();
    } catch (error) {
      file.close();
      throw error;
    }
    return list;
  }

  /**
   * Opens a list; `readAll` comes before anything else.
   *
   * @returns null if there is none, or none that was begun as a whole
   * @throws {TransferError} `storage`
   */
  static async open(path: string): Promise<ChunkList | null> {
    const file = await storing("open", path, () => openExisting(path));
    if (file === null) return null;
    try {
      const first = new Uint8Array(LIST_RECORD_BYTES);
      const isWhole = await storing("read", path, () => readInto(file, first)) === first.length;
      const list = new ChunkList(path, file, claimedFingerprint(first));
      if (!isWhole || list.#records.read(first, 0)?.kind !== "begun") {
        file.close();
        return null;
      }
      list.#count = 1;
      return list;
    } catch (error) {
      file.close();
      throw error;
    }
  }

  /** Of the offer that it is for; 32 bytes. */
  get fingerprint(): Uint8Array {
    return this.#records.fingerprint;
  }

  /** How many records it has; the number of the next one. */
  get count(): number {
    return this.#count;
  }

  /**
   * Gives all records but the first, in order, and cuts off what a crash has torn.
   *
   * @throws {TransferError} `storage`, also if one is bad that was not torn; whatever `visit` throws
   */
  async readAll(visit: (record: ListRecord, number: number) => void): Promise<void> {
    let bad: number | null = null;
    const bytes = new Uint8Array(READ_RECORDS * LIST_RECORD_BYTES);
    for (let first = this.#count;;) {
      const length = await storing("read", this.#path, () => readInto(this.#file, bytes));
      const whole = Math.floor(length / LIST_RECORD_BYTES);
      for (let number = first; number < first + whole; number++) {
        const record = this.#recordIn(bytes, number, first);
        if (record === null) bad ??= number;
        else if (bad !== null) throw this.#damaged(bad);
        else visit(record, number);
      }
      first += whole;
      if (length < bytes.length) return await this.#cutAt(bad ?? first);
    }
  }

  /**
   * Adds records, in one write; durable after `sync`. Nothing may be added any more after it has thrown.
   *
   * @throws {TransferError} `storage`, `space`
   */
  async add(records: readonly ListRecord[]): Promise<void> {
    const bytes = new Uint8Array(records.length * LIST_RECORD_BYTES);
    for (const [at, record] of records.entries()) {
      const place = bytes.subarray(at * LIST_RECORD_BYTES, (at + 1) * LIST_RECORD_BYTES);
      this.#records.write(record, this.#count + at, place);
    }
    await storing("write", this.#path, async () => {
      this.#file.seekSync(this.#count * LIST_RECORD_BYTES, Deno.SeekMode.Start);
      for (let at = 0; at < bytes.length;) at += await this.#file.write(bytes.subarray(at));
    });
    this.#count += records.length;
  }

  /**
   * Makes durable what was added.
   *
   * @throws {TransferError} `storage`, `space`
   */
  async sync(): Promise<void> {
    await storing("write", this.#path, () => this.#file.syncData());
  }

  /**
   * Reads records again.
   *
   * @param first number of the first one
   * @param end number of the one behind the last
   * @throws {TransferError} `storage`, also if one of them is bad
   */
  async read(first: number, end: number, visit: (record: ListRecord) => void): Promise<void> {
    const bytes = new Uint8Array((end - first) * LIST_RECORD_BYTES);
    const length = await storing("read", this.#path, async () => {
      // A handle of its own, with a place of its own: records are added meanwhile.
      using file = await Deno.open(this.#path, { read: true });
      file.seekSync(first * LIST_RECORD_BYTES, Deno.SeekMode.Start);
      return await readInto(file, bytes);
    });
    for (let number = first; number < end; number++) {
      const record = this.#recordIn(bytes.subarray(0, length), number, first);
      if (record === null) throw this.#damaged(number);
      visit(record);
    }
  }

  /** Gives the file back. */
  close(): void {
    this.#file.close();
  }

  #recordIn(bytes: Uint8Array, number: number, first: number): ListRecord | null {
    const offset = (number - first) * LIST_RECORD_BYTES;
    const record = bytes.subarray(offset, offset + LIST_RECORD_BYTES);
    return record.length === LIST_RECORD_BYTES ? this.#records.read(record, number) : null;
  }

  async #cutAt(count: number): Promise<void> {
    this.#count = count;
    await storing("write", this.#path, () => this.#file.truncate(count * LIST_RECORD_BYTES));
  }

  #damaged(number: number): TransferError {
    return new TransferError(
      "storage",
      `cannot go on with what is in ${this.#path}: record ${number} is damaged; remove this file to fetch ` +
        "everything again",
    );
  }
}

async function openExisting(path: string): Promise<Deno.FsFile | null> {
  try {
    return await Deno.open(path, { read: true, write: true });
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}

/** Fills `bytes` from where the file stands; returns how many there were. */
async function readInto(file: Deno.FsFile, bytes: Uint8Array): Promise<number> {
  let length = 0;
  while (length < bytes.length) {
    const count = await file.read(bytes.subarray(length));
    if (count === null) break;
    length += count;
  }
  return length;
}

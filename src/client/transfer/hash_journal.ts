/**
 * Chunk hashes in a file that is only ever appended to:
 *
 *   header    magic "PSTNHSH1" 8 | belongs to 32
 *   batch     count u32 | count times: chunk u64, hash 32 | check 8        big-endian
 *
 * The check is the beginning of SHA-256 over the batch before it. Nothing is fsynced: a batch that a crash or a power
 * cut left in pieces, and all behind it, is cut off when the file is opened again, and costs no more than to read
 * these chunks again.
 */
import { HASH_BYTES } from "../../protocol/transfer/file_hash.ts";
import type { HashKeeper } from "./share_state_hashes.ts";

const MAGIC = new TextEncoder().encode("PSTNHSH1");
/** Length of what says whose hashes they are. */
const OWNER_BYTES = 32;
const HEADER_BYTES = MAGIC.length + OWNER_BYTES;
const COUNT_BYTES = 4;
const CHUNK_NUMBER_BYTES = 8;
const RECORD_BYTES = CHUNK_NUMBER_BYTES + HASH_BYTES;
const CHECK_BYTES = 8;
/** A batch is written when it has so many, or when the last one was written so long ago. */
const BATCH_RECORDS = 64;
const BATCH_MS = 1000;
/** While the disk does not keep up, batches grow up to here; further hashes are not kept. */
const MAX_BATCH_RECORDS = 4096;
const PRIVATE_MODE = 0o600;

/** Gets the hashes that a journal held, in the order in which they were appended. */
export type OnJournalHash = (chunk: number, hash: Uint8Array<ArrayBuffer>) => void;

/** A journal that is open for more. */
export class HashJournal implements HashKeeper {
  readonly #file: Deno.FsFile;
  #waiting: { readonly chunk: number; readonly hash: Uint8Array<ArrayBuffer> }[] = [];
  #writing: Promise<void> | null = null;
  #writtenMs = performance.now();
  #isBroken = false;

  private constructor(file: Deno.FsFile) {
    this.#file = file;
  }

  /**
   * Opens the journal, or begins one, and tells what it holds. One that belongs to something else is emptied.
   *
   * @param owner 32 bytes, such as the fingerprint of the files
   * @throws what the system says
   */
  static async open(
    path: string,
    owner: Uint8Array<ArrayBuffer>,
    onHash: OnJournalHash,
  ): Promise<HashJournal> {
    const file = await Deno.open(path, { read: true, write: true, create: true, mode: PRIVATE_MODE });
    try {
      const wholeBytes = await readJournal(file, owner, onHash);
      await file.truncate(wholeBytes);
      await file.seek(wholeBytes, Deno.SeekMode.Start);
      if (wholeBytes === 0) await writeAll(file, headerOf(owner));
    } catch (error) {
      file.close();
      throw error;
    }
    return new HashJournal(file);
  }

  /** Keeps a hash; it is in the file a second later, or when many have come. What cannot be written is given up. */
  append(chunk: number, hash: Uint8Array<ArrayBuffer>): void {
    if (this.#isBroken || this.#waiting.length >= MAX_BATCH_RECORDS) return;
    this.#waiting.push({ chunk, hash });
    const isDue = this.#waiting.length >= BATCH_RECORDS || performance.now() - this.#writtenMs >= BATCH_MS;
    if (isDue && this.#writing === null) this.#writing = this.#writeWaiting();
  }

  /** Writes what waits, and closes the file. */
  async close(): Promise<void> {
    await this.#writing;
    if (this.#waiting.length > 0 && !this.#isBroken) await this.#writeWaiting();
    this.#file.close();
  }

  async #writeWaiting(): Promise<void> {
    const batch = this.#waiting;
    this.#waiting = [];
    try {
      await writeAll(this.#file, await batchOf(batch));
    } catch {
      // The transfer does not depend on it. What follows a torn batch would never be read: so no more is written.
      this.#isBroken = true;
    }
    this.#writtenMs = performance.now();
    this.#writing = null;
  }
}

/** @returns length of what is whole; 0 if the file has to be begun */
async function readJournal(
  file: Deno.FsFile,
  owner: Uint8Array<ArrayBuffer>,
  onHash: OnJournalHash,
): Promise<number> {
  const header = await readExactly(file, HEADER_BYTES);
  if (header === null || !areEqual(header, headerOf(owner))) return 0;
  let wholeBytes = HEADER_BYTES;
  for (;;) {
    const batchBytes = await readBatch(file, onHash);
    if (batchBytes === null) return wholeBytes;
    wholeBytes += batchBytes;
  }
}

/** @returns its length; null at the end, and for what is no whole batch */
async function readBatch(file: Deno.FsFile, onHash: OnJournalHash): Promise<number | null> {
  const head = await readExactly(file, COUNT_BYTES);
  const count = head === null ? 0 : new DataView(head.buffer).getUint32(0);
  if (head === null || count === 0 || count > MAX_BATCH_RECORDS) return null;
  const rest = await readExactly(file, count * RECORD_BYTES + CHECK_BYTES);
  if (rest === null) return null;
  const records = rest.subarray(0, count * RECORD_BYTES);
  if (!areEqual(await checkOf(head, records), rest.subarray(records.length))) return null;
  const view = new DataView(records.buffer);
  for (let at = 0; at < records.length; at += RECORD_BYTES) {
    const hashAt = at + CHUNK_NUMBER_BYTES;
    onHash(Number(view.getBigUint64(at)), records.slice(hashAt, hashAt + HASH_BYTES));
  }
  return COUNT_BYTES + rest.length;
}

async function batchOf(
  hashes: readonly { readonly chunk: number; readonly hash: Uint8Array<ArrayBuffer> }[],
): Promise<Uint8Array<ArrayBuffer>> {
  const recordsEnd = COUNT_BYTES + hashes.length * RECORD_BYTES;
  const batch = new Uint8Array(recordsEnd + CHECK_BYTES);
  const view = new DataView(batch.buffer);
  view.setUint32(0, hashes.length);
  for (const [index, { chunk, hash }] of hashes.entries()) {
    const at = COUNT_BYTES + index * RECORD_BYTES;
    view.setBigUint64(at, BigInt(chunk));
    batch.set(hash, at + CHUNK_NUMBER_BYTES);
  }
  batch.set(
    await checkOf(batch.subarray(0, COUNT_BYTES), batch.subarray(COUNT_BYTES, recordsEnd)),
    recordsEnd,
  );
  return batch;
}

async function checkOf(
  head: Uint8Array<ArrayBuffer>,
  records: Uint8Array<ArrayBuffer>,
): Promise<Uint8Array<ArrayBuffer>> {
  const whole = new Uint8Array(head.length + records.length);
  whole.set(head);
  whole.set(records, head.length);
  return new Uint8Array(await crypto.subtle.digest("SHA-256", whole)).subarray(0, CHECK_BYTES);
}

function headerOf(owner: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const header = new Uint8Array(HEADER_BYTES);
  header.set(MAGIC);
  header.set(owner, MAGIC.length);
  return header;
}

/** @returns null if the file ends before */
async function readExactly(file: Deno.FsFile, length: number): Promise<Uint8Array<ArrayBuffer> | null> {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length;) {
    const count = await file.read(bytes.subarray(at));
    if (count === null) return null;
    at += count;
  }
  return bytes;
}

async function writeAll(file: Deno.FsFile, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await file.write(bytes.subarray(at));
}

function areEqual(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, at) => byte === b[at]);
}

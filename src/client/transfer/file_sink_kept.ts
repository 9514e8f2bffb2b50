/** What is known of the files of one offer: which chunks are there, their hashes, and which files are in place. */
import { chunkCount, type ChunkRange, type OfferEntry } from "../../protocol/transfer/offer.ts";
import { ChunkSet } from "../../protocol/transfer/chunk_set.ts";
import { HASH_BYTES } from "../../protocol/transfer/file_hash.ts";
import type { FileStamp } from "./chunk_list_records.ts";

/** Records of the list: from `first` on, those before `end`. */
export interface RecordRange {
  readonly first: number;
  readonly end: number;
}

/** A file that is not in its place yet. */
export class KeptFile {
  /** Which of its chunks are there. */
  readonly chunks: ChunkSet;
  /** What the list says that it is to be in its place, about to come there or there already; null: nothing. */
  placing: FileStamp | null = null;
  /** Whether its place may be reserved by an empty file. */
  isReserving = false;
  /** The same, when it is said to be in its place. */
  placed: FileStamp | null = null;
  #hashes = new Uint8Array(0);
  #first = 0;
  #end = 0;

  /** Nothing of it is there. */
  constructor(entry: OfferEntry) {
    this.chunks = new ChunkSet(chunkCount(entry.sizeBytes));
  }

  /** Where in the list its chunks are; empty while none is. */
  get records(): RecordRange {
    return { first: this.#first, end: this.#end };
  }

  /** Adds a chunk with its hash, 32 bytes; the hash of one that is there is replaced. */
  add(chunk: number, hash: Uint8Array): void {
    this.chunks.add(chunk);
    const needed = (chunk + 1) * HASH_BYTES;
    if (this.#hashes.length < needed) this.#grow(needed);
    this.#hashes.set(hash, chunk * HASH_BYTES);
  }

  /** Notes which record of the list has a chunk of it. */
  note(record: number): void {
    if (this.#end === 0) this.#first = record;
    this.#end = record + 1;
  }

  /** The hashes of all chunks, one after the other, once all are there. */
  allHashes(): Uint8Array<ArrayBuffer> {
    return this.#hashes.slice(0, this.chunks.count * HASH_BYTES);
  }

  /** Twice as much as before: what a sender makes us hold grows with what it has sent, not with what it announced. */
  #grow(needed: number): void {
    const most = this.chunks.count * HASH_BYTES;
    const grown = new Uint8Array(Math.min(most, Math.max(needed, 2 * this.#hashes.length)));
    grown.set(this.#hashes);
    this.#hashes = grown;
  }
}

/** All files of an offer. Of those in place only two numbers are held: 100,000 small files fit well into memory. */
export class KeptFiles {
  readonly #entries: readonly OfferEntry[];
  readonly #begun = new Map<number, KeptFile>();
  /** By number of the entry: the records of its chunks, plus one, so that 0 is no range. */
  readonly #firsts: Float64Array;
  readonly #ends: Float64Array;

  /** Nothing is there. */
  constructor(entries: readonly OfferEntry[]) {
    this.#entries = entries;
    this.#firsts = new Float64Array(entries.length);
    this.#ends = new Float64Array(entries.length);
  }

  /** The entry of this number, which must be a file. */
  entry(file: number): OfferEntry {
    const entry = this.#entries[file];
    if (entry?.kind === "file") return entry;
    throw new RangeError(`cannot use entry ${file} of the offer: it is no file`);
  }

  /** All files that are known of and not in place. */
  begun(): Iterable<readonly [number, KeptFile]> {
    return this.#begun;
  }

  /** What is known of a file that is not in place. */
  of(file: number): KeptFile {
    const known = this.#begun.get(file);
    if (known !== undefined) return known;
    if (this.isPlaced(file)) {
      throw new RangeError(`cannot write file ${file} of the offer: it is in its place`);
    }
    const kept = new KeptFile(this.entry(file));
    this.#begun.set(file, kept);
    return kept;
  }

  /** The same; null if nothing is. */
  ofBegun(file: number): KeptFile | null {
    return this.#begun.get(file) ?? null;
  }

  /** Whether a file is in its place. */
  isPlaced(file: number): boolean {
    return (this.#ends[file] ?? 0) > 0;
  }

  /** Whether no file is missing. */
  get areAllPlaced(): boolean {
    return this.#entries.every(({ kind }, file) => kind === "folder" || this.isPlaced(file));
  }

  /** Where in the list the chunks of a file in its place are. */
  recordsOf(file: number): RecordRange {
    return { first: (this.#firsts[file] ?? 0) - 1, end: (this.#ends[file] ?? 0) - 1 };
  }

  /** A file has come to its place. */
  place(file: number): void {
    const { first, end } = this.#begun.get(file)?.records ?? { first: 0, end: 0 };
    this.#begun.delete(file);
    this.#firsts[file] = first + 1;
    this.#ends[file] = end + 1;
  }

  /** Nothing of the file is there. */
  forget(file: number): void {
    this.#begun.delete(file);
    this.#firsts[file] = 0;
    this.#ends[file] = 0;
  }

  /** Every chunk that is missing, in the order of the entries. */
  missing(): ChunkRange[] {
    const ranges: ChunkRange[] = [];
    for (const [file, { kind, sizeBytes }] of this.#entries.entries()) {
      if (kind === "folder" || sizeBytes === 0 || this.isPlaced(file)) continue;
      const kept = this.#begun.get(file);
      if (kept === undefined) ranges.push({ file, first: 0, count: chunkCount(sizeBytes) });
      else for (const run of kept.chunks.missing()) ranges.push({ file, ...run });
    }
    return ranges;
  }
}

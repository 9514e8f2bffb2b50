/**
 * Which chunks of an offer a receiver wants: one bit for each chunk of the offer, 2 MiB for 16 TiB, however they are
 * asked for.
 */
import { TransferError } from "./errors.ts";
import { CHUNK_BYTES, chunkCount, type ChunkRange, type Offer, type OfferEntry } from "./offer.ts";

const BITS_PER_BYTE = 8;

/** The wanted chunks of one offer, on either side; both send and expect them in the same order. */
export class WantedChunks {
  readonly #entries: readonly OfferEntry[];
  /** Counted over the whole offer: number of the first chunk of each entry. */
  readonly #firsts: Float64Array;
  readonly #bits: Uint8Array;
  /** Bytes wanted of each entry. */
  readonly #wantedBytes: Float64Array;
  /** Counted over the whole offer: number of the first chunk that may still be asked for. */
  #next = 0;
  #totalBytes = 0;

  /** None yet. */
  constructor(offer: Offer) {
    this.#entries = offer.entries;
    this.#firsts = new Float64Array(offer.entries.length);
    this.#wantedBytes = new Float64Array(offer.entries.length);
    let chunks = 0;
    for (const [file, entry] of offer.entries.entries()) {
      this.#firsts[file] = chunks;
      chunks += chunkCount(entry.sizeBytes);
    }
    this.#bits = new Uint8Array(Math.ceil(chunks / BITS_PER_BYTE));
  }

  /** Bytes of all wanted chunks. */
  get totalBytes(): number {
    return this.#totalBytes;
  }

  /**
   * Adds what is asked for next.
   *
   * @throws {TransferError} `malformed` unless all of it is in the offer and behind what was asked for before: with
   * anything else a chunk could be had twice, and the list would have no end
   */
  add(ranges: readonly ChunkRange[]): void {
    for (const range of ranges) this.#addRange(range);
  }

  /** Bytes wanted of one entry. */
  bytesOf(file: number): number {
    return this.#wantedBytes[file] ?? 0;
  }

  /** Whether a chunk of the offer is wanted. */
  has(file: number, chunk: number): boolean {
    const bit = (this.#firsts[file] ?? 0) + chunk;
    return ((this.#bits[Math.floor(bit / BITS_PER_BYTE)] ?? 0) & (1 << (bit % BITS_PER_BYTE))) !== 0;
  }

  /** Numbers of the wanted chunks of one entry, ascending. */
  *chunksOf(file: number): Generator<number, void> {
    if (this.bytesOf(file) === 0) return;
    const count = chunkCount(this.#entries[file]?.sizeBytes ?? 0);
    for (let chunk = 0; chunk < count; chunk++) {
      if (this.has(file, chunk)) yield chunk;
    }
  }

  #addRange({ file, first, count }: ChunkRange): void {
    const entry = this.#entries[file];
    if (entry === undefined) throw malformed(`found entry ${file}, which was not offered`);
    const end = first + count, chunks = chunkCount(entry.sizeBytes);
    if (!Number.isInteger(first) || first < 0 || !Number.isInteger(count) || count < 1 || end > chunks) {
      throw malformed(`found ${count} chunks from chunk ${first} on, the file has ${chunks}`);
    }
    const from = (this.#firsts[file] ?? 0) + first;
    if (from < this.#next) throw malformed("found chunks in an order that does not ascend");
    for (let bit = from; bit < from + count; bit++) this.#set(bit);
    this.#next = from + count;
    const bytes = Math.min(entry.sizeBytes, end * CHUNK_BYTES) - first * CHUNK_BYTES;
    this.#wantedBytes[file] = this.bytesOf(file) + bytes;
    this.#totalBytes += bytes;
  }

  #set(bit: number): void {
    const place = Math.floor(bit / BITS_PER_BYTE);
    this.#bits[place] = (this.#bits[place] ?? 0) | (1 << (bit % BITS_PER_BYTE));
  }
}

function malformed(found: string): TransferError {
  return new TransferError("malformed", `cannot send what is asked for: ${found}`);
}

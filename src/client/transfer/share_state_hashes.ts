/** The chunk hashes of a share: in memory while it runs, in a journal if it is to be found again. */
import { chunkCount, type OfferEntry } from "../../protocol/transfer/offer.ts";
import { HASH_BYTES } from "../../protocol/transfer/file_hash.ts";

/** Takes hashes that are to outlive the process. */
export interface HashKeeper {
  /** Must not throw; `chunk` is counted over all files. */
  append(chunk: number, hash: Uint8Array<ArrayBuffer>): void;
}

/** So many hashes are held in one piece of memory, set aside at the first of them. */
const PAGE_HASHES = 1024;

interface Page {
  readonly hashes: Uint8Array<ArrayBuffer>;
  /** A byte each: 1 if the hash is known. */
  readonly isKnown: Uint8Array;
}

/** SHA-256 of the chunks of all files of an offer, as far as they are known. Takes 33 bytes a chunk. */
export class ChunkHashes {
  /** Number of each file's first chunk, counted over all files; behind the last, how many there are. */
  readonly #firstChunks: Float64Array;
  readonly #pages: (Page | undefined)[] = [];
  #keeper: HashKeeper | null = null;

  /** Makes one that knows none. */
  constructor(entries: readonly OfferEntry[]) {
    this.#firstChunks = new Float64Array(entries.length + 1);
    let chunks = 0;
    for (const [file, { sizeBytes }] of entries.entries()) {
      chunks += chunkCount(sizeBytes);
      this.#firstChunks[file + 1] = chunks;
    }
  }

  /** How many chunks all files have together. */
  get chunks(): number {
    return this.#firstChunks.at(-1) ?? 0;
  }

  /** From now on new hashes are given to this one too. */
  keepIn(keeper: HashKeeper): void {
    this.#keeper = keeper;
  }

  /**
   * The hash of a chunk, 32 bytes; null if it is not known.
   *
   * @throws {RangeError} if there is no such chunk
   */
  get(file: number, chunk: number): Uint8Array<ArrayBuffer> | null {
    const index = this.#index(file, chunk);
    const page = this.#pages[Math.floor(index / PAGE_HASHES)];
    const at = index % PAGE_HASHES;
    return page?.isKnown[at] === 1 ? page.hashes.slice(at * HASH_BYTES, (at + 1) * HASH_BYTES) : null;
  }

  /**
   * Keeps the hash of a chunk.
   *
   * @param isLasting also for a later run
   * @throws {RangeError} if there is no such chunk
   */
  keep(file: number, chunk: number, hash: Uint8Array<ArrayBuffer>, isLasting: boolean): void {
    const index = this.#index(file, chunk);
    this.put(index, hash);
    if (isLasting) this.#keeper?.append(index, hash);
  }

  /** Puts in a hash that was kept before; one of no chunk here is left out. */
  put(index: number, hash: Uint8Array<ArrayBuffer>): void {
    if (index >= this.chunks || hash.length !== HASH_BYTES) return;
    const page = this.#page(Math.floor(index / PAGE_HASHES));
    const at = index % PAGE_HASHES;
    page.hashes.set(hash, at * HASH_BYTES);
    page.isKnown[at] = 1;
  }

  #page(number: number): Page {
    const page = this.#pages[number] ??
      { hashes: new Uint8Array(PAGE_HASHES * HASH_BYTES), isKnown: new Uint8Array(PAGE_HASHES) };
    this.#pages[number] = page;
    return page;
  }

  #index(file: number, chunk: number): number {
    const first = this.#firstChunks[file] ?? NaN;
    const end = this.#firstChunks[file + 1] ?? NaN;
    if (chunk >= 0 && first + chunk < end) return first + chunk;
    throw new RangeError(`cannot use chunk ${chunk} of entry ${file}: there is none`);
  }
}

/** What is shared out of memory: a text, or a stream that was short. */
import { CHUNK_BYTES, type Offer } from "../../protocol/transfer/offer.ts";
import type { Source } from "../../protocol/transfer/source.ts";

const MODE = 0o644;

/** One entry whose bytes are in memory. */
export class MemorySource implements Source {
  /** The one entry. */
  readonly offer: Offer;
  readonly #bytes: Uint8Array<ArrayBuffer>;

  /**
   * Makes one.
   *
   * @param path name of the entry; of a text nobody sees it
   * @param bytes not to be changed any more
   * @param modifiedMs milliseconds since 1970, whole
   */
  constructor(kind: Offer["kind"], path: string, bytes: Uint8Array<ArrayBuffer>, modifiedMs: number) {
    this.#bytes = bytes;
    const entry = { kind: "file", path, sizeBytes: bytes.length, modifiedMs, mode: MODE } as const;
    this.offer = { kind, entries: [entry], totalBytes: bytes.length };
  }

  /** Copies a chunk. */
  read(_file: number, chunk: number): Promise<Uint8Array<ArrayBuffer>> {
    return Promise.resolve(this.#bytes.slice(chunk * CHUNK_BYTES, (chunk + 1) * CHUNK_BYTES));
  }

  /** No hash is kept: to make it again takes next to no time. */
  knownHash(): null {
    return null;
  }

  /** Does nothing. */
  keepHash(): void {}

  /** Nobody else can change it. */
  verifyUnchanged(): Promise<void> {
    return Promise.resolve();
  }
}

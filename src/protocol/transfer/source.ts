/** What a sending session needs of whoever has the files. */
import type { Offer } from "./offer.ts";

/** The files that are sent. One source may serve several sessions at once; each reads for itself. */
export interface Source {
  readonly offer: Offer;
  /**
   * Reads one chunk.
   *
   * @returns memory that belongs to the caller from now on, of exactly the chunk's length
   * @throws {TransferError} `changed` if the file is not the one that was offered any more, `storage` if it cannot be read
   */
  read(file: number, chunk: number): Promise<Uint8Array<ArrayBuffer>>;
  /** SHA-256 of a chunk, 32 bytes, if it is known from before; null: the session reads the chunk and tells it. */
  knownHash(file: number, chunk: number): Uint8Array<ArrayBuffer> | null;
  /** Tells the hash of a chunk that was read, to be kept for a later session. */
  keepHash(file: number, chunk: number, hash: Uint8Array<ArrayBuffer>): void;
  /**
   * Looks whether the file is still the one that was offered; asked before its hash is sent.
   *
   * @throws {TransferError} `changed`
   */
  verifyUnchanged(file: number): Promise<void>;
}

/** How chunks are made smaller and large again. Both may be called again before it has settled. */
export interface Compression {
  /**
   * A shorter form of the chunk; the chunk itself if that does not pay.
   *
   * @param chunk taken: it may be empty from the call on, and come back as another array
   */
  compress(chunk: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>>;
  /**
   * The chunk again.
   *
   * @param sizeBytes its exact length: nothing longer is ever made, and nothing shorter accepted
   * @throws {TransferError} `malformed`
   */
  decompress(compressed: Uint8Array<ArrayBuffer>, sizeBytes: number): Promise<Uint8Array<ArrayBuffer>>;
}

/** What a receiving session needs of whoever keeps the files. */
import type { ChunkRange, Offer } from "./offer.ts";

/** Where received files go. One sink belongs to one transfer and outlives its sessions. */
export interface Sink {
  /**
   * Judges an offer, the first one or the same again after a redial: names, limits, space, what exists already, and
   * the user's consent. Nothing is written outside of the working folder before it settles.
   *
   * @returns every chunk that is still missing, in the order of the entries
   * @throws {TransferError} `path`, `collision`, `exists`, `limit`, `space`, `refused`; `changed` if it is not the
   * offer that an earlier session began with, after which what was kept of it is given up
   */
  accept(offer: Offer): Promise<readonly ChunkRange[]>;
  /**
   * Takes a chunk that was missing. Settles when it may be given more; the disk may still be at it. Calls do not overlap.
   *
   * @param bytes belong to the sink from now on
   * @param hash their SHA-256, 32 bytes
   * @throws {TransferError} `storage`, `space`
   */
  write(
    file: number,
    chunk: number,
    bytes: Uint8Array<ArrayBuffer>,
    hash: Uint8Array<ArrayBuffer>,
  ): Promise<void>;
  /** SHA-256 of every chunk of a file, in order, once none is missing: 32 bytes each, one after the other. */
  chunkHashes(file: number): Promise<Uint8Array<ArrayBuffer>>;
  /**
   * The file's hash was checked: puts it into its place, durably, with its time and mode. May be asked again for a file that is
   * in its place already, and does nothing then.
   *
   * @throws {TransferError} `exists`, `storage`, `space`
   */
  finishFile(file: number): Promise<void>;
  /** The file's hash was wrong: forgets all its chunks, so that a later session asks for them again. */
  forgetFile(file: number): Promise<void>;
  /** Everything is in place: the folders too, with their times and modes. May be asked again. */
  finish(): Promise<void>;
  /** Makes durable what has come so far, before a session that was lost is given up or redialled. */
  flush(): Promise<void>;
}

/** What a sender offers, as both sides see it. */

/** One file or folder of an offer. Its number is its place in the list, from 0. */
export interface OfferEntry {
  /** What it is; nothing else is ever offered. */
  readonly kind: "file" | "folder";
  /** Relative, with "/" between the names; believed by nobody before `targetPath` has judged it. */
  readonly path: string;
  /** Length in bytes; 0 for a folder. */
  readonly sizeBytes: number;
  /** When it was modified last, milliseconds since 1970. */
  readonly modifiedMs: number;
  /** Permission bits, at most 0o777. */
  readonly mode: number;
}

/** Everything that a sender offers. */
export interface Offer {
  /** A text has one entry, a file, whose bytes are UTF-8; the receiver shows it instead of writing it. */
  readonly kind: "files" | "text";
  /** In the order in which they are sent; a folder comes before what is in it. */
  readonly entries: readonly OfferEntry[];
  /** Sum of the sizes. */
  readonly totalBytes: number;
}

/** Consecutive chunks of one file. */
export interface ChunkRange {
  /** Number of the entry. */
  readonly file: number;
  /** Number of the first chunk, from 0. */
  readonly first: number;
  /** How many, at least 1. */
  readonly count: number;
}

/** Length of a chunk, the unit that is hashed, compressed, encrypted, resumed and sent; a file's last may be shorter. */
export const CHUNK_BYTES: number = 1024 * 1024;

/** How many chunks a file has; 0 if it is empty. */
export function chunkCount(sizeBytes: number): number {
  return Math.ceil(sizeBytes / CHUNK_BYTES);
}

/** Length of a chunk of a file, 1 to 1,048,576. */
export function chunkLength(sizeBytes: number, chunk: number): number {
  return Math.min(CHUNK_BYTES, sizeBytes - chunk * CHUNK_BYTES);
}

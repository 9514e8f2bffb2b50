/** Files in memory that are sent in tests. */
import {
  CHUNK_BYTES,
  chunkLength,
  type Offer,
  type OfferEntry,
} from "../../../src/protocol/transfer/offer.ts";
import type { Source } from "../../../src/protocol/transfer/source.ts";

/** By path; null is a folder. */
export type Tree = ReadonlyMap<string, Uint8Array<ArrayBuffer> | null>;

/** Sends a tree. */
export class MemorySource implements Source {
  readonly offer: Offer;
  /** "file:chunk" of every read, in order. */
  readonly reads: string[] = [];
  /** Files that were looked at again before their hash was sent. */
  readonly verified: number[] = [];
  readonly hashes: Map<string, Uint8Array<ArrayBuffer>> = new Map();
  /** Awaited before each read and each look. */
  before: (act: "read" | "verifyUnchanged", file: number, chunk: number) => void | Promise<void> = () => {};
  readonly #contents: readonly (Uint8Array<ArrayBuffer> | null)[];

  constructor(tree: Tree, kind: Offer["kind"] = "files") {
    this.#contents = [...tree.values()];
    this.offer = offerOf(tree, kind);
  }

  async read(file: number, chunk: number): Promise<Uint8Array<ArrayBuffer>> {
    this.reads.push(`${file}:${chunk}`);
    await this.before("read", file, chunk);
    const content = this.#contents[file];
    if (content === undefined || content === null) throw new Error(`entry ${file} is no file`);
    const length = chunkLength(content.length, chunk);
    if (length < 1) throw new Error(`file ${file} has no chunk ${chunk}`);
    return content.slice(chunk * CHUNK_BYTES, chunk * CHUNK_BYTES + length);
  }

  knownHash(file: number, chunk: number): Uint8Array<ArrayBuffer> | null {
    return this.hashes.get(`${file}:${chunk}`) ?? null;
  }

  keepHash(file: number, chunk: number, hash: Uint8Array<ArrayBuffer>): void {
    this.hashes.set(`${file}:${chunk}`, hash);
  }

  async verifyUnchanged(file: number): Promise<void> {
    this.verified.push(file);
    await this.before("verifyUnchanged", file, 0);
  }
}

/** The offer that a tree makes. */
export function offerOf(tree: Tree, kind: Offer["kind"] = "files"): Offer {
  const entries = [...tree].map(([path, bytes]) =>
    bytes === null ? folderEntry(path) : fileEntry(path, bytes.length)
  );
  return { kind, entries, totalBytes: entries.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0) };
}

/** Bytes that differ from chunk to chunk and from file to file, and do not compress to nothing. */
export function someBytes(length: number, seed = 1): Uint8Array<ArrayBuffer> {
  const words = new Uint32Array(Math.ceil(length / 4));
  let state = (seed * 0x9e3779b9) >>> 0;
  for (let at = 0; at < words.length; at++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    words[at] = state;
  }
  return new Uint8Array(words.buffer, 0, length).slice();
}

/** A file in an offer. */
export function fileEntry(path: string, sizeBytes: number): OfferEntry {
  return { kind: "file", path, sizeBytes, modifiedMs: 1_700_000_000_000, mode: 0o644 };
}

/** A folder in an offer. */
export function folderEntry(path: string): OfferEntry {
  return { kind: "folder", path, sizeBytes: 0, modifiedMs: 1_700_000_000_000, mode: 0o755 };
}

/** The hash that a file has in a transfer, made by another way than the code's. */
export async function hashOf(content: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  const parts: number[] = [...new Uint8Array(new BigUint64Array([BigInt(content.length)]).buffer).reverse()];
  for (let at = 0; at < content.length; at += CHUNK_BYTES) {
    parts.push(...new Uint8Array(await crypto.subtle.digest("SHA-256", content.slice(at, at + CHUNK_BYTES))));
  }
  return new Uint8Array(await crypto.subtle.digest("SHA-256", new Uint8Array(parts)));
}

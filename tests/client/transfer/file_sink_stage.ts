/** What a session does with a sink, for tests of the sink alone. */
import assert from "node:assert/strict";
import { FileSink, type FileSinkOptions } from "../../../src/client/transfer/file_sink.ts";
import { TransferError, type TransferErrorCode } from "../../../src/protocol/transfer/errors.ts";
import { workingFolderPath } from "../../../src/client/transfer/working_folder.ts";
import {
  CHUNK_BYTES,
  chunkCount,
  chunkLength,
  type ChunkRange,
} from "../../../src/protocol/transfer/offer.ts";
import type { Offer, OfferEntry } from "../../../src/protocol/transfer/offer.ts";
import { succeeds } from "../../e2e/machine.ts";

/** Of every transfer here. */
export const SECRET: Uint8Array<ArrayBuffer> = new Uint8Array(32).fill(7);
/** When every file here was modified, unless something else is said. */
export const MODIFIED_MS = 1_600_000_000_000;

/** A file, or a folder if it has no content; a number is the length of a file with content made up from its path. */
export interface Given {
  readonly content?: Uint8Array | number;
  readonly mode?: number;
  readonly modifiedMs?: number;
}

/** What somebody offers, and the bytes of it. */
export class Offered {
  readonly offer: Offer;
  readonly #given: readonly Given[];

  constructor(given: Readonly<Record<string, Given>>, kind: Offer["kind"] = "files") {
    this.#given = Object.values(given);
    const entries = Object.entries(given).map(([path, { content, mode, modifiedMs }]): OfferEntry => ({
      kind: content === undefined ? "folder" : "file",
      path,
      sizeBytes: lengthOf(content),
      modifiedMs: modifiedMs ?? MODIFIED_MS,
      mode: mode ?? (content === undefined ? 0o755 : 0o644),
    }));
    this.offer = { kind, entries, totalBytes: entries.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0) };
  }

  /** The bytes of a chunk, in memory of their own. */
  chunk(file: number, chunk: number): Uint8Array<ArrayBuffer> {
    const { content } = this.#given[file] ?? {};
    const entry = this.entry(file);
    const length = chunkLength(entry.sizeBytes, chunk);
    if (content instanceof Uint8Array) {
      return content.slice(chunk * CHUNK_BYTES, chunk * CHUNK_BYTES + length) as Uint8Array<ArrayBuffer>;
    }
    return madeUp(entry.path, chunk, length);
  }

  /** All bytes of a file. */
  bytes(file: number): Uint8Array {
    const { sizeBytes } = this.entry(file);
    const bytes = new Uint8Array(sizeBytes);
    for (let chunk = 0; chunk < chunkCount(sizeBytes); chunk++) {
      bytes.set(this.chunk(file, chunk), chunk * CHUNK_BYTES);
    }
    return bytes;
  }

  entry(file: number): OfferEntry {
    const entry = this.offer.entries[file];
    if (entry === undefined) throw new Error(`no entry ${file}`);
    return entry;
  }

  /** The numbers of all files. */
  get files(): number[] {
    return [...this.offer.entries.keys()].filter((file) => this.entry(file).kind === "file");
  }
}

function lengthOf(content: Uint8Array | number | undefined): number {
  return content instanceof Uint8Array ? content.length : content ?? 0;
}

/** Bytes that differ from chunk to chunk and from file to file, and look random. */
export function madeUp(path: string, chunk: number, length: number): Uint8Array<ArrayBuffer> {
  const words = new Uint32Array(Math.ceil(length / 4));
  let state = (chunk * 2_654_435_761 + path.length * 97 + (path.codePointAt(0) ?? 0)) >>> 0 || 1;
  for (let at = 0; at < words.length; at++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    words[at] = state;
  }
  return new Uint8Array(words.buffer).slice(0, length);
}

export async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
}

/** A sink for `folder`, as most tests want it. */
export function sinkInto(folder: string, options: Partial<FileSinkOptions> = {}): FileSink {
  return new FileSink({ folder, resumeSecret: SECRET, codeTag: null, ...options });
}

/** Where such a sink works. */
export function workingFolder(folder: string): string {
  return workingFolderPath(folder, SECRET);
}

/** Gives a sink what it asked for. */
export async function writeRanges(
  sink: FileSink,
  offered: Offered,
  ranges: readonly ChunkRange[],
): Promise<void> {
  for (const { file, first, count } of ranges) {
    for (let chunk = first; chunk < first + count; chunk++) {
      const bytes = offered.chunk(file, chunk);
      await sink.write(file, chunk, bytes, await sha256(bytes));
    }
  }
}

/** A whole session; the files are put into place together. */
export async function receiveAll(sink: FileSink, offered: Offered): Promise<readonly ChunkRange[]> {
  const ranges = await sink.accept(offered.offer);
  await writeRanges(sink, offered, ranges);
  await Promise.all(offered.files.map((file) => sink.finishFile(file)));
  await sink.finish();
  return ranges;
}

/** Everything below a folder: path -> bytes of a file, "folder", or the target of a link. */
export function treeOf(folder: string, below = ""): Record<string, Uint8Array | string> {
  const tree: Record<string, Uint8Array | string> = {};
  for (const { name, isDirectory, isSymlink } of Deno.readDirSync(`${folder}/${below}`)) {
    const path = `${below}${name}`;
    if (isSymlink) tree[path] = `-> ${Deno.readLinkSync(`${folder}/${path}`)}`;
    else if (isDirectory) Object.assign(tree, { [path]: "folder" }, treeOf(folder, `${path}/`));
    else tree[path] = Deno.readFileSync(`${folder}/${path}`);
  }
  return tree;
}

/** What `treeOf` is to be when all of it has come. */
export function expectedTree(offered: Offered): Record<string, Uint8Array | string> {
  return Object.fromEntries(
    offered.offer.entries.map((
      { path, kind },
      file,
    ) => [path, kind === "folder" ? "folder" : offered.bytes(file)]),
  );
}

/** Expects a refusal of this kind that says so. */
export async function refuses(
  work: Promise<unknown>,
  code: TransferErrorCode,
  message: RegExp,
): Promise<void> {
  await assert.rejects(work, (error: unknown) => {
    assert(error instanceof TransferError, String(error));
    assert.equal(error.code, code);
    assert.match(error.message, message);
    return true;
  });
}

/** A folder with a file system of its own, in memory; only where `mountObstacle` finds nothing. */
export class TinyDisk implements AsyncDisposable {
  readonly path: string = Deno.makeTempDirSync({ prefix: "postern-disk-" });

  private constructor() {}

  /** @param options of tmpfs, such as "size=4m" */
  static async mount(options: string): Promise<TinyDisk> {
    const disk = new TinyDisk();
    assert(await succeeds("mount", ["-t", "tmpfs", "-o", options, "none", disk.path]), "mount failed");
    return disk;
  }

  async makeReadOnly(): Promise<void> {
    assert(await succeeds("mount", ["-o", "remount,ro", this.path]), "remount failed");
  }

  /** Leaves not one byte. */
  fill(): void {
    using file = Deno.openSync(`${this.path}/filler`, { create: true, write: true });
    try {
      for (;;) file.writeSync(new Uint8Array(4096));
    } catch (error) {
      assert.match(String(error), /os error 28/);
    }
  }

  free(): void {
    Deno.removeSync(`${this.path}/filler`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    assert(await succeeds("umount", [this.path]), "umount failed");
    Deno.removeSync(this.path);
  }
}

/** A folder of a test's own. */
export class TargetFolder implements Disposable {
  readonly path: string = Deno.makeTempDirSync({ prefix: "postern-sink-" });

  [Symbol.dispose](): void {
    Deno.removeSync(this.path, { recursive: true });
  }
}

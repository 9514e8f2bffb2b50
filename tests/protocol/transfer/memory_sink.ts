/** Where received files go in tests. */
import { TransferError } from "../../../src/protocol/transfer/errors.ts";
import {
  CHUNK_BYTES,
  chunkCount,
  chunkLength,
  type ChunkRange,
  type Offer,
} from "../../../src/protocol/transfer/offer.ts";
import type { Sink } from "../../../src/protocol/transfer/sink.ts";

/** What a sink may be asked. */
export type SinkAct = Exclude<keyof Sink, "chunkHashes"> | "chunkHashes";

interface KeptChunk {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly hash: Uint8Array<ArrayBuffer>;
}

/** Keeps files in memory, and complains about a session that does not keep to the rules of `Sink`. */
export class MemorySink implements Sink {
  /** What was asked, such as "write 0:3", in order. */
  readonly acts: string[] = [];
  /** How often each chunk was written, by "file:chunk". */
  readonly written: Map<string, number> = new Map();
  readonly finished: Set<number> = new Set();
  isFinished = false;
  /** Rules that were broken. */
  readonly complaints: string[] = [];
  /** Awaited in each act. */
  before: (act: SinkAct, file: number) => void | Promise<void> = () => {};
  #offer: Offer | null = null;
  readonly #chunks: Map<string, KeptChunk> = new Map();
  #underWay: string | null = null;
  readonly #finishing: Set<number> = new Set();
  /** Files that were being finished at once. */
  mostFinishing = 0;

  async accept(offer: Offer): Promise<readonly ChunkRange[]> {
    this.acts.push("accept");
    await this.before("accept", -1);
    if (this.#offer !== null && JSON.stringify(this.#offer) !== JSON.stringify(offer)) {
      throw new TransferError("changed", "it is not the offer that was accepted before");
    }
    this.#offer = offer;
    return offer.entries.flatMap((_entry, file) => this.#missing(file));
  }

  async write(
    file: number,
    chunk: number,
    bytes: Uint8Array<ArrayBuffer>,
    hash: Uint8Array<ArrayBuffer>,
  ): Promise<void> {
    await this.#alone("write", file, `write ${file}:${chunk}`, () => {
      const name = `${file}:${chunk}`;
      this.#require(this.#chunks.get(name) === undefined, `chunk ${name} was written twice`);
      this.#require(
        bytes.length === chunkLength(this.#size(file), chunk),
        `chunk ${name} is too long or short`,
      );
      this.written.set(name, (this.written.get(name) ?? 0) + 1);
      this.#chunks.set(name, { bytes, hash });
    });
  }

  async chunkHashes(file: number): Promise<Uint8Array<ArrayBuffer>> {
    const hashes = new Uint8Array(32 * chunkCount(this.#size(file)));
    await this.#alone("chunkHashes", file, `chunkHashes ${file}`, () => {
      this.#require(this.#missing(file).length === 0, `hashes of file ${file} were asked for too early`);
      for (let chunk = 0; chunk < hashes.length / 32; chunk++) {
        hashes.set(this.#chunks.get(`${file}:${chunk}`)?.hash ?? [], 32 * chunk);
      }
    });
    return hashes;
  }

  /** The one act that others may overlap, also of its own kind. */
  async finishFile(file: number): Promise<void> {
    this.acts.push(`finishFile ${file}`);
    this.#require(this.#missing(file).length === 0, `file ${file} was finished too early`);
    this.#require(!this.#finishing.has(file), `finishFile ${file} came twice at once`);
    this.#finishing.add(file);
    this.mostFinishing = Math.max(this.mostFinishing, this.#finishing.size);
    try {
      await this.before("finishFile", file);
      this.finished.add(file);
    } finally {
      this.#finishing.delete(file);
    }
  }

  forgetFile(file: number): Promise<void> {
    return this.#alone("forgetFile", file, `forgetFile ${file}`, () => {
      for (const name of [...this.#chunks.keys()]) {
        if (name.startsWith(`${file}:`)) this.#chunks.delete(name);
      }
    });
  }

  finish(): Promise<void> {
    this.#require(this.#finishing.size === 0, "finish came while files were being finished");
    return this.#alone("finish", -1, "finish", () => {
      this.isFinished = true;
    });
  }

  flush(): Promise<void> {
    this.#require(this.#finishing.size === 0, "flush came while files were being finished");
    return this.#alone("flush", -1, "flush", () => {});
  }

  /** What is in place, as a tree. */
  get tree(): Map<string, Uint8Array<ArrayBuffer> | null> {
    const tree = new Map<string, Uint8Array<ArrayBuffer> | null>();
    for (const [file, { path, kind }] of this.#offer?.entries.entries() ?? []) {
      if (kind === "folder") tree.set(path, null);
      else if (this.finished.has(file)) tree.set(path, this.#content(file));
    }
    return tree;
  }

  #content(file: number): Uint8Array<ArrayBuffer> {
    const content = new Uint8Array(this.#size(file));
    for (let chunk = 0; chunk < chunkCount(content.length); chunk++) {
      content.set(this.#chunks.get(`${file}:${chunk}`)?.bytes ?? [], chunk * CHUNK_BYTES);
    }
    return content;
  }

  #missing(file: number): ChunkRange[] {
    const ranges: ChunkRange[] = [];
    for (let chunk = 0; chunk < chunkCount(this.#size(file)); chunk++) {
      if (this.#chunks.has(`${file}:${chunk}`)) continue;
      const last = ranges.at(-1);
      if (last !== undefined && last.first + last.count === chunk) {
        ranges.splice(-1, 1, { ...last, count: last.count + 1 });
      } else {
        ranges.push({ file, first: chunk, count: 1 });
      }
    }
    return ranges;
  }

  #size(file: number): number {
    return this.#offer?.entries[file]?.sizeBytes ?? 0;
  }

  async #alone(act: SinkAct, file: number, name: string, work: () => void): Promise<void> {
    this.acts.push(name);
    this.#require(this.#offer !== null, `${name} came before an offer was accepted`);
    this.#require(this.#underWay === null, `${name} came during ${this.#underWay}`);
    this.#underWay = name;
    try {
      await this.before(act, file);
      work();
    } finally {
      this.#underWay = null;
    }
  }

  #require(isKept: boolean, complaint: string): void {
    if (!isKept) this.complaints.push(complaint);
  }
}

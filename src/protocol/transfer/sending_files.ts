/**
 * The files of an offer on their way out. Several chunks are being read and hashed at once, in threads of the runtime,
 * and compressed, while the one before them is being sealed and written; they are said in order.
 */
import { CompressionPace } from "./compression_pace.ts";
import { TransferError } from "./errors.ts";
import { fileHash, HASH_BYTES } from "./file_hash.ts";
import { chunkCount, chunkLength, type OfferEntry } from "./offer.ts";
import { type FileProgress, release, type Session, within } from "./session.ts";
import type { Compression, Source } from "./source.ts";
import type { WantedChunks } from "./wanted_chunks.ts";

/** Read and not said: two long chunks. */
const MAX_AHEAD_BYTES = 2 * 1024 * 1024;
/** Steps of small files, of which each waits for the disk. */
const MAX_AHEAD_STEPS = 16;
/** How long what is under way may take to end in a session that has failed. */
const SETTLE_MS = 3_000;

/** What a sending session sends from, and for whom. */
export interface DepartureOptions {
  /** What is read. */
  readonly source: Source;
  /** Asked for each wanted chunk while that is faster. */
  readonly compression: Compression;
  /** All that the receiver wants. */
  readonly wanted: WantedChunks;
  /** So much of a file was said, with what the receiver has of it from before. */
  readonly onSaid: (said: Omit<FileProgress, "receivedBytes">, isWhole: boolean) => void;
  /** The hash of another file is about to be said. */
  readonly onHash: () => void;
}

/** One thing to be said, or a chunk that is read for its hash alone. */
interface Step {
  /** That are read for it, of a file. */
  readonly bytes: number;
  /** Does all that can be done before its turn; what it resolves with is done in its turn. */
  readonly prepare: () => Promise<InTurn>;
}

/** Resolves with how many bytes of a file have gone out, uncompressed. */
type InTurn = () => Promise<number>;

interface Underway {
  readonly bytes: number;
  readonly ready: Promise<InTurn>;
}

/** A file, its hashes as far as they are known, and how much of it was said. */
interface DepartingFile {
  readonly file: number;
  readonly entry: OfferEntry;
  readonly hashes: Uint8Array<ArrayBuffer>;
  /** Settles when all hashes are there that were begun. */
  hashed: Promise<void>;
  bytes: number;
}

/** All files of one offer in one session. */
export class DepartingFiles {
  readonly #session: Session;
  readonly #options: DepartureOptions;
  readonly #pace: CompressionPace;
  readonly #underway: Underway[] = [];
  #underwayBytes = 0;

  /** Nothing was said. */
  constructor(session: Session, options: DepartureOptions) {
    this.#session = session;
    this.#options = options;
    this.#pace = new CompressionPace(session.timers);
  }

  /**
   * Says every wanted chunk and every hash.
   *
   * @throws {TransferError} `changed`, `storage`; what the session ends with
   */
  async sayAll(): Promise<void> {
    const steps = this.#steps();
    try {
      for (let next = this.#prepareAhead(steps, null); this.#underway.length > 0;) {
        await this.#sayFirst();
        next = this.#prepareAhead(steps, next);
      }
    } finally {
      await this.#settle();
    }
  }

  /** Begins as many steps as there is room for; gives the one that there is no room for. */
  #prepareAhead(steps: Iterator<Step, void>, next: Step | null): Step | null {
    for (let step = next ?? steps.next().value; step; step = steps.next().value) {
      if (!this.#hasRoom(step)) return step;
      const ready = step.prepare();
      ready.catch(() => {}); // it may fail before its turn
      this.#underway.push({ bytes: step.bytes, ready });
      this.#underwayBytes += step.bytes;
    }
    return null;
  }

  #hasRoom({ bytes }: Step): boolean {
    return this.#underway.length < MAX_AHEAD_STEPS && this.#underwayBytes + bytes <= MAX_AHEAD_BYTES;
  }

  async #sayFirst(): Promise<void> {
    const first = this.#underway[0];
    if (first === undefined) return;
    const { timers } = this.#session, beganMs = timers.monotonicMs();
    const inTurn = await this.#session.wait(first.ready);
    const preparingMs = timers.monotonicMs() - beganMs;
    this.#underway.shift();
    this.#underwayBytes -= first.bytes;
    const saidBytes = await inTurn();
    if (saidBytes > 0) this.#pace.said(saidBytes, preparingMs);
  }

  /** What is under way when the session fails must not go on behind its back, but may hang with the disk. */
  async #settle(): Promise<void> {
    if (this.#underway.length === 0) return;
    const all = Promise.allSettled(this.#underway.map(({ ready }) => ready));
    await within(this.#session.timers, SETTLE_MS, all);
  }

  *#steps(): Generator<Step, void> {
    for (const [file, entry] of this.#options.source.offer.entries.entries()) {
      if (entry.kind === "folder") continue;
      const hashes = new Uint8Array(HASH_BYTES * chunkCount(entry.sizeBytes));
      const bytes = entry.sizeBytes - this.#options.wanted.bytesOf(file);
      yield* this.#stepsOf({ file, entry, hashes, hashed: Promise.resolve(), bytes });
    }
  }

  /** Wanted chunks first: reading a large part again for its hashes alone must not keep the receiver waiting. */
  *#stepsOf(departing: DepartingFile): Generator<Step, void> {
    for (const chunk of this.#options.wanted.chunksOf(departing.file)) {
      yield this.#chunkStep(departing, chunk, (bytes) => this.#prepareChunk(departing, chunk, bytes));
    }
    for (const chunk of this.#unknownChunks(departing)) {
      yield this.#chunkStep(departing, chunk, (bytes) => this.#prepareHashOnly(departing, chunk, bytes));
    }
    yield { bytes: 0, prepare: () => this.#prepareHash(departing) };
  }

  /** Chunks that are not wanted and must be read all the same; known hashes are put into their places. */
  *#unknownChunks({ file, hashes }: DepartingFile): Generator<number, void> {
    for (let chunk = 0; chunk < hashes.length / HASH_BYTES; chunk++) {
      if (this.#options.wanted.has(file, chunk)) continue;
      const known = this.#options.source.knownHash(file, chunk);
      if (known === null) yield chunk;
      else hashes.set(known, chunk * HASH_BYTES);
    }
  }

  #chunkStep(
    departing: DepartingFile,
    chunk: number,
    prepare: (bytes: Uint8Array<ArrayBuffer>) => Promise<InTurn>,
  ): Step {
    return {
      bytes: chunkLength(departing.entry.sizeBytes, chunk),
      prepare: (): Promise<InTurn> => {
        const ready = this.#read(departing, chunk).then(prepare);
        departing.hashed = bothOf(departing.hashed, ready);
        departing.hashed.catch(() => {}); // looked at by the file's last step
        return ready;
      },
    };
  }

  async #read({ file, entry }: DepartingFile, chunk: number): Promise<Uint8Array<ArrayBuffer>> {
    const bytes = await this.#options.source.read(file, chunk), wanted = chunkLength(entry.sizeBytes, chunk);
    if (bytes.length === wanted) return bytes;
    throw new TransferError(
      "changed",
      `cannot read chunk ${chunk} of file ${file}: found ${bytes.length} bytes, offered were ${wanted}`,
    );
  }

  async #prepareChunk(
    departing: DepartingFile,
    chunk: number,
    bytes: Uint8Array<ArrayBuffer>,
  ): Promise<InTurn> {
    const { length } = bytes;
    const hashing = this.#hash(departing, chunk, bytes); // WebCrypto has copied it
    const compressing = this.#pace.isCompressing ? this.#options.compression.compress(bytes) : bytes;
    await Promise.allSettled([hashing, compressing]); // neither goes on behind the other's failure
    await hashing;
    const body = await compressing;
    return () => this.#sayChunk(departing, chunk, body, length);
  }

  async #prepareHashOnly(
    departing: DepartingFile,
    chunk: number,
    bytes: Uint8Array<ArrayBuffer>,
  ): Promise<InTurn> {
    await this.#hash(departing, chunk, bytes);
    release(bytes);
    return () => Promise.resolve(0);
  }

  async #prepareHash(departing: DepartingFile): Promise<InTurn> {
    const { file, entry, hashes } = departing;
    await departing.hashed;
    // After the last chunk was read: what was changed before is in the hash and would never be noticed.
    await this.#options.source.verifyUnchanged(file);
    const hash = await fileHash(entry.sizeBytes, hashes);
    return () => this.#sayHash(departing, hash);
  }

  async #hash({ file, hashes }: DepartingFile, chunk: number, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
    hashes.set(hash, chunk * HASH_BYTES);
    this.#options.source.keepHash(file, chunk, hash);
  }

  async #sayChunk(
    departing: DepartingFile,
    chunk: number,
    body: Uint8Array<ArrayBuffer>,
    length: number,
  ): Promise<number> {
    await this.#session.sayChunk({ type: "data", file: departing.file, chunk }, body);
    departing.bytes += length;
    this.#options.onSaid({ file: departing.file, fileBytes: departing.bytes }, false);
    return length;
  }

  async #sayHash({ file, bytes }: DepartingFile, hash: Uint8Array<ArrayBuffer>): Promise<number> {
    this.#options.onHash();
    await this.#session.say({ type: "hash", file, hash });
    this.#options.onSaid({ file, fileBytes: bytes }, true);
    return 0;
  }
}

async function bothOf(first: Promise<unknown>, second: Promise<unknown>): Promise<void> {
  await first;
  await second;
}

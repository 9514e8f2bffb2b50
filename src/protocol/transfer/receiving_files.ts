/** The files of an offer as they arrive: decompressed, hashed, written and checked while the next chunks come. */
import { outOfTurn } from "./endings.ts";
import { TransferError } from "./errors.ts";
import { fileHash } from "./file_hash.ts";
import { chunkLength, type Offer, type OfferEntry } from "./offer.ts";
import type { Inbox } from "./receiving_inbox.ts";
import { SinkLane } from "./receiving_lane.ts";
import { type OnSessionEvent, ProgressTeller, release, type Session } from "./session.ts";
import type { Sink } from "./sink.ts";
import type { Compression } from "./source.ts";
import type { WantedChunks } from "./wanted_chunks.ts";

/** Where they go, and through what. */
export interface ArrivalOptions {
  /** Has accepted the offer. */
  readonly sink: Sink;
  /** Asked for each chunk that came shorter than it is. */
  readonly compression: Compression;
  /** Told progress and files. */
  readonly onEvent?: OnSessionEvent | undefined;
}

/** Files that are being put into their places: a sink may make those durable together that are under way at once. */
const MAX_FINISHING = 256;

/** A file, and how much of it is here. */
interface ArrivingFile {
  readonly file: number;
  readonly entry: OfferEntry;
  bytes: number;
}

/** A chunk as the sink takes it. */
interface ReadyChunk {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly hash: Uint8Array<ArrayBuffer>;
}

/** All files of one offer in one session. */
export class ArrivingFiles {
  readonly #session: Session;
  readonly #sink: Sink;
  readonly #compression: Compression;
  readonly #offer: Offer;
  readonly #wanted: WantedChunks;
  readonly #lane: SinkLane;
  readonly #onEvent: OnSessionEvent;
  readonly #progress: ProgressTeller;
  /** Of files that are being put into their places; none of them rejects. */
  readonly #finishing = new Set<Promise<void>>();
  #finished: () => void = () => {};
  #receivedBytes: number;
  /** Most that was shown. */
  #shownBytes = 0;
  /** The chunk that is heard next, and may be on its way; null while that is not so. */
  #next: { readonly arriving: ArrivingFile; readonly length: number } | null = null;

  /** Nothing has arrived. */
  constructor(
    session: Session,
    { sink, compression, onEvent }: ArrivalOptions,
    offer: Offer,
    wanted: WantedChunks,
  ) {
    this.#session = session;
    this.#sink = sink;
    this.#compression = compression;
    this.#offer = offer;
    this.#wanted = wanted;
    this.#lane = new SinkLane(session);
    this.#onEvent = onEvent ?? ((): void => {});
    this.#progress = new ProgressTeller(session.timers, this.#onEvent);
    this.#receivedBytes = offer.totalBytes - wanted.totalBytes;
  }

  /**
   * What has come of the offer, from before included, and with what is here of the chunk that is being read: on a slow
   * link a chunk takes many seconds. For display only; never less than before, as a chunk that is read is not written yet.
   */
  get shownBytes(): number {
    this.#shownBytes = Math.max(this.#shownBytes, this.#receivedBytes + this.#partBytes());
    return this.#shownBytes;
  }

  /** Tells progress while a chunk is on its way. */
  tellPart(): void {
    if (this.#next === null || this.#partBytes() === 0) return;
    const { file, bytes } = this.#next.arriving;
    this.#progress.tell({ receivedBytes: this.shownBytes, file, fileBytes: bytes + this.#partBytes() });
  }

  #partBytes(): number {
    return this.#next === null ? 0 : Math.floor(this.#session.partOfNext * this.#next.length);
  }

  /**
   * Takes every wanted chunk and every hash, in the only order in which they may come; settles when the last one is
   * heard, while the sink may still be at it.
   *
   * @throws {TransferError} `malformed` at anything else; what the sink and the other side end the session with
   */
  async takeAll(inbox: Inbox): Promise<void> {
    for (const [file, entry] of this.#offer.entries.entries()) {
      if (entry.kind === "folder") continue;
      const arriving = { file, entry, bytes: entry.sizeBytes - this.#wanted.bytesOf(file) };
      for (const chunk of this.#wanted.chunksOf(file)) await this.#takeChunk(inbox, arriving, chunk);
      await this.#takeHash(inbox, arriving);
    }
  }

  /** Settles when everything is in its place; what fails on the way fails the session. */
  finish(): Promise<void> {
    this.#lane.add(0, Promise.resolve(), async () => {
      await this.#allFinished();
      if (this.#session.failure === null) await this.#sink.finish();
    });
    return this.#lane.idle();
  }

  /** Settles when no call to the sink is under way. */
  async idle(): Promise<void> {
    await this.#lane.idle();
    await this.#allFinished();
  }

  async #takeChunk(inbox: Inbox, arriving: ArrivingFile, chunk: number): Promise<void> {
    const { file, entry } = arriving, length = chunkLength(entry.sizeBytes, chunk);
    this.#next = { arriving, length };
    const heard = await inbox.next();
    this.#next = null;
    if (!("body" in heard) || heard.message.file !== file || heard.message.chunk !== chunk) {
      throw outOfTurn(heard.message.type, `chunk ${chunk} of file ${file}`);
    }
    const { body } = heard;
    if (body.length > length) throw outOfTurn(`a chunk of ${body.length} bytes`, `one of ${length}`);
    await this.#session.wait(this.#lane.room(length));
    this.#lane.add(length, this.#makeReady(body, length), (ready) => this.#write(arriving, chunk, ready));
  }

  async #takeHash(inbox: Inbox, arriving: ArrivingFile): Promise<void> {
    const { message } = await inbox.next();
    if (message.type !== "hash" || message.file !== arriving.file) {
      throw outOfTurn(message.type, `the hash of file ${arriving.file}`);
    }
    await this.#session.wait(this.#lane.room(0));
    this.#lane.add(0, Promise.resolve(), () => this.#check(arriving, message.hash));
  }

  async #makeReady(body: Uint8Array<ArrayBuffer>, length: number): Promise<ReadyChunk> {
    const bytes = body.length === length ? body : await this.#decompressed(body, length);
    return { bytes, hash: new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)) };
  }

  async #decompressed(body: Uint8Array<ArrayBuffer>, length: number): Promise<Uint8Array<ArrayBuffer>> {
    const bytes = await this.#compression.decompress(body, length);
    release(body);
    if (bytes.length !== length) throw outOfTurn(`a chunk of ${bytes.length} bytes`, `one of ${length}`);
    return bytes;
  }

  async #write(arriving: ArrivingFile, chunk: number, { bytes, hash }: ReadyChunk): Promise<void> {
    const { length } = bytes;
    await this.#sink.write(arriving.file, chunk, bytes, hash);
    this.#receivedBytes += length;
    arriving.bytes += length;
    this.#progress.tell(this.#progressOf(arriving));
  }

  async #check(arriving: ArrivingFile, hash: Uint8Array<ArrayBuffer>): Promise<void> {
    const { file, entry } = arriving;
    const found = await fileHash(entry.sizeBytes, await this.#sink.chunkHashes(file));
    if (!isSame(found, hash)) {
      await this.#sink.forgetFile(file);
      throw new TransferError(
        "hash",
        `file ${file} of the offer is not the file that was sent: its hash is another`,
      );
    }
    if (this.#finishing.size >= MAX_FINISHING) await new Promise<void>((settle) => this.#finished = settle);
    const finishing = this.#finishFile(arriving);
    this.#finishing.add(finishing);
    finishing.then(() => {
      this.#finishing.delete(finishing);
      this.#finished();
    });
  }

  async #finishFile(arriving: ArrivingFile): Promise<void> {
    try {
      await this.#sink.finishFile(arriving.file);
      this.#progress.tellNow(this.#progressOf(arriving));
      this.#onEvent({ event: "file_done", file: arriving.file });
    } catch (error) {
      this.#session.fail(error);
    }
  }

  async #allFinished(): Promise<void> {
    for (const finishing of this.#finishing) await finishing;
  }

  #progressOf({ file, bytes }: ArrivingFile): { receivedBytes: number; file: number; fileBytes: number } {
    return { receivedBytes: this.shownBytes, file, fileBytes: bytes };
  }
}

function isSame(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, at) => byte === b[at]);
}

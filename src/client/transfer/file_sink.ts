/**
 * Received files, on their way into a folder:
 *
 *   offer -> names, sums (file_sink_offer) -> working folder, list of an earlier run (working_folder, chunk_list)
 *         -> what is in the target folder (file_sink_restore) -> room (free_space) -> the user
 *   chunk -> data file (file_sink_data) -> fsync, list (file_sink_keeper)
 *   file  -> its place (placing)
 *
 * The working folder outlives the process until `close` after everything is in place, so that a receiver which is
 * killed before the sender heard that it has all finds all of it when it is started again.
 */
import { systemTimers, type Timers } from "../../protocol/rpc/timers.ts";
import { TransferError, type TransferErrorCode } from "../../protocol/transfer/errors.ts";
import { DEFAULT_LIMITS, type TransferLimits } from "../../protocol/transfer/limits.ts";
import type { ChunkRange, Offer } from "../../protocol/transfer/offer.ts";
import type { Sink } from "../../protocol/transfer/sink.ts";
import { targetPath } from "../../protocol/transfer/target_path.ts";
import { type Clock, systemClock } from "../../system/clock.ts";
import { joinPath } from "../../system/path.ts";
import { ChunkList } from "./chunk_list.ts";
import { DataFiles } from "./file_sink_data.ts";
import { KeptFiles } from "./file_sink_kept.ts";
import { judgeFiles, judgeText, offerFingerprint } from "./file_sink_offer.ts";
import { type ListedFiles, missingBytes, readList, removePlaced, settle } from "./file_sink_restore.ts";
import { TextInMemory } from "./file_sink_text.ts";
import { FileSinkWork } from "./file_sink_work.ts";
import { freeSpace, requireSpace } from "./free_space.ts";
import { Placing, type PlacingOptions } from "./placing.ts";
import { encodePairing } from "./received_pairing.ts";
import { REFUSALS } from "./refusals.ts";
import { WorkingFolder } from "./working_folder.ts";

/** What is received, and where it goes. */
export interface FileSinkOptions {
  /** Absolute path of the target folder; made if it is missing. */
  readonly folder: string;
  /** Of the transfer, 32 bytes. */
  readonly resumeSecret: Uint8Array<ArrayBuffer>;
  /** By which the code is known again, of `codeTag`; null: the working folder is not looked for by a code. */
  readonly codeTag: string | null;
  /** Whether files that are there are replaced. @default false */
  readonly overwrite?: boolean | undefined;
  /** Whether names that begin with a dot are accepted. @default false */
  readonly hidden?: boolean | undefined;
  /** Asked once, when an offer could be written; not again for one that was accepted in an earlier run. */
  readonly confirm?: ((offer: Offer) => Promise<boolean>) | null | undefined;
  /** @default DEFAULT_LIMITS */
  readonly limits?: TransferLimits | undefined;
  /** @default systemTimers */
  readonly timers?: Timers | undefined;
  /** @default systemClock */
  readonly clock?: Clock | undefined;
  /** A seam for tests. */
  readonly link?: PlacingOptions["link"];
}

/** After these, before anything was accepted, the sender has nothing more for us: there is nothing to keep. */
const FINAL: ReadonlySet<TransferErrorCode> = new Set<TransferErrorCode>([...REFUSALS, "malformed"]);

/** An offer that was accepted, or is about to be. */
interface Accepted {
  readonly fingerprint: string;
  readonly isReady: Promise<void>;
}

/** Puts what is received into a folder; a text is kept in memory. */
export class FileSink implements Sink, AsyncDisposable {
  readonly #options: FileSinkOptions;
  #opening: Promise<WorkingFolder> | null = null;
  #accepted: Accepted | null = null;
  #work: FileSinkWork | null = null;
  #text: TextInMemory | null = null;
  #paths: readonly string[] = [];
  /** Counts the offers that were judged; an answer to an earlier one counts for nothing. */
  #attempt = 0;
  #isRefused = false;
  #isClosed = false;

  /** Touches nothing yet. */
  constructor(options: FileSinkOptions) {
    this.#options = options;
  }

  /** The text that was received; null if none was, or not all of it. */
  get text(): string | null {
    return this.#text?.text ?? null;
  }

  /** Where the files and folders at the top of the accepted offer are put, in its order; none for a text. */
  get paths(): readonly string[] {
    return this.#paths;
  }

  /** Whether everything was received and is in place. */
  get isComplete(): boolean {
    return this.#work?.isComplete ?? this.text !== null;
  }

  /**
   * Opens the working folder, as `accept` does if it is not open by then.
   *
   * @throws {TransferError} `storage`, also if another process receives into it; `space`
   */
  async open(): Promise<void> {
    await this.#folder();
  }

  async accept(offer: Offer): Promise<readonly ChunkRange[]> {
    const fingerprint = offerFingerprint(offer);
    const accepted = this.#accepted ??= this.#accept(offer, fingerprint);
    if (accepted.fingerprint !== fingerprint.toHex()) {
      await this.#giveUp();
      throw changed();
    }
    await accepted.isReady;
    return this.#text?.missing() ?? this.#accepting().missing();
  }

  async write(
    file: number,
    chunk: number,
    bytes: Uint8Array<ArrayBuffer>,
    hash: Uint8Array<ArrayBuffer>,
  ): Promise<void> {
    if (this.#text !== null) this.#text.write(bytes, hash);
    else await this.#accepting().write(file, chunk, bytes, hash);
  }

  async chunkHashes(file: number): Promise<Uint8Array<ArrayBuffer>> {
    return this.#text?.chunkHashes() ?? await this.#accepting().chunkHashes(file);
  }

  async finishFile(file: number): Promise<void> {
    if (this.#text !== null) this.#text.finish();
    else await this.#accepting().finishFile(file);
  }

  async forgetFile(file: number): Promise<void> {
    if (this.#text !== null) this.#text.forget();
    else await this.#accepting().forgetFile(file);
  }

  async finish(): Promise<void> {
    if (this.#text === null) await this.#accepting().finish();
  }

  async flush(): Promise<void> {
    await this.#work?.flush();
  }

  /**
   * Gives everything back. What can be gone on with stays in the working folder; if nothing can, because all is in its
   * place, nothing was accepted, or the user refused, the working folder is removed. To be called once nothing else is
   * under way, but for an `accept` that waits for the user.
   *
   * @throws {TransferError} `storage` if the folder could not be removed
   */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    await this.#work?.close();
    const isOver = this.isComplete || this.#isRefused;
    const folder = await this.#folderToClose(isOver);
    if (folder === null) return;
    if (isOver || (folder.isNew && this.#work === null)) folder.remove();
    else folder.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #accept(offer: Offer, fingerprint: Uint8Array): Accepted {
    const isReady = this.#begin(offer, fingerprint);
    const accepted = { fingerprint: fingerprint.toHex(), isReady };
    isReady.catch(() => {
      if (this.#accepted === accepted) this.#accepted = null;
    });
    return accepted;
  }

  async #begin(offer: Offer, fingerprint: Uint8Array): Promise<void> {
    const attempt = ++this.#attempt;
    const { hidden = false, limits = DEFAULT_LIMITS } = this.#options;
    let old: ChunkList | null = null;
    try {
      if (offer.kind === "text") return await this.#beginText(offer, attempt);
      await judgeFiles(offer, { hidden, limits });
      const folder = await this.#folder();
      old = await ChunkList.open(folder.listPath);
      await this.#beginIn(folder, old, { offer, fingerprint, attempt });
    } catch (error) {
      old?.close();
      if (old === null && error instanceof TransferError && FINAL.has(error.code)) this.#isRefused = true;
      throw error;
    }
  }

  async #beginText(offer: Offer, attempt: number): Promise<void> {
    judgeText(offer, this.#options.limits ?? DEFAULT_LIMITS);
    await this.#askUser(offer, attempt);
    this.#text = new TextInMemory(offer.totalBytes);
  }

  async #beginIn(
    folder: WorkingFolder,
    old: ChunkList | null,
    { offer, fingerprint, attempt }: { offer: Offer; fingerprint: Uint8Array; attempt: number },
  ): Promise<void> {
    if (old !== null && old.fingerprint.toHex() !== fingerprint.toHex()) {
      await folder.clear();
      throw changed();
    }
    const listed = old === null ? nothingListed(offer) : await readList(old, offer);
    const data = new DataFiles(folder);
    const { folder: target, overwrite = false, link, timers = systemTimers } = this.#options;
    const news = await settle({ ...listed, offer, target, overwrite, data, isFirst: old === null });
    await this.#requireSpace(offer, listed);
    if (old === null) await this.#askUser(offer, attempt);
    const list = old ?? await this.#newList(folder, fingerprint);
    try {
      if (news.length > 0) await list.add(news);
      await list.sync();
      removePlaced(data, listed.kept);
    } catch (error) {
      if (old === null) list.close();
      throw error;
    }
    const placing = new Placing(target, { overwrite, link });
    this.#work = new FileSinkWork({ ...listed, offer, folder, list, data, placing, timers });
    this.#paths = topPaths(offer, target);
  }

  async #newList(folder: WorkingFolder, fingerprint: Uint8Array): Promise<ChunkList> {
    const { codeTag, resumeSecret, folder: target, clock = systemClock } = this.#options;
    if (codeTag !== null) {
      const timeMs = clock.wallMs();
      await folder.keepPairing(encodePairing({ codeTag, resumeSecret, target, timeMs, state: "proven" }));
    }
    await folder.clear(); // of what a crash left before a list was begun as a whole
    const list = await ChunkList.create(folder.listPath, fingerprint);
    await folder.sync();
    return list;
  }

  async #requireSpace(offer: Offer, { kept }: ListedFiles): Promise<void> {
    const { folder } = this.#options;
    const free = await freeSpace(folder);
    if (free !== null) requireSpace(folder, missingBytes(offer, kept), free);
  }

  /** The user may take so long that nobody waits for the answer any more. */
  async #askUser(offer: Offer, attempt: number): Promise<void> {
    const { confirm = null } = this.#options;
    const isAccepted = confirm === null || await confirm(offer);
    if (this.#isClosed || this.#attempt !== attempt) {
      throw new TransferError("cancelled", "cannot accept the offer: the transfer is over");
    }
    if (isAccepted) return;
    throw new TransferError("refused", "the offer was not accepted");
  }

  #folder(): Promise<WorkingFolder> {
    this.#opening ??= WorkingFolder.open(this.#options.folder, this.#options.resumeSecret);
    return this.#opening;
  }

  /** A text has no use for the folder, but its pairing may be in one. */
  async #folderToClose(isOver: boolean): Promise<WorkingFolder | null> {
    const { folder, resumeSecret } = this.#options;
    if (this.#opening !== null) return await this.#opening.catch(() => null);
    return isOver ? await WorkingFolder.openExisting(folder, resumeSecret) : null;
  }

  #accepting(): FileSinkWork {
    if (this.#work === null) throw new TypeError("cannot receive: no offer was accepted");
    return this.#work;
  }

  async #giveUp(): Promise<void> {
    this.#accepted = null;
    this.#attempt++;
    this.#text = null;
    await this.#work?.close();
    if (this.#work !== null) await (await this.#folder()).clear();
    this.#work = null;
  }
}

function nothingListed({ entries }: Offer): ListedFiles {
  return { kept: new KeptFiles(entries), found: new Set() };
}

function changed(): TransferError {
  return new TransferError(
    "changed",
    "the offer is not the one that was accepted before: what was kept of that is given up",
  );
}

function topPaths({ entries }: Offer, target: string): string[] {
  const names = new Set(entries.map(({ path }) => targetPath(path)[0] ?? ""));
  return [...names].map((name) => joinPath(target, name));
}

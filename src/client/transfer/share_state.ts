/**
 * What a share remembers, so that the same command goes on where it was interrupted, and so that no code is ever good
 * for a second guess:
 *
 *   offerCode      the code             durable before anybody is told it
 *   spend          a guess has begun    durable before the guess is looked at
 *   proven         and it was right     durable before the other side is answered
 *   finished       has everything       the receiver is not waited for again
 *   forget         all have             everything is removed
 *
 * A code may be offered only while every guess that has begun was right. Who is killed between `spend` and `proven` has
 * a guess of which nobody knows: the code is gone, but the secret that came of it is tried, as only somebody who knows
 * the code can have it too.
 */
import { TransferError } from "../../protocol/transfer/errors.ts";
import type { PairingMemory } from "../../protocol/transfer/memory.ts";
import { type FileLayer, systemFiles, writeFileDurably } from "../../system/durable_file.ts";
import { describeError } from "../../system/failure.ts";
import { joinPath } from "../../system/path.ts";
import type { FileList } from "./file_source_list.ts";
import { HashJournal } from "./hash_journal.ts";
import { ChunkHashes } from "./share_state_hashes.ts";
import { RECORD_NAME, type SharePlace } from "./share_state_place.ts";
import { formatRecord, type KeptPairing, parseRecord, type ShareRecord } from "./share_state_record.ts";

/**
 * What was found of an earlier run:
 * - `new`: nothing
 * - `again`: it goes on
 * - `changed`: something else lies there now; it starts over with a new code
 * - `spent`: its code was used for a wrong guess and nobody is left to go on with; it starts over with a new code
 */
export type FoundShare = "new" | "again" | "changed" | "spent";

/** What a state is opened for. */
export interface ShareStateOptions {
  /** How many may receive it. */
  readonly receivers: number;
  /** What is shared, as it is now. */
  readonly files: FileList;
  /** What is shared, 32 bytes. */
  readonly fingerprint: Uint8Array<ArrayBuffer>;
  /** See `ShareRecord`. @default null */
  readonly modifiedMs?: number | null;
  /** Goes on with nothing of an earlier run. @default false */
  readonly isFresh?: boolean;
  /** The disk, for tests. @default systemFiles */
  readonly layer?: FileLayer;
}

/** What there is to say about it. */
const NOTICES: Readonly<Record<FoundShare, string | null>> = {
  new: null,
  again: null,
  changed: "what is shared was changed since it was shared before: it starts over, with a new code",
  spent: "the code of before was used for a wrong guess: it starts over, with a new code",
};
const MAX_SPENT_CODES = 100;
const HASHES_NAME = "hashes";

interface Opened {
  readonly record: ShareRecord;
  readonly found: FoundShare;
  readonly hashes: ChunkHashes;
  readonly journal: HashJournal | null;
  readonly notices: readonly string[];
}

/** The state of one share, kept in its place, or in memory where there is none. */
export class ShareState implements AsyncDisposable {
  /** What was found of an earlier run. */
  readonly found: FoundShare;
  /** What the user should know, a line each. */
  readonly notices: readonly string[];
  /** Chunk hashes from before, and those to come. */
  readonly hashes: ChunkHashes;
  /** Secrets of the receivers that have begun before and are not done; they are receivers 1 and up. */
  readonly resume: readonly Uint8Array<ArrayBuffer>[];
  readonly #place: SharePlace;
  readonly #receivers: number;
  readonly #layer: FileLayer;
  readonly #journal: HashJournal | null;
  /** By the receiver's number in this run. */
  readonly #secrets = new Map<number, Uint8Array<ArrayBuffer>>();
  #record: ShareRecord;
  #writing: Promise<void> = Promise.resolve();

  private constructor(place: SharePlace, options: ShareStateOptions, opened: Opened) {
    this.#place = place;
    this.#receivers = options.receivers;
    this.#layer = options.layer ?? systemFiles;
    this.#record = opened.record;
    this.#journal = opened.journal;
    this.hashes = opened.hashes;
    this.found = opened.found;
    this.notices = opened.notices;
    this.resume = opened.record.pairings.map(({ secret }) => secret);
    this.resume.forEach((secret, index) => this.#secrets.set(index + 1, secret));
  }

  /** Reads what an earlier run left in the place, as far as it is of use; never fails for what it finds there. */
  static async open(place: SharePlace, options: ShareStateOptions): Promise<ShareState> {
    const earlier = await readRecord(place);
    const { record, found } = judged(earlier.record, options);
    const hashes = new ChunkHashes(options.files.entries);
    const { journal, notice } = await openJournal(place, options, hashes);
    const notices = [place.notice, earlier.notice, NOTICES[found], notice].filter((each) => each !== null);
    return new ShareState(place, options, { record, found, hashes, journal, notices });
  }

  /** The code of an earlier run, if it may still be offered; null: one is to be made, if any may be admitted. */
  get code(): string | null {
    return this.#record.openGuesses === 0 && this.admissible > 0 ? this.#record.code : null;
  }

  /** The code by which receivers of an earlier run came, who go on with it; null if there are none. */
  get usedCode(): string | null {
    return this.#record.pairings.length > 0 ? this.#record.code : null;
  }

  /** Whether all receivers have come, and nobody is left to go on with. */
  get isOver(): boolean {
    const { admitted, pairings, openGuesses } = this.#record;
    return admitted >= this.#receivers && pairings.length === 0 && openGuesses === 0;
  }

  /** How many receivers may still be let in by a code. */
  get admissible(): number {
    const { admitted, pairings } = this.#record;
    // The guess of which nothing is known may have been the receiver that was expected.
    return Math.max(0, this.#receivers - admitted - pairings.filter(({ isProven }) => !isProven).length);
  }

  /**
   * Keeps the code that is about to be told.
   *
   * @throws {TransferError} `spent` if it was used for a guess before
   * @throws {Failure} if it cannot be kept
   */
  async offerCode(code: string): Promise<void> {
    if (this.code === code) return;
    const spentCodes = spentCodesOf(this.#record);
    if (spentCodes.includes(code)) {
      throw new TransferError("spent", "could not offer this code: it was used for a guess before");
    }
    await this.#change((record) => ({ ...record, code, openGuesses: 0, spentCodes }));
  }

  /** What the pairing with a receiver has to keep; its promises settle when it is durable. */
  memoryOf(receiver: number): PairingMemory {
    return {
      spend: (secret): Promise<void> => this.#spend(receiver, secret.slice()),
      proven: (): Promise<void> => this.#setProven(receiver, 1),
    };
  }

  /** A receiver of an earlier run has come back by its secret: so its guess was right. */
  async paired(receiver: number): Promise<void> {
    if (this.#pairing(receiver)?.isProven === false) await this.#setProven(receiver, 0);
  }

  /** A receiver has everything, or will not have it: no later run waits for it. */
  async finished(receiver: number): Promise<void> {
    await this.paired(receiver).catch(() => {});
    const done = this.#pairing(receiver);
    if (done === undefined) return;
    const pairings = this.#record.pairings.filter((each) => each !== done);
    // A receiver that has everything is no failure, whatever the disk says: a later run waits for it in vain, at worst.
    await this.#change((record) => ({ ...record, pairings })).catch(() => {});
  }

  /** Everybody has everything: removes all that was kept. */
  async forget(): Promise<void> {
    await this.#settle();
    this.#place.remove();
  }

  /** Leaves what the next run can go on with. A guess that was not found to be right by now never will be. */
  async close(): Promise<void> {
    const pairings = this.#record.pairings.filter(({ isProven }) => isProven);
    const isShorter = pairings.length < this.#record.pairings.length;
    if (isShorter) await this.#change((record) => ({ ...record, pairings })).catch(() => {});
    await this.#settle();
    this.#place[Symbol.dispose]();
  }

  /** The same as `close`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #spend(receiver: number, secret: Uint8Array<ArrayBuffer>): Promise<void> {
    this.#secrets.set(receiver, secret);
    return this.#change((record) => ({
      ...record,
      openGuesses: record.openGuesses + 1,
      pairings: [...record.pairings, { secret, isProven: false }],
    }));
  }

  #setProven(receiver: number, guesses: number): Promise<void> {
    const proven = this.#pairing(receiver);
    return this.#change((record) => ({
      ...record,
      openGuesses: record.openGuesses - guesses,
      admitted: record.admitted + 1,
      pairings: record.pairings.map((each) => each === proven ? { ...each, isProven: true } : each),
    }));
  }

  #pairing(receiver: number): KeptPairing | undefined {
    const secret = this.#secrets.get(receiver);
    return this.#record.pairings.find((each) => each.secret === secret);
  }

  /** Changes the record in memory at once, and settles when it is durable as it is then, or newer. */
  #change(change: (record: ShareRecord) => ShareRecord): Promise<void> {
    this.#record = change(this.#record);
    const written = this.#writing.then(() => this.#write());
    this.#writing = written.catch(() => {});
    return written;
  }

  async #write(): Promise<void> {
    if (this.#place.path === null) return;
    const bytes = new TextEncoder().encode(formatRecord(this.#record));
    const path = joinPath(this.#place.path, RECORD_NAME);
    await writeFileDurably(path, bytes, { soleWriter: true, files: this.#layer });
  }

  async #settle(): Promise<void> {
    await this.#writing;
    await this.#journal?.close();
  }
}

/**
 * What is kept of a stream that was shared before, from its place; null if nothing.
 *
 * @returns when the same content came to its end the first time, as its offer said
 */
export async function earlierEnd(
  place: SharePlace,
  fingerprint: Uint8Array<ArrayBuffer>,
): Promise<number | null> {
  const { record } = await readRecord(place);
  return record !== null && isSame(record.fingerprint, fingerprint) ? record.modifiedMs : null;
}

async function readRecord(
  { path }: SharePlace,
): Promise<{ readonly record: ShareRecord | null; readonly notice: string | null }> {
  if (path === null) return { record: null, notice: null };
  try {
    return { record: parseRecord(await Deno.readTextFile(joinPath(path, RECORD_NAME))), notice: null };
  } catch (error) {
    const isNone = error instanceof Deno.errors.NotFound;
    return { record: null, notice: isNone ? null : `${describeError(error)}; it starts over` };
  }
}

/** What this run begins with. */
function judged(
  earlier: ShareRecord | null,
  options: ShareStateOptions,
): { readonly record: ShareRecord; readonly found: FoundShare } {
  const begun: ShareRecord = {
    fingerprint: options.fingerprint,
    modifiedMs: options.modifiedMs ?? null,
    code: null,
    openGuesses: 0,
    admitted: 0,
    pairings: [],
    spentCodes: earlier === null ? [] : spentCodesOf(earlier),
  };
  if (earlier === null || options.isFresh === true) return { record: begun, found: "new" };
  const isNobodyLeft = earlier.pairings.length === 0;
  // Killed when all was done, but not yet forgotten.
  if (isNobodyLeft && earlier.admitted >= options.receivers) return { record: begun, found: "new" };
  if (!isSame(earlier.fingerprint, options.fingerprint)) return { record: begun, found: "changed" };
  return { record: earlier, found: isNobodyLeft && earlier.openGuesses > 0 ? "spent" : "again" };
}

/** The codes that must not be offered in another share: each was guessed at, right or wrong. */
function spentCodesOf({ code, openGuesses, admitted, spentCodes }: ShareRecord): readonly string[] {
  const isUsed = openGuesses > 0 || admitted > 0;
  return (code !== null && isUsed ? [...spentCodes, code] : spentCodes).slice(-MAX_SPENT_CODES);
}

async function openJournal(
  { path }: SharePlace,
  { fingerprint, isFresh = false }: ShareStateOptions,
  hashes: ChunkHashes,
): Promise<{ readonly journal: HashJournal | null; readonly notice: string | null }> {
  if (path === null) return { journal: null, notice: null };
  const journalPath = joinPath(path, HASHES_NAME);
  try {
    if (isFresh) await Deno.remove(journalPath).catch(() => {}); // there may be none
    const journal = await HashJournal.open(
      journalPath,
      fingerprint,
      (chunk, hash) => hashes.put(chunk, hash),
    );
    hashes.keepIn(journal);
    return { journal, notice: null };
  } catch (error) {
    const reason = describeError(error);
    return {
      journal: null,
      notice: `could not keep what is needed to go on fast after a restart: ${reason}`,
    };
  }
}

function isSame(a: Uint8Array, b: Uint8Array): boolean {
  return a.toHex() === b.toHex();
}

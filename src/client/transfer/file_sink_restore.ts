/**
 * What an earlier run has left, held against what is there now: the list tells what was received and placed, the
 * target folder may have been changed by anybody since.
 */
import { TransferError } from "../../protocol/transfer/errors.ts";
import { CHUNK_BYTES, chunkLength, type Offer, type OfferEntry } from "../../protocol/transfer/offer.ts";
import { targetPath } from "../../protocol/transfer/target_path.ts";
import type { ChunkList } from "./chunk_list.ts";
import type { FileStamp, ListRecord } from "./chunk_list_records.ts";
import type { DataFiles } from "./file_sink_data.ts";
import { type KeptFile, KeptFiles } from "./file_sink_kept.ts";
import { forEachEntry } from "./file_sink_offer.ts";
import { TargetSurvey } from "./placing_survey.ts";

/** What the list says. */
export interface ListedFiles {
  readonly kept: KeptFiles;
  /** Numbers of the folders that were there before the transfer. */
  readonly found: Set<number>;
}

/**
 * Reads the list of an offer.
 *
 * @throws {TransferError} `storage` if it says what this offer cannot have
 */
export async function readList(list: ChunkList, offer: Offer): Promise<ListedFiles> {
  const kept = new KeptFiles(offer.entries);
  const found = new Set<number>();
  await list.readAll((record, number) => {
    if (!isPossible(record, offer.entries)) throw impossible(number);
    switch (record.kind) {
      case "found":
        found.add(record.file);
        break;
      case "chunk":
        kept.of(record.file).add(record.chunk, record.hash);
        kept.of(record.file).note(number);
        break;
      case "forgotten":
        kept.forget(record.file);
        break;
      case "linking":
      case "renaming":
        kept.of(record.file).placing = record.stamp;
        // For good: a later run finds out only when it links that there are no links.
        kept.of(record.file).isReserving ||= record.kind === "renaming";
        break;
      case "placed":
        kept.of(record.file).placed = record.stamp;
    }
  });
  return { kept, found };
}

function isPossible(record: ListRecord, entries: readonly OfferEntry[]): boolean {
  if (record.kind === "begun") return false;
  const entry = entries[record.file];
  if (entry === undefined || (entry.kind === "folder") !== (record.kind === "found")) return false;
  return record.kind !== "chunk" || record.chunk * CHUNK_BYTES < entry.sizeBytes;
}

function impossible(number: number): TransferError {
  return new TransferError(
    "storage",
    `cannot go on with the list of chunks: record ${number} is not about what is offered`,
  );
}

/** What is to be settled, and by what. */
export interface Settling extends ListedFiles {
  readonly offer: Offer;
  readonly target: string;
  readonly overwrite: boolean;
  readonly data: DataFiles;
  /** Whether there was no list before. */
  readonly isFirst: boolean;
}

/**
 * Looks at the place of each entry, and settles what is true of it now: files that are in place and unchanged are
 * placed, what has no data any more is forgotten, data without a record counts for nothing.
 *
 * @returns what the list does not say yet
 * @throws {TransferError} `exists`, `path`, `storage`
 */
export async function settle(settling: Settling): Promise<ListRecord[]> {
  const survey = new TargetSurvey(settling.target);
  const present = settling.data.present();
  const records: ListRecord[] = [];
  await forEachEntry(settling.offer, (entry, number) => {
    const there = survey.look(targetPath(entry.path));
    const record = entry.kind === "folder"
      ? settleFolder(settling, number, there)
      : settleFile(settling, { number, entry, there, hasData: present.has(number) });
    if (record === "taken") survey.note(entry.path);
    else if (record !== null) records.push(record);
  });
  survey.requireNothingNoted();
  return records;
}

/**
 * Takes away the data of files that are in place, once the list says so durably: until then it is by the data that
 * they are known to be ours.
 *
 * @throws {TransferError} `storage`
 */
export function removePlaced(data: DataFiles, kept: KeptFiles): void {
  for (const file of data.present()) {
    if (kept.isPlaced(file)) data.remove(file);
  }
}

function settleFolder(
  { found, isFirst }: Settling,
  file: number,
  there: Deno.FileInfo | null,
): ListRecord | "taken" | null {
  if (there === null) return null;
  if (!there.isDirectory) return "taken";
  if (!isFirst) return null;
  found.add(file);
  return { kind: "found", file };
}

/** One file of the offer, and what is at its place. */
interface FoundFile {
  readonly number: number;
  readonly entry: OfferEntry;
  readonly there: Deno.FileInfo | null;
  readonly hasData: boolean;
}

function settleFile(settling: Settling, found: FoundFile): ListRecord | "taken" | null {
  const { kept, data, overwrite } = settling;
  const { number: file, entry, there } = found;
  const begun = kept.ofBegun(file);
  const isRecorded = begun !== null && begun.placed !== null;
  const own = found.hasData ? data.look(file) : null;
  if (there !== null && isOurs(entry, there, own, begun)) {
    kept.place(file);
    return isRecorded ? null : { kind: "placed", file, stamp: stampOf(there) };
  }
  let record: ListRecord | null = null;
  if (begun !== null && !isBacked(begun, entry, own)) {
    kept.forget(file);
    record = { kind: "forgotten", file };
  } else if (begun !== null) {
    data.know(file);
  }
  if (there === null || (there.isFile && (overwrite || isReserved(there, own, begun)))) return record;
  return "taken";
}

/** Whether what is at a file's place was put there by us, and nobody has changed it since. */
function isOurs(
  entry: OfferEntry,
  there: Deno.FileInfo,
  own: Deno.FileInfo | null,
  begun: KeptFile | null,
): boolean {
  if (begun === null || !there.isFile || there.size !== entry.sizeBytes) return false;
  if (begun.placed !== null) return isSame(there, begun.placed);
  if (begun.placing === null || !isSame(there, begun.placing)) return false;
  // In its place, and no record says so yet: renamed, or linked, so that both names are there.
  return own === null || (own.ino !== null && own.ino === there.ino && own.dev === there.dev);
}

/** Whether the place is ours, and the file has not come to it. */
function isReserved(there: Deno.FileInfo, own: Deno.FileInfo | null, begun: KeptFile | null): boolean {
  return there.size === 0 && own !== null && begun?.isReserving === true;
}

/**
 * Whether there is data for every chunk that the list has. Data of a complete file that was changed since is none: it
 * may have been linked to its place, where anybody can change it.
 */
function isBacked(begun: KeptFile, entry: OfferEntry, own: Deno.FileInfo | null): boolean {
  if (own === null || !own.isFile) return false;
  if (begun.placing !== null && !isSame(own, begun.placing)) return false;
  return own.size >= endOfChunks(begun, entry);
}

function endOfChunks({ chunks }: KeptFile, { sizeBytes }: OfferEntry): number {
  const last = [...chunks.missing()].at(-1);
  // Behind the last run that is missing there is nothing, or all up to the end.
  if (last === undefined || last.first + last.count < chunks.count) return sizeBytes;
  const chunk = last.first - 1;
  return chunk < 0 ? 0 : chunk * CHUNK_BYTES + chunkLength(sizeBytes, chunk);
}

function isSame(there: Deno.FileInfo, stamp: FileStamp): boolean {
  const { sizeBytes, modifiedMs } = stampOf(there);
  return sizeBytes === stamp.sizeBytes && modifiedMs === stamp.modifiedMs;
}

function stampOf({ size, mtime }: Deno.FileInfo): FileStamp {
  return { sizeBytes: size, modifiedMs: mtime?.getTime() ?? 0 };
}

/** How many bytes are missing of each file that is not in its place. */
export function* missingBytes({ entries }: Offer, kept: KeptFiles): Generator<number> {
  for (const [file, entry] of entries.entries()) {
    if (entry.kind === "folder" || kept.isPlaced(file)) continue;
    const begun = kept.ofBegun(file);
    let bytes = 0;
    for (const { first, count } of begun?.chunks.missing() ?? []) {
      bytes += Math.min((first + count) * CHUNK_BYTES, entry.sizeBytes) - first * CHUNK_BYTES;
    }
    yield begun === null ? entry.sizeBytes : bytes;
  }
}

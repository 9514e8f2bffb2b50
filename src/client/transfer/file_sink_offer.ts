/** What an offer must be before any of it is written, as far as that can be told without looking at the target folder. */
import { sha256 } from "@noble/hashes/sha2.js";
import { HIDDEN_NAME_FOUND } from "../../protocol/transfer/endings.ts";
import { TransferError } from "../../protocol/transfer/errors.ts";
import type { TransferLimits } from "../../protocol/transfer/limits.ts";
import { NameCollisions } from "../../protocol/transfer/name_collisions.ts";
import type { Offer, OfferEntry } from "../../protocol/transfer/offer.ts";
import { MAX_TEXT_BYTES } from "../../protocol/transfer/offer_check.ts";
import { isHiddenPath, shownPath, targetPath } from "../../protocol/transfer/target_path.ts";

/** As many entries are looked at in one go; then heartbeats and timers have their turn. */
export const ENTRIES_AT_ONCE = 2000;
const NUMBER_BYTES = 8;
const ENTRY_NUMBERS = 4;
const LABEL = "postern offer 1";

/** What is accepted of an offer. */
export interface OfferRules {
  /** Whether names that begin with a dot are. */
  readonly hidden: boolean;
  readonly limits: TransferLimits;
}

/**
 * Judges an offer of files: its sums and its names.
 *
 * @throws {TransferError} `limit`, `malformed`, `path`, `collision`
 */
export async function judgeFiles(offer: Offer, rules: OfferRules): Promise<void> {
  requireWithin(offer, rules.limits);
  const names = new NameCollisions();
  await forEachEntry(offer, (entry) => {
    const path = targetPath(entry.path);
    if (!rules.hidden && isHiddenPath(entry.path)) {
      throw new TransferError(
        "path",
        `cannot accept the path ${shownPath(entry.path)}: found ${HIDDEN_NAME_FOUND}`,
      );
    }
    names.add(path, entry.kind);
  });
}

/**
 * Judges an offer of a text. Its name is not looked at, as it is used for nothing.
 *
 * @throws {TransferError} `limit`, `malformed`
 */
export function judgeText(offer: Offer, limits: TransferLimits): void {
  requireWithin(offer, limits);
  if (offer.entries.length !== 1 || offer.entries[0]?.kind !== "file") {
    throw malformed("found a text that is not one file");
  }
  if (offer.totalBytes > MAX_TEXT_BYTES) {
    throw limit(`found a text of ${offer.totalBytes} bytes, accepted are ${MAX_TEXT_BYTES}`);
  }
}

/** Looks at each entry, with pauses. */
export async function forEachEntry(
  offer: Offer,
  look: (entry: OfferEntry, number: number) => void,
): Promise<void> {
  for (const [number, entry] of offer.entries.entries()) {
    if (number > 0 && number % ENTRIES_AT_ONCE === 0) await new Promise((resolve) => setTimeout(resolve, 0));
    look(entry, number);
  }
}

/** By which an offer is known again: SHA-256 over all that it says, 32 bytes. */
export function offerFingerprint(offer: Offer): Uint8Array {
  const hash = sha256.create().update(encoded(`${LABEL} ${offer.kind}`));
  hash.update(numbers(offer.entries.length, offer.totalBytes));
  for (const { kind, path, sizeBytes, modifiedMs, mode } of offer.entries) {
    const name = encoded(path);
    hash.update(numbers(kind === "folder" ? 1 : 0, sizeBytes, modifiedMs, mode * 2 ** 32 + name.length));
    hash.update(name);
  }
  return hash.digest();
}

/** Each as a float of 64 bits, in which every number of an offer has one form. */
function numbers(...all: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(Math.max(all.length, ENTRY_NUMBERS) * NUMBER_BYTES);
  const view = new DataView(bytes.buffer);
  for (const [at, each] of all.entries()) view.setFloat64(at * NUMBER_BYTES, each);
  return bytes;
}

function encoded(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

function requireWithin(offer: Offer, { maxEntries, maxTotalBytes }: TransferLimits): void {
  const { entries, totalBytes } = offer;
  if (entries.length > maxEntries) throw limit(`found ${entries.length} entries, accepted are ${maxEntries}`);
  if (totalBytes > maxTotalBytes) throw limit(`found ${totalBytes} bytes, accepted are ${maxTotalBytes}`);
  const sum = entries.reduce((bytes, { sizeBytes }) => bytes + sizeBytes, 0);
  if (sum !== totalBytes) throw malformed(`found ${sum} bytes in all, announced were ${totalBytes}`);
}

function limit(found: string): TransferError {
  return new TransferError("limit", `cannot accept the offer: ${found}`);
}

function malformed(found: string): TransferError {
  return new TransferError("malformed", `cannot accept the offer: ${found}`);
}

/** How an offer is put together from its messages, so that no sender can make the receiver hold more than it accepts. */
import { TransferError } from "./errors.ts";
import type { TransferLimits } from "./limits.ts";
import type { OfferMessage } from "./messages.ts";
import { utf8Bytes } from "./name_rules.ts";
import { CHUNK_BYTES, type Offer, type OfferEntry } from "./offer.ts";

/** Longest text: one chunk. It is held in memory as a whole, and shown. */
export const MAX_TEXT_BYTES: number = CHUNK_BYTES;

/** Gathers the entries of one offer. Names are not looked at; that is the sink's part. */
export class OfferCheck {
  readonly #announced: OfferMessage;
  readonly #limits: TransferLimits;
  readonly #entries: OfferEntry[] = [];
  #pathBytes = 0;
  #sizeBytes = 0;

  /**
   * Begins with what is announced; nothing is set aside for it.
   *
   * @throws {TransferError} `limit`, `malformed`
   */
  constructor(announced: OfferMessage, limits: TransferLimits) {
    this.#announced = announced;
    this.#limits = limits;
    requireAtMost("entries", announced.entries, limits.maxEntries);
    requireAtMost("bytes", announced.totalBytes, limits.maxTotalBytes);
    if (announced.kind === "text") requireAtMost("bytes of text", announced.totalBytes, MAX_TEXT_BYTES);
    if (announced.entries < 1) throw malformed("found no entry, accepted is at least one");
    if (announced.kind === "text" && announced.entries !== 1) {
      throw malformed(`found a text of ${announced.entries} entries, accepted is one`);
    }
  }

  /** Whether all that were announced are there. */
  get isComplete(): boolean {
    return this.#entries.length === this.#announced.entries;
  }

  /**
   * Takes the next entries.
   *
   * @throws {TransferError} `limit`, `malformed`; at the first entry that is too much, so that a list without an end
   * ends early
   */
  add(entries: readonly OfferEntry[]): void {
    if (entries.length === 0) throw malformed("found a message without entries, accepted is at least one");
    if (this.#entries.length + entries.length > this.#announced.entries) {
      throw malformed(`found more entries than the ${this.#announced.entries} that were announced`);
    }
    for (const entry of entries) this.#addEntry(entry);
  }

  /**
   * The whole offer.
   *
   * @throws {TransferError} `malformed` if the sizes do not make the announced sum
   */
  offer(): Offer {
    const { kind, totalBytes } = this.#announced;
    if (this.#sizeBytes !== totalBytes) {
      throw malformed(`found ${this.#sizeBytes} bytes in all, announced were ${totalBytes}`);
    }
    return { kind, entries: this.#entries, totalBytes };
  }

  #addEntry(entry: OfferEntry): void {
    this.#pathBytes += utf8Bytes(entry.path);
    requireAtMost("bytes of names", this.#pathBytes, this.#limits.maxPathBytes);
    if (entry.kind === "folder" && entry.sizeBytes !== 0) throw malformed("found a folder that has a size");
    if (entry.kind === "folder" && this.#announced.kind === "text") {
      throw malformed("found a folder, accepted is a text");
    }
    this.#sizeBytes += entry.sizeBytes;
    if (this.#sizeBytes > this.#announced.totalBytes) {
      throw malformed(`found more bytes than the ${this.#announced.totalBytes} that were announced`);
    }
    this.#entries.push(entry);
  }
}

function requireAtMost(what: string, found: number, accepted: number): void {
  if (found > accepted) {
    throw new TransferError(
      "limit",
      `cannot accept the offer: found ${found} ${what}, accepted are ${accepted}`,
    );
  }
}

function malformed(found: string): TransferError {
  return new TransferError("malformed", `cannot accept the offer: ${found}`);
}

/** The files of an offer and where they lie; made by the walk and by the spool. */
import type { OfferEntry } from "../../protocol/transfer/offer.ts";

/**
 * By what a file is known again. The runtime tells times in milliseconds, the time of change in whole seconds. That one
 * cannot be set by anybody: it tells a file whose content was changed and whose time of modification was set back.
 */
export interface FileIdentity {
  /** Length. */
  readonly sizeBytes: number;
  /** Last change of content, milliseconds since 1970; can be set by anybody. */
  readonly modifiedMs: number;
  /** Last change of content, name or mode; 0 where the system has none. */
  readonly changedMs: number;
  /** 0 where the system has none. */
  readonly inode: number;
}

/** What is shared under a name of its own. */
export interface SharedRoot {
  /** The first name of its entries' paths. */
  readonly name: string;
  /** Absolute. */
  readonly path: string;
  /** It was named on the command line and is a link, which is followed. */
  readonly isLink: boolean;
}

/** Numbers that are kept of each file. */
const COLUMNS = 3;
const FIRST_ROOM = 256;

/** Reads the identity out of what the system says. */
export function identityOf(info: Deno.FileInfo): FileIdentity {
  return {
    sizeBytes: info.size,
    modifiedMs: wholeMs(info.mtime),
    changedMs: wholeMs(info.ctime),
    inode: info.ino ?? 0,
  };
}

/** What is different, in words that fit behind "its"; null if it is the same file, unchanged. */
export function differenceOf(before: FileIdentity, now: FileIdentity): string | null {
  if (now.sizeBytes !== before.sizeBytes) return `size was ${before.sizeBytes} and is ${now.sizeBytes} bytes`;
  if (now.inode !== before.inode) return "place was taken by another file";
  if (now.modifiedMs !== before.modifiedMs) return "time of modification is another";
  return now.changedMs === before.changedMs ? null : "time of change is another";
}

/** The entries of an offer, in order, each with its place and its identity. */
export class FileList {
  readonly #entries: OfferEntry[] = [];
  readonly #roots: { readonly root: SharedRoot; readonly first: number }[] = [];
  /** Three numbers an entry: a hundred thousand of them are no objects. */
  #identities = new Float64Array(FIRST_ROOM * COLUMNS);
  #totalBytes = 0;

  /** All entries. */
  get entries(): readonly OfferEntry[] {
    return this.#entries;
  }

  /** Sum of the sizes. */
  get totalBytes(): number {
    return this.#totalBytes;
  }

  /** Begins with the next root; the entries that follow are of it, its own first. */
  addRoot(root: SharedRoot): void {
    this.#roots.push({ root, first: this.#entries.length });
  }

  /** Adds an entry below the last root. */
  add(entry: OfferEntry, { modifiedMs, changedMs, inode }: FileIdentity): void {
    const at = this.#entries.length * COLUMNS;
    if (at === this.#identities.length) {
      const more = new Float64Array(2 * at);
      more.set(this.#identities);
      this.#identities = more;
    }
    this.#identities.set([modifiedMs, changedMs, inode], at);
    this.#entries.push(entry);
    this.#totalBytes += entry.sizeBytes;
  }

  /**
   * One entry.
   *
   * @throws {RangeError} if there is none of this number
   */
  entry(file: number): OfferEntry {
    const entry = this.#entries[file];
    if (entry === undefined) throw new RangeError(`cannot use entry ${file} of ${this.#entries.length}`);
    return entry;
  }

  /** The identity that the entry was listed with. */
  identity(file: number): FileIdentity {
    const { sizeBytes } = this.entry(file);
    const at = file * COLUMNS;
    const [modifiedMs = 0, changedMs = 0, inode = 0] = this.#identities.subarray(at, at + COLUMNS);
    return { sizeBytes, modifiedMs, changedMs, inode };
  }

  /** Where the entry lies, absolute, and whether a link there is followed. */
  place(file: number): { readonly path: string; readonly followsLink: boolean } {
    const { path } = this.entry(file);
    const { root, first } = this.#rootOf(file);
    return {
      path: root.path + path.slice(root.name.length),
      followsLink: root.isLink && first === file,
    };
  }

  /**
   * SHA-256 over all entries with their identities: another one means that something else would be sent.
   *
   * @returns 32 bytes
   */
  async fingerprint(): Promise<Uint8Array<ArrayBuffer>> {
    let hash = new Uint8Array(0);
    for (let first = 0; first < this.#entries.length; first += FIRST_ROOM) {
      const lines = this.#entries.slice(first, first + FIRST_ROOM)
        .map((entry, at) => JSON.stringify([entry, this.identity(first + at)]));
      const text = new TextEncoder().encode(`${hash.toHex()}\n${lines.join("\n")}`);
      hash = new Uint8Array(await crypto.subtle.digest("SHA-256", text));
    }
    return hash;
  }

  /** The last root that begins at this entry or before it. */
  #rootOf(file: number): { readonly root: SharedRoot; readonly first: number } {
    let low = 0;
    for (let high = this.#roots.length - 1; low < high;) {
      const middle = Math.ceil((low + high) / 2);
      if ((this.#roots[middle]?.first ?? 0) <= file) low = middle;
      else high = middle - 1;
    }
    const found = this.#roots[low];
    if (found === undefined) throw new RangeError(`cannot use entry ${file}: it lies below nothing`);
    return found;
  }
}

function wholeMs(date: Date | null): number {
  return Math.floor(date?.getTime() ?? 0);
}

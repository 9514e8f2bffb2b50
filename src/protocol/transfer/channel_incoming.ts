/** What one side of a transfer reads: records, read ahead, opened several at once and given out in order. */
import {
  RECORD_LENGTH_BYTES,
  RECORD_TAG_BYTES,
  RecordError,
  recordLength,
  type RecordOpener,
} from "../record/record.ts";
import type { Timers } from "../rpc/timers.ts";
import type { Connection } from "../transport/transport.ts";

/** WebCrypto opens each record in a thread: so many keep the cores busy, and each more costs 4 MB. */
const MAX_OPENING = 2;
/** Nothing more is read while so much is opened or being opened, and nobody has taken it. */
const MAX_AHEAD_BYTES = 2 * 1024 * 1024;
const MAX_AHEAD_RECORDS = 64;
/** What is read beyond a record that is known to come: the length of the next one, and small ones whole. */
const READ_BEYOND_BYTES = 16 * 1024;

/** The last record has no plaintext, and no other has none. */
const END_RECORD_BYTES = RECORD_LENGTH_BYTES + RECORD_TAG_BYTES;

interface Ahead {
  readonly bytes: number;
  readonly plaintext: Promise<Uint8Array<ArrayBuffer> | null>;
}

/** Reads the records of one direction. */
export class IncomingRecords {
  readonly #connection: Connection;
  readonly #opener: RecordOpener;
  readonly #timers: Timers;
  /** Received and not opened: `#start` to `#end`. WebCrypto copies, so that it serves for every record. */
  #inbox = new Uint8Array(READ_BEYOND_BYTES);
  #start = 0;
  #end = 0;
  /** Opened or being opened, in order. */
  readonly #ahead: Ahead[] = [];
  #aheadBytes = 0;
  #opening = 0;
  #isReading = false;
  /** What every further call gives: the end, or why there is none. Nothing more is read then. */
  #last: Ahead | null = null;
  #arrived: (() => void) | null = null;
  #heardMs: number;
  /** Length of the record that is being read, if it is a long one; else 0. */
  #longBytes = 0;

  /** Reads nothing before it is asked. */
  constructor(connection: Connection, opener: RecordOpener, timers: Timers) {
    this.#connection = connection;
    this.#opener = opener;
    this.#timers = timers;
    this.#heardMs = timers.monotonicMs();
  }

  /** When bytes came for the last time; now, while it is this side that does not read. */
  get heardMs(): number {
    return this.#isReading ? this.#heardMs : this.#timers.monotonicMs();
  }

  /** How much has come of the record that is being read, 0 to 1; 0 of one that is not long. */
  get partOfNext(): number {
    return this.#longBytes === 0 ? 0 : Math.min(1, (this.#end - this.#start) / this.#longBytes);
  }

  /**
   * The next plaintext; null for the last record. Calls do not overlap.
   *
   * @throws {RecordError} if what comes next is not what was sent
   * @throws {TransportError} as the connection
   */
  async next(): Promise<Uint8Array<ArrayBuffer> | null> {
    this.#readAhead();
    while (this.#ahead.length === 0 && this.#last === null) {
      await new Promise<void>((resolve) => this.#arrived = resolve);
    }
    const next = this.#ahead.shift() ?? this.#last;
    if (next === null) throw new TypeError("cannot read a record: calls overlap");
    this.#aheadBytes -= next.bytes;
    this.#readAhead();
    return await next.plaintext;
  }

  /** Gives nothing more out but this error. */
  fail(error: Error): void {
    this.#ahead.length = 0;
    this.#last = failed(error);
    this.#arrived?.();
  }

  async #readAhead(): Promise<void> {
    if (this.#isReading) return;
    this.#isReading = true;
    this.#heardMs = this.#timers.monotonicMs();
    while (this.#last === null && this.#hasRoom()) await this.#readRecord();
    this.#isReading = false;
  }

  #hasRoom(): boolean {
    return this.#opening < MAX_OPENING && this.#ahead.length < MAX_AHEAD_RECORDS &&
      this.#aheadBytes < MAX_AHEAD_BYTES;
  }

  async #readRecord(): Promise<void> {
    try {
      await this.#receive(RECORD_LENGTH_BYTES);
      const bytes = RECORD_LENGTH_BYTES + recordLength(this.#inbox.subarray(this.#start, this.#end));
      this.#longBytes = bytes > READ_BEYOND_BYTES ? bytes : 0;
      await this.#receive(bytes);
      this.#longBytes = 0;
      const record = this.#inbox.subarray(this.#start, this.#start + bytes);
      this.#start += bytes;
      if (this.#last === null) this.#open(record);
    } catch (error) {
      this.#last ??= failed(error);
    }
    this.#arrived?.();
  }

  #open(record: Uint8Array<ArrayBuffer>): void {
    const opened = this.#opener.open(record);
    const isLast = record.length === END_RECORD_BYTES, isAlone = this.#start === this.#end;
    const plaintext = isLast && !isAlone ? opened.then(throwBehindEnd) : opened;
    this.#opening++;
    const settled = (): void => {
      this.#opening--;
      this.#readAhead();
    };
    plaintext.then(settled, settled); // it may be refused before its turn
    if (isLast) {
      this.#last = { bytes: 0, plaintext };
    } else {
      this.#ahead.push({ bytes: record.length, plaintext });
      this.#aheadBytes += record.length;
    }
  }

  /** Reads until that many bytes are there, at most `MAX_RECORD_BYTES`, and not much more. */
  async #receive(bytes: number): Promise<void> {
    if (this.#end - this.#start >= bytes) return;
    this.#makeRoom(bytes + READ_BEYOND_BYTES);
    while (this.#end < bytes) {
      const count = await this.#connection.read(this.#inbox.subarray(this.#end, bytes + READ_BEYOND_BYTES));
      if (count === null) {
        throw new RecordError("truncated", "cannot read records: the connection ended before the last one");
      }
      this.#heardMs = this.#timers.monotonicMs();
      this.#end += count;
    }
  }

  /** Moves what is there to the front of the inbox, of a larger one if this one is too small. */
  #makeRoom(bytes: number): void {
    const rest = this.#inbox.subarray(this.#start, this.#end);
    if (bytes > this.#inbox.length) {
      this.#inbox = new Uint8Array(Math.max(bytes, 2 * this.#inbox.length));
      this.#inbox.set(rest);
    } else {
      this.#inbox.copyWithin(0, this.#start, this.#end);
    }
    this.#end -= this.#start;
    this.#start = 0;
  }
}

/** What lies behind the last record in the same read; what comes later is never looked at. */
function throwBehindEnd(): never {
  throw new RecordError("after_end", "cannot read records: more came behind the last one");
}

function failed(error: unknown): Ahead {
  const plaintext = Promise.reject(error);
  plaintext.catch(() => {}); // its turn may never come
  return { bytes: 0, plaintext };
}

/** A connection whose bytes travel in records, see record.ts. */
import { type Connection, TransportError } from "../transport/transport.ts";
import {
  MAX_RECORD_PLAINTEXT_BYTES,
  RECORD_LENGTH_BYTES,
  RecordError,
  recordLength,
  RecordOpener,
  RecordSealer,
  type ShortRecordCipher,
} from "./record.ts";

const SMALL_INBOX_BYTES = 16 * 1024;
/** After the first read that filled the small one. */
const INBOX_BYTES = 64 * 1024;
/** Of a long write; the next one is encrypted while this one is being written. */
const PLAINTEXT_PER_RECORD_BYTES = Math.min(256 * 1024, MAX_RECORD_PLAINTEXT_BYTES);

/** One key for each direction; 32 bytes each, different, and of this connection alone. */
export interface RecordKeys {
  /** For what this end writes. */
  readonly sending: Uint8Array<ArrayBuffer>;
  /** For what the other end writes. */
  readonly receiving: Uint8Array<ArrayBuffer>;
}

/**
 * Encrypts and authenticates everything on another connection. Each write is at least one record; what nobody could
 * have written is never given out, and ends the connection with a `TransportError` "tampered".
 *
 * If the other connection ends without the last record, reading throws "lost": whether its end was cut off by
 * somebody or the other process has died looks the same from here, but it is never taken for a proper end.
 */
export class SealedConnection implements Connection {
  readonly transport: string;
  readonly remoteAddress: string | null;
  readonly localAddress: string | null;
  readonly confidential = true;
  readonly #inner: Connection;
  readonly #sealer: RecordSealer;
  readonly #opener: RecordOpener;
  /** Received and not opened: `#start` to `#end`. */
  #inbox = new Uint8Array(SMALL_INBOX_BYTES);
  #start = 0;
  #end = 0;
  /** Opened and not given out. */
  #plaintext: Uint8Array<ArrayBuffer> = new Uint8Array(0);
  /** Null is given out from now on; or this is thrown. */
  #readingEnded: true | TransportError | null = null;
  #isClosed = false;
  #isWritingEnded = false;

  /**
   * Takes over a connection; nobody else may use it any more.
   *
   * @param short for short records; without it WebCrypto has them as well
   */
  constructor(inner: Connection, keys: RecordKeys, short?: ShortRecordCipher) {
    this.#inner = inner;
    this.transport = inner.transport;
    this.remoteAddress = inner.remoteAddress;
    this.localAddress = inner.localAddress;
    this.#sealer = new RecordSealer(keys.sending, short);
    this.#opener = new RecordOpener(keys.receiving, short);
  }

  /** See `Connection.read`. */
  async read(buffer: Uint8Array<ArrayBuffer>): Promise<number | null> {
    this.#requireOpen();
    while (this.#plaintext.length === 0) {
      if (this.#readingEnded === true) return null;
      if (this.#readingEnded !== null) throw this.#readingEnded;
      await this.#readRecord();
      this.#requireOpen();
    }
    const part = this.#plaintext.subarray(0, buffer.length);
    buffer.set(part);
    this.#plaintext = this.#plaintext.subarray(part.length);
    return part.length;
  }

  /** See `Connection.write`. */
  async write(bytes: Uint8Array): Promise<void> {
    this.#requireOpen();
    if (this.#isWritingEnded) throw closed("its writing side was closed");
    // No empty record, that is the last one. Numbered at once, in the order of the calls.
    if (bytes.length === 0) return;
    let record = this.#sealer.seal(bytes.subarray(0, PLAINTEXT_PER_RECORD_BYTES));
    for (let at = PLAINTEXT_PER_RECORD_BYTES; at < bytes.length; at += PLAINTEXT_PER_RECORD_BYTES) {
      const ready = await record;
      record = this.#sealer.seal(bytes.subarray(at, at + PLAINTEXT_PER_RECORD_BYTES));
      await this.#inner.write(ready);
    }
    const last = await record;
    this.#requireOpen();
    await this.#inner.write(last);
  }

  /** See `Connection.closeWrite`. */
  async closeWrite(): Promise<void> {
    this.#requireOpen();
    if (this.#isWritingEnded) return;
    this.#isWritingEnded = true;
    await this.#inner.write(await this.#sealer.sealEnd());
    await this.#inner.closeWrite();
  }

  /** See `Connection.close`. The other end is not told that this was the end: its reading throws. */
  close(): void {
    this.#isClosed = true;
    this.#inner.close();
  }

  /** Receives one whole record and opens it. */
  async #readRecord(): Promise<void> {
    try {
      await this.#receive(RECORD_LENGTH_BYTES);
      const bytes = RECORD_LENGTH_BYTES + recordLength(this.#inbox.subarray(this.#start, this.#end));
      await this.#receive(bytes);
      const record = this.#inbox.subarray(this.#start, this.#start + bytes);
      this.#start += bytes;
      const plaintext = await this.#opener.open(record);
      // Whatever lies behind the last record was written by somebody else, and is never looked at.
      if (plaintext === null) this.#readingEnded = true;
      else this.#plaintext = plaintext;
    } catch (error) {
      this.#readingEnded = asTransportError(error);
      if (this.#readingEnded.code === "tampered") this.#inner.close();
      throw this.#readingEnded;
    }
  }

  /** Reads until that many bytes are there, at most `MAX_RECORD_BYTES`. */
  async #receive(bytes: number): Promise<void> {
    if (this.#end - this.#start >= bytes) return;
    this.#makeRoom(bytes);
    while (this.#end < bytes) {
      const count = await this.#inner.read(this.#inbox.subarray(this.#end));
      if (count === null) {
        throw new RecordError("truncated", "cannot read records: the connection ended before the last one");
      }
      this.#end += count;
    }
  }

  /** Moves what is there to the front of the inbox, of a larger one if this one is too small. */
  #makeRoom(bytes: number): void {
    const wasFilled = this.#end === this.#inbox.length;
    const needed = Math.max(bytes, wasFilled ? INBOX_BYTES : 0);
    const rest = this.#inbox.subarray(this.#start, this.#end);
    if (needed > this.#inbox.length) {
      this.#inbox = new Uint8Array(needed);
      this.#inbox.set(rest);
    } else {
      this.#inbox.copyWithin(0, this.#start, this.#end);
    }
    this.#end -= this.#start;
    this.#start = 0;
  }

  #requireOpen(): void {
    if (this.#isClosed) throw closed("it was closed here");
  }
}

function closed(found: string): TransportError {
  return new TransportError("closed", `cannot use a sealed connection: ${found}`);
}

function asTransportError(error: unknown): TransportError {
  if (error instanceof TransportError) return error;
  if (error instanceof RecordError) {
    return new TransportError(error.refusal === "truncated" ? "lost" : "tampered", error.message, {
      cause: error,
    });
  }
  return new TransportError("lost", "cannot read a sealed connection: reading what it lies on failed", {
    cause: error,
  });
}

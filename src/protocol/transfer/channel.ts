/**
 * The conversation of a transfer after both sides have proven themselves: messages, and chunks behind `data` messages,
 * in the records of the connection.
 *
 *   sender      offer, entries...        data, chunk, data, chunk, ... hash ...          end of its records
 *   receiver    heartbeat...   want...   heartbeat...                          done      end of its records
 *
 * Each message is one record (message_codec.ts). The record behind a `data` message is the chunk, whatever is in it.
 * Records are sealed and opened several at once, as WebCrypto does each in a thread; they are numbered in the order of
 * the calls, written in that order, and given out in that order.
 */
import { RecordError, type RecordOpener, type RecordSealer } from "../record/record.ts";
import type { Timers } from "../rpc/timers.ts";
import { type Connection, TransportError } from "../transport/transport.ts";
import { IncomingRecords } from "./channel_incoming.ts";
import { OutgoingRecords } from "./channel_outgoing.ts";
import { TransferError } from "./errors.ts";
import type { TransferLimits } from "./limits.ts";
import { decodeMessage, encodeMessage } from "./message_codec.ts";
import { CHUNK_BYTES } from "./offer.ts";
import type { DataMessage, TransferMessage } from "./messages.ts";

/** What a channel needs of a pairing. */
export interface ChannelKeys {
  /** For what this side writes; the confirmation was its first record. */
  readonly sealer: RecordSealer;
  /** For what the other side writes. */
  readonly opener: RecordOpener;
}

/** What came: a message, with its chunk if it is a `data`. */
export type Received =
  | { readonly message: Exclude<TransferMessage, DataMessage> }
  | {
    readonly message: DataMessage;
    /** The chunk, as long as it is in the file, or a shorter form of it; 1 to 1,048,576 bytes. The caller's alone. */
    readonly body: Uint8Array<ArrayBuffer>;
  };

/** How a channel is made. */
export interface ChannelOptions {
  readonly limits: TransferLimits;
  readonly timers: Timers;
}

/** Messages and chunks over a paired connection. */
export class TransferChannel {
  readonly #connection: Connection;
  readonly #incoming: IncomingRecords;
  readonly #outgoing: OutgoingRecords;
  readonly #limits: TransferLimits;
  #failure: TransferError | null = null;
  #hasSentChunk = false;
  #hasEnded = false;
  #isReceiving = false;

  /** Takes over a connection that was paired; nobody else may use it any more. */
  constructor(connection: Connection, paired: ChannelKeys, options: ChannelOptions) {
    this.#connection = connection;
    this.#limits = options.limits;
    this.#incoming = new IncomingRecords(connection, paired.opener, options.timers);
    this.#outgoing = new OutgoingRecords(connection, paired.sealer, options.timers);
  }

  /**
   * When bytes came from the other side for the last time, on the clock of the timers. While this side does not
   * read, because nobody takes what has come, it is now: then nobody can tell whether the other side is silent.
   */
  get heardMs(): number {
    return this.#incoming.heardMs;
  }

  /** How much has come of the chunk that is being read, 0 to 1; for display, as nothing of it is verified yet. */
  get partOfNext(): number {
    return this.#incoming.partOfNext;
  }

  /** When bytes were handed over to the connection for the last time; the making of the channel at first. */
  get saidMs(): number {
    return this.#outgoing.saidMs;
  }

  /**
   * Sends a message, in the order of the calls and never between a `data` and its chunk. Settles when there is room
   * for another one: it may not be written yet. What fails then shows at the next call.
   *
   * @throws {TransferError} `lost` if the connection is; what `close` was told
   * @throws {RangeError} if it is no message that the other side would take
   * @throws {TypeError} after `end`
   */
  async send(message: Exclude<TransferMessage, DataMessage>): Promise<void> {
    this.#outgoing.add(encodeMessage(message));
    await this.#settled(this.#outgoing.room());
  }

  /**
   * Sends a chunk. Settles when there is room for another one.
   *
   * @param chunk 1 to 1,048,576 bytes; belongs to the channel from the call on, which frees it early if it is the
   * whole of its buffer
   * @throws as `send`
   */
  async sendChunk(data: DataMessage, chunk: Uint8Array<ArrayBuffer>): Promise<void> {
    const encoded = encodeMessage(data);
    requireChunk(chunk);
    if (!this.#hasSentChunk) keepFreedMemory();
    this.#hasSentChunk = true;
    this.#outgoing.add(encoded);
    this.#outgoing.add(chunk);
    await this.#settled(this.#outgoing.room());
  }

  /**
   * The next message; null after the last one, once the other side has ended its records. Calls do not overlap.
   *
   * After an error nothing more is read, and every further call throws it again. `lost` closes the connection; after
   * the others this side can still say `stop`, as the other one would take a closed connection for a lost one and
   * try again.
   *
   * @throws {TransferError} `tampered` if it is not what the other side sent, `malformed` if it is no message, `lost` if
   * the connection ends before the records, `limit`; what `close` was told
   * @throws {TypeError} if another call has not settled
   */
  async receive(): Promise<Received | null> {
    if (this.#isReceiving) throw new TypeError("cannot receive: another call has not settled");
    this.#isReceiving = true;
    try {
      const received = await this.#receive();
      if (this.#failure !== null) throw this.#failure; // closed meanwhile
      return received;
    } catch (error) {
      const failure = transferErrorOf(error);
      if (failure.code === "lost") this.close(failure);
      else this.#incoming.fail(failure);
      throw failure;
    } finally {
      this.#isReceiving = false;
    }
  }

  /**
   * Writes what waits and the end of the records. Reading goes on.
   *
   * @throws {TransferError} `lost` if the connection is; what `close` was told
   * @throws {TypeError} the second time
   */
  async end(): Promise<void> {
    if (this.#hasEnded) throw new TypeError("cannot end the records: they were ended before");
    this.#hasEnded = true;
    await this.#settled(this.#outgoing.end());
  }

  /**
   * Gives the connection up at once. Whatever waits here rejects with the reason. Does nothing the second time.
   *
   * @param reason `cancelled` if there is none
   */
  close(reason: TransferError = new TransferError("cancelled", "the connection was closed here")): void {
    if (this.#failure !== null) return;
    this.#failure = reason;
    this.#incoming.fail(reason);
    this.#outgoing.fail(reason);
    this.#connection.close();
  }

  async #settled(act: Promise<void>): Promise<void> {
    try {
      await act;
    } catch (error) {
      throw this.#failure ?? transferErrorOf(error);
    }
  }

  async #receive(): Promise<Received | null> {
    const plaintext = await this.#incoming.next();
    if (plaintext === null) return null;
    const message = decodeMessage(plaintext, this.#limits);
    if (message.type !== "data") return { message };
    const body = await this.#incoming.next();
    if (body !== null) return { message, body };
    throw new TransferError("malformed", "cannot read a chunk: the records ended where it should be");
  }
}

/**
 * The C library maps each block above a threshold on its own and unmaps it when it is freed (glibc: mallopt(3),
 * M_MMAP_THRESHOLD), so that every chunk pays for its pages again: a third of the processor time of a sender. The
 * threshold grows to the length of a block that was freed. WebCrypto needs 2 MiB for a moment to seal a chunk, so one
 * of that length is freed here; nobody has touched it, so it costs nothing. Elsewhere it does nothing. Not for a
 * receiver: it gains little, as opening a chunk needs no 2 MiB, and each thread would keep so much more.
 */
function keepFreedMemory(): void {
  new ArrayBuffer(2 * CHUNK_BYTES).transfer(0);
}

/** @throws {RangeError} as nothing may fail behind a `data` message that was added */
function requireChunk(chunk: Uint8Array<ArrayBuffer>): void {
  if (chunk.length === 0 || chunk.length > CHUNK_BYTES) {
    throw new RangeError(`cannot send a chunk of ${chunk.length} bytes: accepted are 1 to ${CHUNK_BYTES}`);
  }
}

function transferErrorOf(error: unknown): TransferError {
  if (error instanceof TransferError) return error;
  const isTampered = error instanceof RecordError
    ? error.refusal !== "truncated"
    : error instanceof TransportError && error.code === "tampered";
  if (!isTampered) {
    return new TransferError("lost", `the link was lost: ${foundLost(error)}`, { cause: error });
  }
  const found = error instanceof Error ? error.message : String(error);
  return new TransferError("tampered", `what came is not what the other side sent: ${found}`, {
    cause: error,
  });
}

/** Who has ended it nobody can tell: the relay closes both sides when one of them goes. */
function foundLost(error: unknown): string {
  if (error instanceof RecordError) return "the other side or the relay ended the connection";
  return error instanceof Error ? error.message : String(error);
}

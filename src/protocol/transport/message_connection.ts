/**
 * A connection over something that carries whole messages and cannot be made to wait: a message port, a WebSocket.
 *
 * Binary messages are bytes of the stream, cut anywhere. Text messages are control, the same in both directions:
 *
 *   A -> B   <bytes> ...         at first 1,048,576 bytes (`WINDOW_BYTES`), later never more than B's credit
 *   B -> A   "credit 524288"     B's program has read that many: A may send so many more
 *   A -> B   "end"               A writes no more
 *
 * Whoever sends more than it was allowed, an empty binary message, bytes after its end, or a text that is none of
 * these is cut off: so much, and no more, can be made to wait in memory here by the other end.
 */
import { ByteQueue } from "./byte_queue.ts";
import { type Connection, TransportError } from "./transport.ts";

/** What carries the messages. After `close` it is told to send nothing more. */
export interface MessageLink {
  /**
   * Sends a binary message. The bytes may change again when this returns, or when the promise settles.
   *
   * @throws if it cannot
   */
  sendBytes(bytes: Uint8Array): void | Promise<void>;
  /** Sends a text message. */
  sendControl(text: string): void;
  /**
   * Ends it; messages sent before may still arrive.
   *
   * @param isViolated whether the other end broke the rules
   */
  close(isViolated: boolean): void;
}

/** What a connection says about itself. */
export interface MessageConnectionOptions {
  readonly transport: string;
  readonly remoteAddress: string | null;
  readonly localAddress: string | null;
  readonly confidential: boolean;
}

/**
 * Bytes that the other end may have sent and the program not yet read. Part of the protocol, rather than told at the
 * beginning: a small message before the first bytes would hold these up for 40 ms where the runtime's WebSocket
 * leaves Nagle's algorithm on.
 */
export const WINDOW_BYTES = 1024 * 1024;
/** Longest binary message: short enough that the first part of a long write travels while the next is copied. */
export const MAX_MESSAGE_BYTES = 256 * 1024;
/** Longest text message. */
export const MAX_CONTROL_BYTES = 24;

const CREDIT = /^credit ([1-9][0-9]{0,9})$/;
const END = "end";

interface Reader {
  readonly buffer: Uint8Array<ArrayBuffer>;
  readonly resolve: (length: number | null) => void;
  readonly reject: (error: TransportError) => void;
}

interface Writer {
  readonly resolve: () => void;
  readonly reject: (error: TransportError) => void;
}

/** The rules above, over any link; the link calls `deliver` and `lost`. */
export class MessageConnection implements Connection {
  readonly transport: string;
  readonly remoteAddress: string | null;
  readonly localAddress: string | null;
  readonly confidential: boolean;

  readonly #link: MessageLink;
  readonly #arrived = new ByteQueue();
  /** Bytes that the other end may still send. */
  #allowedBytes = WINDOW_BYTES;
  /** Bytes read by the program since credit was last given. */
  #readBytes = 0;
  /** Bytes that may still be sent. */
  #creditBytes = WINDOW_BYTES;
  #hasEnded = false;
  #otherEnded = false;
  /** Why nothing is sent or received any more. */
  #failure: TransportError | null = null;
  #reader: Reader | null = null;
  #writer: Writer | null = null;

  /** Makes one; the link may deliver from then on. */
  constructor(link: MessageLink, options: MessageConnectionOptions) {
    this.transport = options.transport;
    this.remoteAddress = options.remoteAddress;
    this.localAddress = options.localAddress;
    this.confidential = options.confidential;
    this.#link = link;
  }

  read(buffer: Uint8Array<ArrayBuffer>): Promise<number | null> {
    if (this.#arrived.length > 0) return Promise.resolve(this.#taken(this.#arrived.pull(buffer)));
    // What is complete stays that, though the other end has gone since.
    if (this.#otherEnded && this.#failure?.code !== "closed") return Promise.resolve(null);
    if (this.#failure !== null) return Promise.reject(this.#failure);
    if (this.#reader !== null) {
      return Promise.reject(new TypeError("cannot read: a read is under way already"));
    }
    return new Promise((resolve, reject) => {
      this.#reader = { buffer, resolve, reject };
    });
  }

  async write(bytes: Uint8Array): Promise<void> {
    let offset = 0;
    while (offset < bytes.length) {
      if (this.#creditBytes === 0 && this.#failure === null && !this.#hasEnded) await this.#room();
      this.#assertWritable();
      const length = Math.min(bytes.length - offset, this.#creditBytes, MAX_MESSAGE_BYTES);
      this.#creditBytes -= length;
      const sent = this.#send(bytes.subarray(offset, offset + length));
      if (sent !== undefined) await sent;
      offset += length;
    }
    this.#assertWritable();
  }

  // deno-lint-ignore require-await -- it throws into its promise
  async closeWrite(): Promise<void> {
    if (this.#failure !== null) throw this.#failure;
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#link.sendControl(END);
  }

  close(): void {
    this.#arrived.clear();
    this.#fail(new TransportError("closed", "cannot go on: the connection was closed here"), false);
  }

  /**
   * A message has arrived: bytes, which belong to the connection from now on, or a text. Bytes come as an `ArrayBuffer`:
   * a view of one byte could hold on to a gigabyte, and one of shared memory could change its length.
   */
  deliver(message: unknown): void {
    if (this.#failure !== null) return;
    if (message instanceof ArrayBuffer) this.#received(new Uint8Array(message));
    else if (message === END) this.#ended();
    else this.#credited(message);
  }

  /** The other end or the way to it has gone. What arrived before can still be read. */
  lost(why: string, options: ErrorOptions = {}): void {
    this.#fail(new TransportError("lost", `the connection was lost: ${why}`, options), false);
  }

  /** The other end broke the rules; nothing of it is taken any more. */
  violated(what: string): void {
    this.#fail(new TransportError("lost", `the connection was cut: the other end sent ${what}`), true);
  }

  #received(bytes: Uint8Array): void {
    if (bytes.length === 0) return this.violated("an empty message");
    if (this.#otherEnded) return this.violated("bytes after its end");
    if (bytes.length > this.#allowedBytes) return this.violated("more bytes than it was allowed");
    this.#allowedBytes -= bytes.length;
    const reader = this.#reader;
    if (reader === null) return this.#arrived.push(bytes);
    // Nothing lies in the queue while somebody waits. It would take a new block for it: 3 us instead of 0.1.
    this.#reader = null;
    const length = Math.min(bytes.length, reader.buffer.length);
    reader.buffer.set(bytes.subarray(0, length));
    this.#arrived.push(bytes.subarray(length));
    reader.resolve(this.#taken(length));
  }

  /** Counts bytes that the program has got. */
  #taken(length: number): number {
    this.#readBytes += length;
    // Half a window at once: one message of credit for many of bytes, and the sender still has half to go on with.
    if (this.#readBytes >= WINDOW_BYTES / 2 && this.#failure === null && !this.#otherEnded) {
      this.#allowedBytes += this.#readBytes;
      this.#link.sendControl(`credit ${this.#readBytes}`);
      this.#readBytes = 0;
    }
    return length;
  }

  #ended(): void {
    if (this.#otherEnded) return this.violated("its end twice");
    this.#otherEnded = true;
    this.#reader?.resolve(null);
    this.#reader = null;
  }

  #credited(message: unknown): void {
    const digits = typeof message === "string" ? CREDIT.exec(message)?.[1] : undefined;
    if (digits === undefined) return this.violated("a message that is neither bytes nor control");
    this.#creditBytes += Number(digits);
    // Credit is for bytes that were sent, so the window is never exceeded.
    if (this.#creditBytes > WINDOW_BYTES) return this.violated("more credit than can be");
    this.#writer?.resolve();
    this.#writer = null;
  }

  #room(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#writer = { resolve, reject };
    });
  }

  #assertWritable(): void {
    if (this.#failure !== null) throw this.#failure;
    if (this.#hasEnded) {
      throw new TransportError("closed", "cannot write: this end of the connection has ended its writing");
    }
  }

  #send(bytes: Uint8Array): void | Promise<void> {
    try {
      return this.#link.sendBytes(bytes);
    } catch (error) {
      this.lost("a message could not be sent", { cause: error });
      throw this.#failure;
    }
  }

  #fail(failure: TransportError, isViolated: boolean): void {
    if (this.#failure !== null) {
      // Closed here after it was lost: what was left to read is gone, and no read may wait.
      if (failure.code === "closed") this.#failure = failure;
      return;
    }
    this.#failure = failure;
    if (isViolated) this.#otherEnded = false; // more came behind it
    this.#link.close(isViolated);
    this.#reader?.reject(failure);
    this.#writer?.reject(failure);
    this.#reader = null;
    this.#writer = null;
  }
}

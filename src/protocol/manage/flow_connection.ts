/** One flow of a link as a connection, so that everything that runs over a connection runs over a flow. */
import { ByteQueue } from "../transport/byte_queue.ts";
import { type Connection, TransportError } from "../transport/transport.ts";
import { closedHere, writingEnded } from "../transport/transport_errors.ts";
import { saidHere } from "./link_failures.ts";
import type { ResetCode, ResetError } from "./reset_code.ts";

const NOTHING = new Uint8Array(0);

/** What a flow asks of its link; never again once it is over. */
export interface FlowPort {
  /** Sends bytes; `FlowConnection.written` says when. */
  send(flow: number, bytes: Uint8Array): void;
  /** Nothing more is sent. */
  end(flow: number): void;
  /** It is over. */
  reset(flow: number, code: ResetCode, text: string): void;
  /** The program has taken bytes; `isDrained`: and no more wait. */
  consumed(flow: number, bytes: number, isDrained: boolean): void;
}

/** How a flow is called by others. */
export type FlowAddresses = Pick<Connection, "remoteAddress" | "localAddress">;

interface Reader {
  readonly buffer: Uint8Array<ArrayBuffer>;
  readonly resolve: (length: number | null) => void;
  readonly reject: (error: TransportError) => void;
}

interface Writer {
  readonly bytes: number;
  readonly resolve: () => void;
  readonly reject: (error: TransportError) => void;
}

/**
 * A flow that is open. After a reset by either side, or the end of its link, `read` and `write` throw a `TransportError`
 * "lost" whose cause is `failure`; after `close` here, "closed".
 */
export class FlowConnection implements Connection {
  readonly transport = "flow";
  /** The link is TLS between its two ends. What only administrator and host may read is sealed on top. */
  readonly confidential = true;
  readonly remoteAddress: string | null;
  readonly localAddress: string | null;

  readonly #port: FlowPort;
  readonly #flow: number;
  readonly #arrived = new ByteQueue();
  /** Bytes behind those, in memory of the link, which wants it back: from `#lentAt` on. */
  readonly #lent: Uint8Array[] = [];
  /** Not `shift`: of tens of thousands of frames of one byte each, that would move all the others every time. */
  #lentAt = 0;
  #hasEnded = false;
  #otherEnded = false;
  #failure: ResetError | null = null;
  #isClosed = false;
  #reader: Reader | null = null;
  /** Bytes that lie in the buffer of the reader who waits. */
  #filledBytes = 0;
  #writer: Writer | null = null;
  #receivedBytes = 0;
  #sentBytes = 0;
  #closed: PromiseWithResolvers<ResetError | null> | null = null;

  /** Made by `RunningLink`. */
  constructor(port: FlowPort, flow: number, addresses: FlowAddresses) {
    this.#port = port;
    this.#flow = flow;
    this.remoteAddress = addresses.remoteAddress;
    this.localAddress = addresses.localAddress;
  }

  /** Why it ended, once it did by a reset or by the end of its link ("lost"). */
  get failure(): ResetError | null {
    return this.#failure;
  }

  /** Resolves when it is over: null when both sides ended their writing, else with `failure`. Never rejects. */
  get closed(): Promise<ResetError | null> {
    if (this.#closed === null) {
      this.#closed = Promise.withResolvers();
      if (this.isOver) this.#closed.resolve(this.#failure);
    }
    return this.#closed.promise;
  }

  /** Bytes of the flow so far: those that arrived, and those that were given out to be written. */
  get bytes(): { readonly received: number; readonly sent: number } {
    return { received: this.#receivedBytes, sent: this.#sentBytes };
  }

  /** See `Connection.read`. What arrived before the link ended can still be read, what arrived before a reset not. */
  read(buffer: Uint8Array<ArrayBuffer>): Promise<number | null> {
    if (this.#isClosed) return Promise.reject(closedHere("read"));
    if (this.#reader !== null) {
      return Promise.reject(new TypeError("cannot read: a read is under way already"));
    }
    if (buffer.length === 0) return Promise.reject(new RangeError("cannot read: the buffer is empty"));
    const length = this.#pull(buffer);
    if (length > 0) {
      this.#taken(length);
      return Promise.resolve(length);
    }
    if (this.#otherEnded) return Promise.resolve(null);
    if (this.#failure !== null) return Promise.reject(lost("read", this.#failure));
    return new Promise((resolve, reject) => {
      this.#reader = { buffer, resolve, reject };
    });
  }

  /** See `Connection.write`. Waits until the other end has granted credit for all of it, and the link has room. */
  write(bytes: Uint8Array): Promise<void> {
    const refusal = this.#whyNotWritable();
    if (refusal !== null) return Promise.reject(refusal);
    if (bytes.length === 0) return Promise.resolve();
    return new Promise((resolve, reject) => {
      this.#writer = { bytes: bytes.length, resolve, reject };
      this.#port.send(this.#flow, bytes);
    });
  }

  /** See `Connection.closeWrite`. */
  closeWrite(): Promise<void> {
    if (this.#isClosed) return Promise.reject(closedHere("end writing"));
    if (this.#hasEnded) return Promise.resolve();
    const refusal = this.#whyNotWritable();
    if (refusal !== null) return Promise.reject(refusal);
    this.#hasEnded = true;
    this.#port.end(this.#flow);
    this.#settleIfEnded();
    return Promise.resolve();
  }

  /** See `Connection.close`; the other end gets a reset "cancelled" if the flow is not over. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.reset("cancelled", "");
    this.#dropArrived();
  }

  /** Ends the flow both ways at once, and tells the other end why. Does nothing when it is over. */
  reset(code: ResetCode, text: string): void {
    if (this.isOver) return;
    this.#port.reset(this.#flow, code, text);
    this.#fail(saidHere(code, text, "flow"));
  }

  /**
   * For the link: bytes have come. `settle` follows when all that came at once is delivered.
   *
   * @param isLent the memory stays as it is until `keepLent`; else the bytes are copied
   */
  deliver(bytes: Uint8Array, isLent: boolean): void {
    if (this.#failure !== null) return;
    this.#receivedBytes += bytes.length;
    let rest = bytes;
    if (this.#reader !== null) {
      // As much as fits, also out of several frames: one wake-up and one credit for all of it.
      const part = bytes.subarray(0, this.#reader.buffer.length - this.#filledBytes);
      this.#reader.buffer.set(part, this.#filledBytes);
      this.#filledBytes += part.length;
      rest = bytes.subarray(part.length);
    }
    if (rest.length === 0) return;
    if (isLent) this.#lent.push(rest);
    else this.#arrived.push(rest.slice());
  }

  /** For the link: whether bytes that were lent to it are not read yet. */
  get hasLent(): boolean {
    return this.#lentAt < this.#lent.length;
  }

  /** For the link: it wants its memory back; what was not read is copied. */
  keepLent(): void {
    for (; this.hasLent; this.#lentAt++) this.#arrived.push((this.#lent[this.#lentAt] ?? NOTHING).slice());
    this.#forgetLent();
  }

  /** For the link: what came at once is delivered. */
  settle(): void {
    if (this.#filledBytes === 0) return;
    const length = this.#filledBytes, reader = this.#reader;
    this.#filledBytes = 0;
    this.#reader = null;
    this.#taken(length);
    reader?.resolve(length);
  }

  /** For the link: the other end writes no more. */
  deliverEnd(): void {
    this.#otherEnded = true;
    this.settle();
    this.#reader?.resolve(null);
    this.#reader = null;
    this.#settleIfEnded();
  }

  /** For the link: the other end has reset the flow. */
  deliverReset(error: ResetError): void {
    if (this.isOver) return;
    this.settle();
    // Nobody can make us keep bytes of flows that are over. What is complete stays that.
    if (!this.#otherEnded) this.#dropArrived();
    this.#fail(error);
  }

  /** For the link: it is over, and the flow with it. */
  linkEnded(error: ResetError): void {
    if (this.isOver) return;
    this.settle();
    this.#fail(error);
  }

  /** For the link: what was sent is given out. */
  written(): void {
    const writer = this.#writer;
    if (writer === null) return;
    this.#writer = null;
    this.#sentBytes += writer.bytes;
    writer.resolve();
  }

  /** For the link: whether it is over, so that its number means nothing here any more. */
  get isOver(): boolean {
    return this.#failure !== null || (this.#hasEnded && this.#otherEnded);
  }

  /** Moves what waits to the beginning of `buffer`. */
  #pull(buffer: Uint8Array): number {
    let filled = this.#arrived.pull(buffer);
    while (this.hasLent && filled < buffer.length) {
      const first = this.#lent[this.#lentAt] ?? NOTHING;
      const part = first.subarray(0, buffer.length - filled);
      buffer.set(part, filled);
      filled += part.length;
      if (part.length === first.length) this.#lentAt++;
      else this.#lent[this.#lentAt] = first.subarray(part.length);
    }
    if (!this.hasLent) this.#forgetLent();
    return filled;
  }

  #dropArrived(): void {
    this.#arrived.clear();
    this.#forgetLent();
  }

  #forgetLent(): void {
    this.#lent.length = 0;
    this.#lentAt = 0;
  }

  #taken(length: number): void {
    if (this.#failure !== null || this.#otherEnded) return;
    this.#port.consumed(this.#flow, length, this.#arrived.length === 0 && !this.hasLent);
  }

  #whyNotWritable(): Error | null {
    if (this.#isClosed) return closedHere("write");
    if (this.#failure !== null) return lost("write", this.#failure);
    if (this.#hasEnded) return writingEnded();
    if (this.#writer !== null) return new TypeError("cannot write: a write is under way already");
    return null;
  }

  #settleIfEnded(): void {
    if (this.#hasEnded && this.#otherEnded) this.#closed?.resolve(null);
  }

  #fail(error: ResetError): void {
    this.#failure = error;
    const reader = this.#reader, writer = this.#writer;
    this.#reader = this.#writer = null;
    this.#filledBytes = 0;
    reader?.reject(this.#isClosed ? closedHere("read") : lost("read", error));
    writer?.reject(this.#isClosed ? closedHere("write") : lost("write", error));
    this.#closed?.resolve(error);
  }
}

function lost(what: "read" | "write", cause: ResetError): TransportError {
  return new TransportError("lost", `cannot ${what}: ${cause.message}`, { cause });
}

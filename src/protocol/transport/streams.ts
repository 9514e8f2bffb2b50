/**
 * A connection out of two streams of the Web: the pipes of a process, `fetch` bodies, whatever else has a `readable`
 * and a `writable`. Not the `writable` of a `Deno.FsFile`, which holds short writes back until it is closed (seen with
 * Deno 2.9.6): for a FIFO or a serial line, `connectionFromSocket` writes the file itself.
 */
import { closedHere, transportErrorOf, writingEnded } from "./transport_errors.ts";
import { type Connection, TransportError } from "./transport.ts";

/** Longest piece given to a writable at once when it has to be copied. */
const PIECE_BYTES = 64 * 1024;

/** The two streams and what they do not say themselves. */
export interface ConnectionStreams {
  /** Bytes from the other end. It is locked from now on. */
  readonly readable: ReadableStream<Uint8Array>;
  /**
   * Bytes to the other end. It is locked from now on. Its `write` must settle only when there is room for more:
   * a stream without backpressure makes a connection without it.
   */
  readonly writable: WritableStream<Uint8Array>;
  /** `Connection.transport`; "streams" if not given. */
  readonly transport?: string;
  /** `Connection.localAddress`. */
  readonly localAddress?: string | null;
  /** `Connection.remoteAddress`. */
  readonly remoteAddress?: string | null;
  /** `Connection.confidential`; false if not given. */
  readonly confidential?: boolean;
  /**
   * Whether the writable has done with the bytes once their write has settled, as those of Deno's files, pipes and
   * sockets have. They are copied otherwise, because a transforming stream may pass on the very buffer.
   */
  readonly writesAtOnce?: boolean;
  /** Called once, when the connection is closed at this end. */
  readonly onClose?: () => void;
}

/** Makes a connection of two streams. `close` cancels the one and aborts the other. */
export function connectionFromStreams(streams: ConnectionStreams): Connection {
  return new StreamConnection(streams);
}

/** The connection; for transports that have more to say to it than `Connection` knows. */
export class StreamConnection implements Connection {
  readonly transport: string;
  readonly confidential: boolean;
  readonly localAddress: string | null;
  readonly remoteAddress: string | null;
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #writesAtOnce: boolean;
  readonly #onClose: () => void;
  /** What the stream gave beyond the buffer of the last read. */
  #rest: Uint8Array = new Uint8Array(0);
  #closed = false;
  #writingEnded = false;
  /** Reject what waits; no more than one of each does. */
  #failRead: ((error: TransportError) => void) | null = null;
  #failWrite: ((error: TransportError) => void) | null = null;
  #expectedEnd: { readonly error: TransportError; readonly withinMs: number } | null = null;
  #endTimer: ReturnType<typeof setTimeout> | null = null;

  constructor(streams: ConnectionStreams) {
    this.transport = streams.transport ?? "streams";
    this.confidential = streams.confidential ?? false;
    this.localAddress = streams.localAddress ?? null;
    this.remoteAddress = streams.remoteAddress ?? null;
    this.#writesAtOnce = streams.writesAtOnce ?? false;
    this.#onClose = streams.onClose ?? (() => {});
    this.#reader = streams.readable.getReader();
    this.#writer = streams.writable.getWriter();
    // Whoever reads and writes is told; these would end the program as unhandled.
    this.#reader.closed.catch(() => {});
    this.#writer.closed.catch(() => {});
    this.#writer.ready.catch(() => {});
  }

  async read(buffer: Uint8Array<ArrayBuffer>): Promise<number | null> {
    if (this.#closed) throw closedHere("read");
    if (buffer.length === 0) throw new RangeError("cannot read: the buffer is empty");
    while (this.#rest.length === 0) {
      const chunk = await this.#nextChunk();
      if (chunk === null) return null;
      this.#rest = chunk;
    }
    const count = Math.min(buffer.length, this.#rest.length);
    buffer.set(this.#rest.subarray(0, count));
    this.#rest = this.#rest.subarray(count);
    return count;
  }

  #nextChunk(): Promise<Uint8Array | null> {
    return new Promise((resolve, reject) => {
      this.#failRead = reject;
      this.#watchForEnd();
      const settle = (): void => {
        this.#failRead = null;
        this.#stopWatching();
      };
      this.#reader.read().then(({ done, value }) => {
        settle();
        if (done) resolve(null);
        else if (value instanceof Uint8Array) resolve(value);
        else reject(new TransportError("lost", "cannot read: the stream gave no Uint8Array"));
      }, (error) => {
        settle();
        reject(transportErrorOf(error, "use", "cannot read from the stream"));
      });
    });
  }

  async write(bytes: Uint8Array): Promise<void> {
    if (this.#closed) throw closedHere("write");
    if (this.#writingEnded) throw writingEnded();
    if (bytes.length === 0) return;
    if (this.#writesAtOnce) return await this.#settled("write", this.#writer.write(bytes));
    for (let at = 0; at < bytes.length; at += PIECE_BYTES) {
      await this.#settled("write", this.#writer.write(bytes.slice(at, at + PIECE_BYTES)));
      if (this.#closed) throw closedHere("write");
    }
  }

  async closeWrite(): Promise<void> {
    if (this.#closed) throw closedHere("end writing");
    if (this.#writingEnded) return;
    this.#writingEnded = true;
    await this.#settled("end writing", this.#writer.close());
  }

  /** Waits for an act of the writer, which the streams themselves would let wait on after an abort. */
  #settled(what: "write" | "end writing", act: Promise<void>): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#failWrite = reject;
      act.then(() => {
        this.#failWrite = null;
        resolve();
      }, (error) => {
        this.#failWrite = null;
        reject(transportErrorOf(error, "use", `cannot ${what} to the stream`));
      });
    });
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#stopWatching();
    this.#failRead?.(closedHere("read"));
    this.#failWrite?.(closedHere("write"));
    this.#rest = new Uint8Array(0);
    this.#reader.cancel().catch(() => {});
    // Where both ends are in one program, the other one gets this very error.
    this.#writer.abort(new Error("the other end has closed the connection")).catch(() => {});
    this.#onClose();
  }

  /**
   * Says that the other end is known to have gone, although the stream may not end: from now on a read to which
   * nothing comes for that long fails. What is under way is read all the same.
   */
  expectEnd(error: TransportError, withinMs: number): void {
    this.#expectedEnd = { error, withinMs };
    if (this.#failRead !== null) this.#watchForEnd();
  }

  #watchForEnd(): void {
    const expected = this.#expectedEnd;
    if (expected === null) return;
    this.#stopWatching();
    this.#endTimer = setTimeout(() => this.#failRead?.(expected.error), expected.withinMs);
  }

  #stopWatching(): void {
    if (this.#endTimer !== null) clearTimeout(this.#endTimer);
    this.#endTimer = null;
  }
}

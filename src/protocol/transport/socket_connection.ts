/**
 * A connection over whatever reads and writes like a socket: TCP, TLS, Unix and vsock are spoken to in this way, and
 * a pair of FIFOs or a serial line can be.
 */
import { closedHere, transportErrorOf, writingEnded } from "./transport_errors.ts";
import { type Connection, TransportError } from "./transport.ts";

/** What a connection needs of a socket; `Deno.Conn` has it. */
export interface StreamSocket {
  /**
   * Fills some of the buffer and says how much; 0 is asked again at once. Null once the other end has ended writing, or
   * has gone, and everything before was read.
   */
  read(buffer: Uint8Array): Promise<number | null>;
  /**
   * Writes some of the bytes and says how many. Waits while the other end does not read, and throws whatever it likes
   * when the other end has gone.
   */
  write(bytes: Uint8Array): Promise<number>;
  /** Ends writing: the other end reads what was written, then null. Reading goes on here. */
  closeWrite(): Promise<void>;
  /** Closes both ways at once, also after `closeWrite`. What it throws is ignored. */
  close(): void;
}

/** What the socket does not say itself; see `Connection`. */
export type SocketFacts = Pick<Connection, "transport" | "confidential" | "localAddress" | "remoteAddress">;

/**
 * Makes a connection of something that reads and writes like a socket: parts are written to the end, errors become
 * `TransportError`s, and what is asked after `close` is refused. The easiest way to a transport of one's own.
 *
 * @param facts what `Connection` says of itself; not confidential and without addresses if not given
 */
export function connectionFromSocket(
  socket: StreamSocket,
  facts: Partial<SocketFacts> & Pick<SocketFacts, "transport">,
): Connection {
  return new SocketConnection(socket, {
    confidential: false,
    localAddress: null,
    remoteAddress: null,
    ...facts,
  });
}

/** The connection. */
export class SocketConnection implements Connection {
  readonly transport: string;
  readonly confidential: boolean;
  readonly localAddress: string | null;
  readonly remoteAddress: string | null;
  readonly #socket: StreamSocket;
  #closed = false;
  #writingEnded = false;
  /** Reject the read and the write that wait: not every socket does so when it is closed, files do not. */
  #failRead: ((error: TransportError) => void) | null = null;
  #failWrite: ((error: TransportError) => void) | null = null;

  constructor(socket: StreamSocket, facts: SocketFacts) {
    this.#socket = socket;
    this.transport = facts.transport;
    this.confidential = facts.confidential;
    this.localAddress = facts.localAddress;
    this.remoteAddress = facts.remoteAddress;
  }

  async read(buffer: Uint8Array<ArrayBuffer>): Promise<number | null> {
    if (this.#closed) throw closedHere("read");
    // The system would answer 0, for ever.
    if (buffer.length === 0) throw new RangeError("cannot read: the buffer is empty");
    try {
      for (;;) {
        const reading = this.#socket.read(buffer);
        const count = await new Promise<number | null>((resolve, reject) => {
          this.#failRead = reject;
          reading.then(resolve, reject);
        });
        if (this.#closed) break;
        if (count !== 0) return count;
      }
    } catch (error) {
      if (!this.#closed) throw transportErrorOf(error, "use", `cannot read from ${this.#other()}`);
    }
    throw closedHere("read");
  }

  async write(bytes: Uint8Array): Promise<void> {
    if (this.#closed) throw closedHere("write");
    if (this.#writingEnded) throw writingEnded();
    try {
      for (let rest = bytes; rest.length > 0;) {
        const writing = this.#socket.write(rest);
        const count = await new Promise<number>((resolve, reject) => {
          this.#failWrite = reject;
          writing.then(resolve, reject);
        });
        if (this.#closed) throw closedHere("write");
        if (count === 0) {
          throw new TransportError("lost", `cannot write to ${this.#other()}: it takes nothing more`);
        }
        rest = rest.subarray(count);
      }
    } catch (error) {
      if (this.#closed) throw closedHere("write");
      throw transportErrorOf(error, "use", `cannot write to ${this.#other()}`);
    }
  }

  async closeWrite(): Promise<void> {
    if (this.#closed) throw closedHere("end writing");
    if (this.#writingEnded) return;
    this.#writingEnded = true;
    try {
      await this.#socket.closeWrite();
    } catch (error) {
      if (this.#closed) throw closedHere("end writing");
      // The other end has gone: there is nothing left to end, and the next read tells.
      if (error instanceof Error && error.name === "NotConnected") return;
      throw transportErrorOf(error, "use", `cannot end writing to ${this.#other()}`);
    }
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    try {
      this.#socket.close();
    } catch {
      // It was closed by the system already.
    }
    this.#failRead?.(closedHere("read"));
    this.#failWrite?.(closedHere("write"));
  }

  #other(): string {
    return this.remoteAddress === null
      ? `the other end (${this.transport})`
      : `${this.transport} ${this.remoteAddress}`;
  }
}

/**
 * What everything runs over: a duplex stream of bytes between two ends, in order, nothing lost, nothing doubled.
 *
 * A transport of one's own is an object with these few methods; `transportConformance` shows whether it keeps the
 * promises below.
 */

/**
 * One open connection, seen from one end. At most one `read` and one `write` are under way at a time; reading and
 * writing do not wait for each other.
 */
export interface Connection {
  /** Name of the transport, such as "tcp". */
  readonly transport: string;
  /** Who is at the other end, in the transport's own words, for logs; null where that has no name. */
  readonly remoteAddress: string | null;
  /** This end, likewise. */
  readonly localAddress: string | null;
  /**
   * Whether nobody between the two ends can read or change the bytes: memory, a message port, a Unix socket, the
   * pipes of a child, TLS. An authenticated RPC connection over anything else is encrypted on top.
   */
  readonly confidential: boolean;
  /**
   * Waits for bytes and puts them at the beginning of `buffer`.
   *
   * @param buffer at least one byte long; not looked at, nor to be changed, by anyone else until the promise settles
   * @returns how many bytes came, 1 to `buffer.length`; null after the other end has closed its writing side and
   * everything it wrote was read
   * @throws {TransportError} `closed` if the connection was closed here, `lost` if it was cut
   */
  read(buffer: Uint8Array<ArrayBuffer>): Promise<number | null>;
  /**
   * Hands over all bytes. Settles when the buffer may be used again and the transport has room for more: while
   * the other end does not read, it waits, and so bounds what is buffered in between.
   *
   * @throws {TransportError} `closed` if the connection was closed here, `lost` if it is cut
   */
  write(bytes: Uint8Array): Promise<void>;
  /**
   * Ends this end's writing after what was written; the other end reads on to null. Reading goes on here. A write
   * afterwards is rejected as `closed`; a second `closeWrite` does nothing.
   */
  closeWrite(): Promise<void>;
  /**
   * Gives the connection up at once, both ways: whatever waits here settles, the other end reads to null or gets
   * an error. Does nothing the second time, and never throws.
   */
  close(): void;
}

/** Takes connections in. */
export interface Listener {
  /** What another process gives to `connect` to reach this listener, with the real port. */
  readonly address: string;
  /** The next connection; null after `close`. */
  accept(): Promise<Connection | null>;
  /** Stops listening; connections already accepted stay. Does nothing the second time. */
  close(): void;
}

/** How to stop waiting for a connection. */
export interface ConnectOptions {
  /** Gives up, closes whatever is half open and rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

/** A way to reach others, with or without an address of its own. */
export interface Transport {
  /** Short word such as "tcp", the same as `Connection.transport`; discovery records carry it. */
  readonly name: string;
  /** Where it listens and connects when no other address is given; null if it must be told. */
  readonly address: string | null;
  /**
   * Begins to listen.
   *
   * @param address in the transport's own form, such as "127.0.0.1:0"; without one, `Transport.address`
   * @throws {TransportError} `address` if the address cannot be had, for example because it is taken
   */
  listen(address?: string): Promise<Listener>;
  /**
   * Connects to a listener.
   *
   * @param address what the listener's `address` says; without one, `Transport.address`
   * @throws {TransportError} `refused` if nobody listens there, or it cannot be reached
   */
  connect(address?: string, options?: ConnectOptions): Promise<Connection>;
}

/**
 * What went wrong with a connection:
 * - `closed`: it was closed at this end
 * - `lost`: the other end or the way to it has gone
 * - `refused`: nobody listens at the address, or it takes no more
 * - `address`: the address is not of the transport's form, or cannot be listened on
 * - `permission`: this program may not do that; the message names what it needs
 * - `unsupported`: this system or runtime cannot do it
 * - `untrusted`: who is there cannot show to be the one that was asked for
 * - `tampered`: what arrived is not what the other end sent
 */
export type TransportErrorCode =
  | "closed"
  | "lost"
  | "refused"
  | "address"
  | "permission"
  | "unsupported"
  | "untrusted"
  | "tampered";

/** A connection could not be made or went away. */
export class TransportError extends Error {
  /** What went wrong, for programs. */
  readonly code: TransportErrorCode;

  /** Makes one; the message says what could not be done, what was found and what is accepted. */
  constructor(code: TransportErrorCode, message: string, options: ErrorOptions = {}) {
    super(message, options);
    this.name = "TransportError";
    this.code = code;
  }
}

/** Listening and connecting with stream sockets of the system. */
import type { Connection, Listener } from "./transport.ts";
import { transportErrorOf } from "./transport_errors.ts";

/** What a listener needs of a listening socket; `Deno.Listener` has it. */
export interface ListeningSocket<Socket> {
  /** The next connection. */
  accept(): Promise<Socket>;
  /** Stops listening. */
  close(): void;
}

/**
 * Pause after an accept that failed. The usual reason is that the process or the system has no file descriptor
 * left, and then the connection that waits would make the next accept fail at once, in a loop.
 */
const FAILED_ACCEPT_PAUSE_MS = 100;

/**
 * How an accept fails when the connection itself is at fault: it was reset before it was taken. A pause after it would let
 * a stranger with a few packets a second keep everybody else away.
 */
const STRANGERS_OWN: ReadonlySet<string> = new Set(["NotConnected", "ConnectionAborted", "ConnectionReset"]);

/** The listener. */
export class SocketListener<Socket> implements Listener {
  readonly address: string;
  readonly #socket: ListeningSocket<Socket>;
  readonly #open: (socket: Socket) => Connection;
  #closed = false;
  #endPause: (() => void) | null = null;

  /** @param open makes a connection of a socket that was accepted */
  constructor(socket: ListeningSocket<Socket>, address: string, open: (socket: Socket) => Connection) {
    this.#socket = socket;
    this.address = address;
    this.#open = open;
  }

  async accept(): Promise<Connection | null> {
    while (!this.#closed) {
      let socket: Socket;
      try {
        socket = await this.#socket.accept();
      } catch (error) {
        // A connection that went before it was taken, or no descriptor left: neither may end the service.
        const isStrangersOwn = error instanceof Error && STRANGERS_OWN.has(error.name);
        if (!this.#closed && !isStrangersOwn) await this.#pause();
        continue;
      }
      return this.#open(socket);
    }
    return null;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#endPause?.();
    try {
      this.#socket.close();
    } catch {
      // It was closed by the system already.
    }
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, FAILED_ACCEPT_PAUSE_MS);
      this.#endPause = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

/** A socket that can be closed. */
interface Closable {
  close(): void;
}

/**
 * Waits for a socket to be connected, or for the signal; a socket that comes after the signal is closed.
 *
 * @param what the beginning of an error's message
 * @param needs see `transportErrorOf`
 * @throws {TransportError}
 */
export function connected<Socket extends Closable>(
  open: (signal: AbortSignal | undefined) => Promise<Socket>,
  signal: AbortSignal | undefined,
  what: string,
  needs: string,
): Promise<Socket> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const abort = (): void => reject(signal?.reason);
    signal?.addEventListener("abort", abort, { once: true });
    // Called in a promise: some runtimes throw at once.
    const opening = (async () => await open(signal))();
    opening.then(
      (socket) => {
        signal?.removeEventListener("abort", abort);
        if (signal?.aborted) socket.close();
        else resolve(socket);
      },
      (error) => {
        signal?.removeEventListener("abort", abort);
        reject(transportErrorOf(error, "connect", what, needs));
      },
    );
  });
}

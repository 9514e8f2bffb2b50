/** Connections that came in by themselves, until the program accepts them; what listeners without a socket share. */
import type { Connection } from "./transport.ts";

/** Connections that may wait to be accepted; whoever comes then is refused by the listener. */
export const MAX_WAITING_CONNECTIONS = 1024;

/** Brings connections and those who accept them together, first come, first served. */
export class AcceptQueue {
  readonly #waiting: Connection[] = [];
  readonly #accepting: ((connection: Connection | null) => void)[] = [];
  #isClosed = false;

  /** Connections that wait. */
  get length(): number {
    return this.#waiting.length;
  }

  /** Whether `close` was called. */
  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Takes a connection in, which must not come after `close`. */
  add(connection: Connection): void {
    const accept = this.#accepting.shift();
    if (accept === undefined) this.#waiting.push(connection);
    else accept(connection);
  }

  /** As `Listener.accept`. */
  accept(): Promise<Connection | null> {
    const next = this.#waiting.shift();
    if (next !== undefined) return Promise.resolve(next);
    if (this.#isClosed) return Promise.resolve(null);
    return new Promise((resolve) => this.#accepting.push(resolve));
  }

  /** Closes what waits, and tells those who wait for more. */
  close(): void {
    this.#isClosed = true;
    for (const connection of this.#waiting.splice(0)) connection.close();
    for (const accept of this.#accepting.splice(0)) accept(null);
  }
}

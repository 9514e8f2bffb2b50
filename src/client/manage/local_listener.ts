/** Ports of this machine that programs connect to. */
import type { Timers } from "../../protocol/rpc/timers.ts";
import { Failure } from "../../system/failure.ts";
import { type Bind, formatAddress } from "./forward_spec.ts";

/** A connection of a local program. */
export interface LocalConnection {
  /** Null at the end of what the program sends. */
  read(buffer: Uint8Array): Promise<number | null>;
  write(bytes: Uint8Array): Promise<number>;
  /** Half-close towards the program. */
  closeWrite(): Promise<void>;
  /** Does nothing the second time. */
  close(): void;
}

/** A local port. */
export interface LocalListener {
  /** With the real port. */
  readonly address: Bind;
  /** Null once it is closed. */
  accept(): Promise<LocalConnection | null>;
  close(): void;
}

/** A socket that may be closed by whoever comes first. */
class LocalSocket implements LocalConnection {
  readonly #socket: Deno.TcpConn;
  #isClosed = false;

  constructor(socket: Deno.TcpConn) {
    this.#socket = socket;
  }

  read(buffer: Uint8Array): Promise<number | null> {
    return this.#socket.read(buffer);
  }

  write(bytes: Uint8Array): Promise<number> {
    return this.#socket.write(bytes);
  }

  closeWrite(): Promise<void> {
    return this.#socket.closeWrite();
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#socket.close();
  }
}

/** Longest queue of connections that wait to be accepted; the system may cut it. */
const BACKLOG = 1024;
/** Time to let go of sockets where the system has no more of them. */
const ACCEPT_PAUSE_MS = 100;

/**
 * Listens on an address of this machine.
 *
 * @throws {Failure} if it cannot be had
 */
export function listenLocally({ hostname, port }: Bind, timers: Timers): LocalListener {
  const listener = boundTo(hostname, port);
  let isClosed = false;
  return {
    address: { hostname, port: listener.addr.port },
    async accept(): Promise<LocalConnection | null> {
      while (!isClosed) {
        try {
          const connection = await listener.accept();
          connection.setNoDelay(true);
          return new LocalSocket(connection);
        } catch {
          // Closed, or a client has gone already, or no more sockets are to be had.
          if (!isClosed) await new Promise<void>((resolve) => timers.after(ACCEPT_PAUSE_MS, resolve));
        }
      }
      return null;
    },
    close(): void {
      if (isClosed) return;
      isClosed = true;
      listener.close();
    },
  };
}

function boundTo(hostname: string, port: number): Deno.TcpListener {
  try {
    return Deno.listen({ hostname, port, tcpBacklog: BACKLOG });
  } catch (cause) {
    if (cause instanceof Deno.errors.AddrNotAvailable) throw notHere(hostname, port);
    const found = cause instanceof Deno.errors.AddrInUse
      ? "another program has it"
      : cause instanceof Deno.errors.PermissionDenied
      ? "this user may not; ports from 1024 on are free to all"
      : undefined;
    throw new Failure(
      `cannot listen on ${formatAddress(hostname, port)}${found === undefined ? "" : `: ${found}`}`,
      found === undefined
        ? { cause }
        : { hint: "take another port, or 0 for a free one, before the host: 0:localhost:PORT" },
    );
  }
}

/** Most likely the target was meant: ADDRESS:PORT says where it listens. */
function notHere(hostname: string, port: number): Failure {
  const address = formatAddress(hostname, port);
  return new Failure(`cannot listen on ${address}: it is no address of this machine`, {
    hint: `to lead to ${address}, put a port of this machine before it, or 0 for a free one: 0:${address}`,
  });
}

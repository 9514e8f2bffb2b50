/** The listening end: TLS with the certificate of the data folder. */
import { formatHostPort } from "../../protocol/transport/host_port.ts";
import { SocketConnection } from "../../protocol/transport/socket_connection.ts";
import { type ListeningSocket, SocketListener } from "../../protocol/transport/socket_listener.ts";
import type { Connection, Listener } from "../../protocol/transport/transport.ts";
import { Failure } from "../../system/failure.ts";
import { formatListenAddress, type ListenAddress } from "../knock/listen_address.ts";
import { hintFor } from "../relay/listener.ts";

/** What the listening end shows, in PEM. */
export interface ServerCertificate {
  readonly certificate: string;
  readonly key: string;
}

/** Longest queue of connections that wait to be accepted; the system may cut it. */
const BACKLOG = 1024;

/**
 * Binds. The handshake of TLS belongs to the first read of each connection: an accept that waited for it could be held
 * up by a stranger. Once this has returned, accepting goes on without any permission.
 *
 * @param failed told why a connection could not be accepted, where that is not the stranger's own doing
 * @throws {Failure} naming the address
 */
export function bindLinkListener(
  address: ListenAddress,
  { certificate, key }: ServerCertificate,
  failed: (error: unknown) => void,
): Listener {
  let socket: Deno.TlsListener;
  try {
    socket = Deno.listenTls({
      hostname: address.ip,
      port: address.port,
      cert: certificate,
      key,
      tcpBacklog: BACKLOG,
    });
  } catch (error) {
    throw new Failure(`cannot listen on TCP ${formatListenAddress(address)}`, {
      cause: error,
      hint: hintFor(error, address),
    });
  }
  return new SocketListener(
    new TellingSocket(socket, failed),
    formatHostPort(socket.addr as Deno.NetAddr),
    overTls,
  );
}

/** Tells of accepts that failed, as when no more files may be open; who pauses then is the listener. */
class TellingSocket implements ListeningSocket<Deno.TlsConn> {
  readonly #socket: Deno.TlsListener;
  readonly #failed: (error: unknown) => void;
  #isClosed = false;

  constructor(socket: Deno.TlsListener, failed: (error: unknown) => void) {
    this.#socket = socket;
    this.#failed = failed;
  }

  async accept(): Promise<Deno.TlsConn> {
    try {
      return await this.#socket.accept();
    } catch (error) {
      if (!this.#isClosed && !isStrangersOwn(error)) this.#failed(error);
      throw error;
    }
  }

  close(): void {
    this.#isClosed = true;
    this.#socket.close();
  }
}

/** A connection that was reset before it was accepted. */
function isStrangersOwn(error: unknown): boolean {
  return error instanceof Deno.errors.NotConnected || error instanceof Deno.errors.ConnectionAborted ||
    error instanceof Deno.errors.ConnectionReset;
}

function overTls(socket: Deno.TlsConn): Connection {
  return new SocketConnection(socket, {
    transport: "tls",
    confidential: true,
    localAddress: formatHostPort(socket.localAddr),
    remoteAddress: formatHostPort(socket.remoteAddr),
  });
}

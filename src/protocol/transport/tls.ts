/** TLS over TCP. */
import { formatHostPort, HOST_PORT_FORM, parseHostPort } from "./host_port.ts";
import { SocketConnection } from "./socket_connection.ts";
import { connected, SocketListener } from "./socket_listener.ts";
import { openTcp } from "./tcp.ts";
import {
  type Connection,
  type ConnectOptions,
  type Listener,
  type Transport,
  TransportError,
} from "./transport.ts";
import { noAddress, transportErrorOf } from "./transport_errors.ts";

/** Longest queue of connections that wait to be accepted; the system may cut it. */
const BACKLOG = 1024;

/** Certificates and keys, all in PEM. */
export interface TlsOptions {
  /** To listen: the certificate, followed by those between it and the root. */
  readonly cert?: string;
  /** To listen: its private key. */
  readonly key?: string;
  /** To connect: roots that are believed beside those of the runtime. */
  readonly caCerts?: readonly string[];
  /** To connect: the name that the certificate must be for; the host of the address if not given. */
  readonly serverName?: string;
}

/**
 * Makes a transport over TLS. Addresses are those of `tcp`. The end that connects checks the certificate of the end
 * that listens: it knows whom it talks to, not the other way round; for that, add a handshake of RPC. Both ends are
 * `confidential`.
 *
 * Deno's TLS (rustls) takes part in versions 1.3 and 1.2 and prefers 1.3; it has no setting to refuse 1.2, nor one
 * to ask for client certificates, so this has none either.
 *
 * Needs `--allow-net`, as a whole or for the address.
 *
 * On connections that were accepted Deno leaves `TCP_NODELAY` off and has no way to set it: a small write right after
 * another one may wait for the acknowledgement of the first, up to 40 ms.
 *
 * @param address where it listens and connects when nothing else is said
 * @throws {TypeError} if one of `caCerts` holds no certificate
 */
export function tls(address: string | null = null, options: TlsOptions = {}): Transport {
  // Deno passes over what it cannot read, and everyone would be untrusted without a word of why.
  if (options.caCerts?.some((each) => !each.includes("-----BEGIN CERTIFICATE-----"))) {
    throw new TypeError("cannot use caCerts: one of them holds no certificate, each wants PEM");
  }
  return {
    name: "tls",
    address,
    listen: async (at: string | null = address): Promise<Listener> => await listen(at, options),
    connect: (to: string | null = address, { signal }: ConnectOptions = {}): Promise<Connection> =>
      connect(to, options, signal),
  };
}

function listen(address: string | null, { cert, key }: TlsOptions): Listener {
  if (address === null) throw noAddress("listen", "tls", HOST_PORT_FORM);
  const what = `cannot listen on tls ${address}`;
  if (cert === undefined || key === undefined) {
    throw new TransportError(
      "address",
      `${what}: ${cert === undefined ? "cert" : "key"} is missing, it wants both`,
    );
  }
  const { hostname, port } = parseHostPort(address, what);
  try {
    const socket = Deno.listenTls({ hostname, port, cert, key, tcpBacklog: BACKLOG });
    // The handshake belongs to the first read or write: an accept that waited for it could be held up by a stranger.
    return new SocketListener(socket, formatHostPort(socket.addr as Deno.NetAddr), overTls);
  } catch (error) {
    throw transportErrorOf(error, "listen", what, `--allow-net=${address}`);
  }
}

async function connect(
  address: string | null,
  { caCerts = [], serverName }: TlsOptions,
  signal: AbortSignal | undefined,
): Promise<Connection> {
  if (address === null) throw noAddress("connect", "tls", HOST_PORT_FORM);
  const what = `cannot connect to tls ${address}`;
  const { hostname, port } = parseHostPort(address, what);
  const open = async (signal: AbortSignal | undefined): Promise<Deno.TlsConn> => {
    const plain = await openTcp(hostname, port, signal);
    plain.setNoDelay(true);
    const secured = await Deno.startTls(plain, { hostname: serverName ?? hostname, caCerts: [...caCerts] });
    const giveUp = (): void => secured.close();
    signal?.addEventListener("abort", giveUp, { once: true });
    try {
      await secured.handshake();
      return secured;
    } catch (error) {
      secured.close();
      throw error;
    } finally {
      signal?.removeEventListener("abort", giveUp);
    }
  };
  return overTls(await connected(open, signal, what, `--allow-net=${address}`));
}

function overTls(socket: Deno.TlsConn): Connection {
  return new SocketConnection(socket, {
    transport: "tls",
    confidential: true,
    localAddress: formatHostPort(socket.localAddr),
    remoteAddress: formatHostPort(socket.remoteAddr),
  });
}

/** TCP. */
import { formatHostPort, HOST_PORT_FORM, parseHostPort } from "./host_port.ts";
import { SocketConnection } from "./socket_connection.ts";
import { connected, SocketListener } from "./socket_listener.ts";
import type { Connection, ConnectOptions, Listener, Transport } from "./transport.ts";
import { noAddress, transportErrorOf } from "./transport_errors.ts";

/** Longest queue of connections that wait to be accepted; the system may cut it. */
const BACKLOG = 1024;

/**
 * Makes a transport over TCP. Addresses are "host:port", "[::1]:port" for version 6; port 0 listens on a free one,
 * which `Listener.address` then tells. Small writes are sent at once (`TCP_NODELAY`). Anyone on the way can read and
 * change the bytes: `confidential` is false, also on loopback.
 *
 * Needs `--allow-net`, as a whole or for the address.
 *
 * @param address where it listens and connects when nothing else is said
 */
export function tcp(address: string | null = null): Transport {
  return {
    name: "tcp",
    address,
    listen: async (at: string | null = address): Promise<Listener> => await listen(at),
    connect: async (to: string | null = address, options: ConnectOptions = {}): Promise<Connection> =>
      await connect(to, options),
  };
}

function listen(address: string | null): Listener {
  if (address === null) throw noAddress("listen", "tcp", HOST_PORT_FORM);
  const what = `cannot listen on tcp ${address}`;
  const { hostname, port } = parseHostPort(address, what);
  try {
    const socket = Deno.listen({ hostname, port, tcpBacklog: BACKLOG });
    return new SocketListener(socket, formatHostPort(socket.addr), overTcp);
  } catch (error) {
    throw transportErrorOf(error, "listen", what, `--allow-net=${address}`);
  }
}

async function connect(address: string | null, { signal }: ConnectOptions): Promise<Connection> {
  if (address === null) throw noAddress("connect", "tcp", HOST_PORT_FORM);
  const what = `cannot connect to tcp ${address}`;
  const { hostname, port } = parseHostPort(address, what);
  return overTcp(
    await connected((signal) => openTcp(hostname, port, signal), signal, what, `--allow-net=${address}`),
  );
}

/** Connects a socket; the signal is Deno's to watch as well, so that the attempt itself ends. */
export function openTcp(
  hostname: string,
  port: number,
  signal: AbortSignal | undefined,
): Promise<Deno.TcpConn> {
  return Deno.connect(signal === undefined ? { hostname, port } : { hostname, port, signal });
}

function overTcp(socket: Deno.TcpConn): Connection {
  // Otherwise a frame that follows another waits for the acknowledgement of the first, up to 40 ms.
  try {
    socket.setNoDelay(true);
  } catch {
    // A socket that was reset already; the first read tells.
  }
  return new SocketConnection(socket, {
    transport: "tcp",
    confidential: false,
    localAddress: formatHostPort(socket.localAddr),
    remoteAddress: formatHostPort(socket.remoteAddr),
  });
}

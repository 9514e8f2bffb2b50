/** vsock: connections between a virtual machine and its host, without a network. */
import { SocketConnection, type StreamSocket } from "./socket_connection.ts";
import { connected, type ListeningSocket, SocketListener } from "./socket_listener.ts";
import {
  type Connection,
  type ConnectOptions,
  type Listener,
  type Transport,
  TransportError,
} from "./transport.ts";
import { noAddress, transportErrorOf } from "./transport_errors.ts";

const FORM = 'cid:port, such as "2:1337" for the host, or "any:1337" to listen';
const CID_PORT = /^(any|[0-9]{1,10}):([0-9]{1,10})$/;
/** VMADDR_CID_ANY; also the largest number, and VMADDR_PORT_ANY: vsock(7). */
const ANY = 0xffff_ffff;

/** A socket and who is at its ends. */
export interface VsockSocket extends StreamSocket {
  /** This end. */
  readonly localAddr: VsockPlace;
  /** The other end. */
  readonly remoteAddr: VsockPlace;
}

/** A context identifier (0 hypervisor, 1 this machine, 2 host, 3 and more the guests) and a port, 32 bits each. */
export interface VsockPlace {
  /** Context identifier. */
  readonly cid: number;
  /** Port. */
  readonly port: number;
}

/** The part of the runtime that makes vsock sockets; a parameter, because few machines can try it. */
export interface VsockSystem {
  /** Begins to listen. */
  listen(
    options: VsockPlace & { transport: "vsock" },
  ): ListeningSocket<VsockSocket> & { readonly addr: VsockPlace };
  /** Connects. */
  connect(options: VsockPlace & { transport: "vsock" }): Promise<VsockSocket>;
}

/**
 * Makes a transport over vsock, on Linux. Addresses are "cid:port"; "any:port" listens for everyone, and port
 * 4294967295 on a free one. The host and whoever runs it can read a guest's memory anyway, but other programs that
 * hold the port first could stand in for it: `confidential` is false.
 *
 * **Deno must be started with `--unstable-vsock`** (or `"unstable": ["vsock"]` in its configuration): without it, it
 * ends the whole program at the first listen or connect, with exit code 70 and the name of the flag, and no error
 * that could be caught. Also needs `--allow-net`, as a whole or for `vsock:CID:PORT`.
 *
 * @param address where it listens and connects when nothing else is said
 */
export function vsock(address: string | null = null, system: VsockSystem = Deno): Transport {
  return {
    name: "vsock",
    address,
    listen: async (at: string | null = address): Promise<Listener> => await listen(at, system),
    connect: (to: string | null = address, options: ConnectOptions = {}): Promise<Connection> =>
      connect(to, options, system),
  };
}

function listen(address: string | null, system: VsockSystem): Listener {
  if (address === null) throw noAddress("listen", "vsock", FORM);
  const what = `cannot listen on vsock ${address}`;
  const place = parsePlace(address, what);
  try {
    const socket = system.listen({ transport: "vsock", ...place });
    return new SocketListener(socket, formatPlace(socket.addr), overVsock);
  } catch (error) {
    throw explained(error, transportErrorOf(error, "listen", what, permissionFor(place)));
  }
}

async function connect(
  address: string | null,
  { signal }: ConnectOptions,
  system: VsockSystem,
): Promise<Connection> {
  if (address === null) throw noAddress("connect", "vsock", FORM);
  const what = `cannot connect to vsock ${address}`;
  const place = parsePlace(address, what);
  const open = (): Promise<VsockSocket> => system.connect({ transport: "vsock", ...place });
  try {
    return overVsock(await connected(open, signal, what, permissionFor(place)));
  } catch (error) {
    throw error instanceof TransportError ? explained(error.cause, error) : error;
  }
}

/** A kernel without the address family, or without a way to that machine, says so only by its error numbers. */
function explained(cause: unknown, error: TransportError): TransportError {
  if (!(cause instanceof Error) || error.code === "permission") return error;
  // EAFNOSUPPORT, ENODEV: no vsock in this kernel; EADDRNOTAVAIL: it has no such context.
  if (!/os error (97|19|99)\b/.test(cause.message)) return error;
  return new TransportError(
    "unsupported",
    `${error.message}; the kernel has no vsock for that context identifier`,
    {
      cause,
    },
  );
}

function overVsock(socket: VsockSocket): Connection {
  return new SocketConnection(socket, {
    transport: "vsock",
    confidential: false,
    localAddress: formatPlace(socket.localAddr),
    remoteAddress: formatPlace(socket.remoteAddr),
  });
}

function parsePlace(text: string, what: string): VsockPlace {
  const match = CID_PORT.exec(text);
  const cid = match?.[1] === "any" ? ANY : Number(match?.[1]), port = Number(match?.[2]);
  if (match === null || cid > ANY || port > ANY) {
    throw new TransportError("address", `${what}: ${JSON.stringify(text)} is no address, it wants ${FORM}`);
  }
  return { cid, port };
}

function formatPlace({ cid, port }: VsockPlace): string {
  return `${cid === ANY ? "any" : cid}:${port}`;
}

function permissionFor({ cid, port }: VsockPlace): string {
  return `--allow-net=vsock:${cid}:${port}`;
}

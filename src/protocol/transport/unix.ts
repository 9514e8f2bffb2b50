/** Unix sockets: connections between programs of one machine, with an address in the file system. */
import { SocketConnection } from "./socket_connection.ts";
import { connected, SocketListener } from "./socket_listener.ts";
import {
  type Connection,
  type ConnectOptions,
  type Listener,
  type Transport,
  TransportError,
} from "./transport.ts";
import { noAddress, transportErrorOf } from "./transport_errors.ts";

const FORM = "the path of a socket";
const OWNER_ONLY_MODE = 0o600;

/** What may differ from socket to socket. */
export interface UnixOptions {
  /**
   * Mode of the socket file; 0600, the owner alone, if not given: to connect is to write. It is set right after the
   * socket is made, which is when the umask counts: where that allows others to write, use a folder of your own.
   */
  readonly mode?: number;
}

/**
 * Makes a transport over Unix sockets. Addresses are paths; on Linux at most 107 bytes. The file goes when the
 * listener is closed. One that a killed program left behind is replaced; one that a program listens at is not.
 *
 * Needs `--allow-read`, `--allow-write` and `--allow-net`, each as a whole or for the path (`--allow-net=unix:/path`).
 *
 * @param path where it listens and connects when nothing else is said
 */
export function unix(path: string | null = null, options: UnixOptions = {}): Transport {
  return {
    name: "unix",
    address: path,
    listen: (at: string | null = path): Promise<Listener> => listen(at, options),
    connect: (to: string | null = path, options: ConnectOptions = {}): Promise<Connection> =>
      connect(to, options),
  };
}

async function listen(path: string | null, { mode = OWNER_ONLY_MODE }: UnixOptions): Promise<Listener> {
  if (path === null) throw noAddress("listen", "unix", FORM);
  const what = `cannot listen on unix ${path}`;
  let socket: Deno.Listener<Deno.UnixConn> | null = null;
  try {
    socket = await bind(path, what);
    Deno.chmodSync(path, mode);
    return new SocketListener(socket, path, (accepted) => overUnix(accepted, path, null));
  } catch (error) {
    socket?.close();
    throw transportErrorOf(error, "listen", what, permissionsFor(path));
  }
}

async function bind(path: string, what: string): Promise<Deno.Listener<Deno.UnixConn>> {
  try {
    return Deno.listen({ transport: "unix", path });
  } catch (error) {
    if (!(error instanceof Deno.errors.AddrInUse)) throw error;
  }
  const found = Deno.lstatSync(path);
  if (found.isSocket !== true) throw taken(what, "something else than a socket lies there");
  if (await isListenedAt(path)) throw taken(what, "a program listens there");
  // No await from here on: who looks again and removes at once leaves others the least time to come in between.
  const now = Deno.lstatSync(path);
  if (now.ino !== found.ino || now.dev !== found.dev) {
    throw taken(what, "another program has just begun to listen there");
  }
  Deno.removeSync(path);
  return Deno.listen({ transport: "unix", path });
}

async function isListenedAt(path: string): Promise<boolean> {
  try {
    (await Deno.connect({ transport: "unix", path })).close();
    return true;
  } catch (error) {
    // Whatever else happens, such as a full queue, somebody is there.
    return !(error instanceof Deno.errors.ConnectionRefused);
  }
}

function taken(what: string, found: string): TransportError {
  return new TransportError("address", `${what}: ${found}`);
}

async function connect(path: string | null, { signal }: ConnectOptions): Promise<Connection> {
  if (path === null) throw noAddress("connect", "unix", FORM);
  const open = (): Promise<Deno.UnixConn> => Deno.connect({ transport: "unix", path });
  const socket = await connected(open, signal, `cannot connect to unix ${path}`, permissionsFor(path));
  return overUnix(socket, null, path);
}

function overUnix(
  socket: Deno.UnixConn,
  localAddress: string | null,
  remoteAddress: string | null,
): Connection {
  return new SocketConnection(socket, { transport: "unix", confidential: true, localAddress, remoteAddress });
}

function permissionsFor(path: string): string {
  // The flag of the network takes no relative path.
  const absolute = path.startsWith("/") ? path : `${Deno.cwd()}/${path}`;
  return `--allow-read=${path} --allow-write=${path} --allow-net=unix:${absolute}`;
}

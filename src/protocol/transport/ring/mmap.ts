/**
 * Connections through memory that two processes of one user share; Linux on x86_64 and aarch64, in Deno.
 *
 *   dialler                         listener
 *      | -- connect (Unix socket) --> |
 *      |                              | makes the memory
 *      | <-- hello ------------------ | where it is, see mmap_hello.ts
 *      | opens and checks it          |
 *      | -- a byte -----------------> | closes its file; the memory has no other way in now
 *      | <-- bytes ----------------> | each a bell: look at the ring again
 *
 * The dialler writes the first ring of the memory and reads the second.
 *
 * Opt-in, because it takes unscoped `--allow-ffi`, which is the whole sandbox: who has it can do what the user can.
 * The socket lies in a folder that is the user's alone (0700), which both sides check: so the other side is a process
 * of the same user, or root. It may still be hostile. It cannot make this side read or write outside of the rings,
 * change what was copied out of them, or end this process by cutting the memory short.
 */
import { systemTimers, type Timers } from "../../rpc/timers.ts";
import {
  type Connection,
  type ConnectOptions,
  type Listener,
  type Transport,
  TransportError,
} from "../transport.ts";
import { unix } from "../unix.ts";
import { decodeMmapHello, encodeMmapHello, MMAP_HELLO_BYTES, TOKEN_BYTES } from "./mmap_hello.ts";
import { MmapLink } from "./mmap_link.ts";
import { effectiveUser, makeMemory, type Mapping, openMemory } from "./mmap_memory.ts";
import { checkRingBytes, DEFAULT_RING_BYTES, pairBytes, ringsIn } from "./ring.ts";
import { RingConnection } from "./ring_connection.ts";

/** Name of the transport. */
const MMAP_RING = "mmap-ring";
/** The token, and zeros up to the next cache line. */
const RINGS_AT = 64;
const SETUP_TIMEOUT_MS = 5_000;

/** How memory between processes is used. */
export interface MmapRingOptions {
  /** Size of the ring for each direction: a power of two, 4,096 to 67,108,864. Default: 262,144. */
  readonly ringBytes?: number;
  /** How long `connect` waits for the listener to say where the memory is. Default: 5,000. */
  readonly setupTimeoutMs?: number;
  /** Clock of that wait. */
  readonly timers?: Timers;
}

/**
 * Makes the transport. It needs `--allow-ffi` without a path, `--allow-read` and `--allow-write` of the socket's
 * folder, and `--allow-net=unix:PATH`.
 *
 * @param path where the socket is or shall be, in a folder of the user's own with mode 0700
 * @throws {RangeError} if no ring can have that size
 */
export function mmapRing(path?: string, options: MmapRingOptions = {}): Transport {
  const { setupTimeoutMs = SETUP_TIMEOUT_MS, timers = systemTimers } = options;
  const ringBytes = checkRingBytes(options.ringBytes ?? DEFAULT_RING_BYTES);
  return {
    name: MMAP_RING,
    address: path ?? null,
    async listen(address = path): Promise<Listener> {
      const socketPath = await checkedPath(address);
      // What cannot work fails here, and not with the first connection.
      makeMemory(memoryBytes(ringBytes)).unmap();
      return listenerOn(await unix().listen(socketPath), ringBytes);
    },
    async connect(address = path, { signal }: ConnectOptions = {}): Promise<Connection> {
      signal?.throwIfAborted();
      const socketPath = await checkedPath(address);
      const socket = await unix().connect(socketPath, { signal });
      let giveUpFor: unknown = null;
      const giveUp = (reason: unknown): void => {
        giveUpFor = reason;
        socket.close();
      };
      const onAbort = (): void => giveUp(signal?.reason);
      const stopTimer = timers.after(setupTimeoutMs, () => giveUp(silent(socketPath, setupTimeoutMs)));
      if (signal?.aborted) onAbort();
      signal?.addEventListener("abort", onAbort);
      try {
        return await takeMemory(socket, socketPath);
      } catch (error) {
        socket.close();
        throw giveUpFor ?? error;
      } finally {
        stopTimer();
        signal?.removeEventListener("abort", onAbort);
      }
    },
  };
}

function silent(path: string, setupTimeoutMs: number): TransportError {
  return new TransportError(
    "refused",
    `cannot share memory over "${path}": the other process said nothing for ${setupTimeoutMs} ms`,
  );
}

function memoryBytes(ringBytes: number): number {
  return RINGS_AT + pairBytes(ringBytes);
}

function listenerOn(sockets: Listener, ringBytes: number): Listener {
  return {
    address: sockets.address,
    async accept(): Promise<Connection | null> {
      for (;;) {
        const socket = await sockets.accept();
        if (socket === null) return null;
        try {
          return await giveMemory(socket, sockets.address, ringBytes);
        } catch {
          // The one who asked has gone already, or there is no memory for him now; the next one may get some.
          socket.close();
        }
      }
    },
    close: () => sockets.close(),
  };
}

/** The listener's half of the set-up. Waits for nothing that the other side must do. */
async function giveMemory(socket: Connection, address: string, ringBytes: number): Promise<Connection> {
  const made = makeMemory(memoryBytes(ringBytes));
  try {
    const token = crypto.getRandomValues(new Uint8Array(TOKEN_BYTES));
    new Uint8Array(made.memory).set(token);
    await socket.write(encodeMmapHello({ pid: Deno.pid, descriptor: made.descriptor, ringBytes, token }));
  } catch (error) {
    made.unmap();
    throw error;
  }
  const [incoming, outgoing] = ringsIn(made.memory, RINGS_AT, ringBytes);
  const link = new MmapLink(socket, made, made.closeDescriptor);
  const name = { transport: MMAP_RING, remoteAddress: null, localAddress: address };
  return new RingConnection(name, incoming, outgoing, link);
}

/** The dialler's half. */
async function takeMemory(socket: Connection, address: string): Promise<Connection> {
  const { pid, descriptor, ringBytes, token } = decodeMmapHello(await readHello(socket));
  const mapping = openMemory(pid, descriptor, memoryBytes(ringBytes));
  try {
    checkToken(mapping, token);
    await socket.write(new Uint8Array(1));
  } catch (error) {
    mapping.unmap();
    throw error;
  }
  const [outgoing, incoming] = ringsIn(mapping.memory, RINGS_AT, ringBytes);
  const link = new MmapLink(socket, mapping, () => {});
  const name = { transport: MMAP_RING, remoteAddress: address, localAddress: null };
  return new RingConnection(name, incoming, outgoing, link);
}

async function readHello(socket: Connection): Promise<Uint8Array<ArrayBuffer>> {
  const hello = new Uint8Array(MMAP_HELLO_BYTES);
  for (let got = 0; got < hello.length;) {
    const count = await socket.read(hello.subarray(got));
    if (count === null) {
      throw new TransportError("refused", "cannot share memory: the other process closed the socket at once");
    }
    got += count;
  }
  return hello;
}

function checkToken({ memory }: Mapping, token: Uint8Array): void {
  const found = new Uint8Array(memory, 0, TOKEN_BYTES);
  if (token.every((byte, index) => byte === found[index])) return;
  throw new TransportError(
    "refused",
    "cannot share memory: what was found is another one's; both processes must be of one PID namespace",
  );
}

/**
 * @throws {TransportError} "address" if there is no path or its folder is open to others, "permission" if the folder
 * must not be looked at
 */
async function checkedPath(path: string | undefined): Promise<string> {
  if (path === undefined || !path.startsWith("/")) {
    throw new TransportError(
      "address",
      `cannot share memory over ${
        path === undefined ? "no path" : `"${path}"`
      }: the path of a socket is wanted, from / on`,
    );
  }
  const user = effectiveUser();
  const folder = path.slice(0, Math.max(1, path.lastIndexOf("/")));
  const { isDirectory, uid, mode } = await lookAt(folder);
  if (isDirectory && uid === user && mode !== null && (mode & 0o077) === 0) return path;
  throw new TransportError(
    "address",
    `cannot share memory over "${path}": its folder must be one of this user's own with mode 0700`,
  );
}

async function lookAt(folder: string): Promise<Deno.FileInfo> {
  try {
    return await Deno.lstat(folder);
  } catch (cause) {
    if (cause instanceof Deno.errors.NotCapable) {
      throw new TransportError("permission", `cannot share memory: it needs --allow-read=${folder}`, {
        cause,
      });
    }
    throw new TransportError("address", `cannot share memory: there is no folder "${folder}"`, { cause });
  }
}

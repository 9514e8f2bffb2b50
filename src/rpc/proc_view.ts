/** Looks at processes in /proc, which the runtime allows only with every permission there is. */
import { PeerRefusal } from "../protocol/rpc/peer_verifier.ts";
import {
  checkedImagePath,
  type ProcessView,
  type RunningImage,
  type SocketEnds,
  startTimeOf,
} from "./peer_process.ts";

const ESTABLISHED = "01";
/** Columns of /proc/net/tcp (proc_net(5)): number, local, remote, state, four of timers, user, probes, inode. */
const LOCAL = 1,
  REMOTE = 2,
  STATE = 3,
  INODE = 9;

/** Looks at processes through /proc. */
export class ProcView implements ProcessView {
  /** Those of other users are seen by root only. */
  async holders(ends: SocketEnds, signal: AbortSignal): Promise<readonly number[]> {
    const link = `socket:[${await inodeOf(ends)}]`;
    const pids: number[] = [];
    for await (const { name } of Deno.readDir("/proc")) {
      signal.throwIfAborted();
      if (/^\d+$/.test(name) && await holds(name, link)) pids.push(Number(name));
    }
    return pids;
  }

  /** Device and inode are of the file that runs, also where another lies at its path by now. */
  async image(pid: number): Promise<RunningImage> {
    return await present(async () => {
      const path = checkedImagePath(await Deno.readLink(`/proc/${pid}/exe`));
      const { dev, ino, size, mtime, ctime } = await Deno.stat(`/proc/${pid}/exe`);
      const startTime = startTimeOf(await Deno.readTextFile(`/proc/${pid}/stat`));
      return {
        path,
        identity: [pid, startTime, dev, ino, size, mtime?.getTime(), ctime?.getTime(), path].join(" "),
      };
    });
  }

  /** Reads /proc/PID/exe. */
  async readImage(pid: number, maxBytes: number, signal: AbortSignal): Promise<Uint8Array<ArrayBuffer>> {
    return await this.readFile(`/proc/${pid}/exe`, maxBytes, signal);
  }

  /** Reads a whole file. */
  async readFile(path: string, maxBytes: number, signal: AbortSignal): Promise<Uint8Array<ArrayBuffer>> {
    return await present(async () => {
      requireFile(path, await Deno.stat(path), maxBytes); // opening a pipe would wait
      using file = await Deno.open(path);
      // Once more, of what was really opened: the path is the other side's, and may be a link to anything by now.
      const size = requireFile(path, await file.stat(), maxBytes);
      const bytes = new Uint8Array(size + 1);
      let length = 0;
      for (let count: number | null = 0; count !== null && length <= size; length += count ?? 0) {
        count = await file.read(bytes.subarray(length));
        signal.throwIfAborted();
      }
      if (length > size) throw new PeerRefusal(`found ${path} to grow while it is read`);
      return bytes.subarray(0, length);
    });
  }
}

/** @returns its length */
function requireFile(path: string, { size, isFile }: Deno.FileInfo, maxBytes: number): number {
  if (isFile && size <= maxBytes) return size;
  throw new PeerRefusal(`found ${path} to be ${isFile ? `${size} bytes long` : "no file"}`);
}

/** The inode of a socket, out of /proc/net/tcp and tcp6; the 4 numbers of an established one are there once. */
async function inodeOf(ends: SocketEnds): Promise<string> {
  const local = procAddresses(ends.local), remote = procAddresses(ends.remote);
  for (const table of ["/proc/net/tcp", "/proc/net/tcp6"]) {
    const text = await seen(Deno.readTextFile(table), "");
    for (const line of text.split("\n")) {
      const columns = line.trim().split(/\s+/);
      const inode = columns[INODE];
      const isIt = local.includes(columns[LOCAL] ?? "") && remote.includes(columns[REMOTE] ?? "") &&
        columns[STATE] === ESTABLISHED;
      if (isIt && inode !== undefined) return inode;
    }
  }
  throw new PeerRefusal(`found no open socket at ${ends.local}`);
}

async function holds(pid: string, link: string): Promise<boolean> {
  const folder = `/proc/${pid}/fd`;
  const names = await seen(Array.fromAsync(Deno.readDir(folder), ({ name }) => name), []);
  const targets = await Promise.all(names.map((name) => seen(Deno.readLink(`${folder}/${name}`), "")));
  return targets.includes(link);
}

/** Or nothing, of what is gone meanwhile or somebody else's. */
async function seen<T>(looked: Promise<T>, nothing: T): Promise<T> {
  try {
    return await looked;
  } catch (error) {
    if (isUnseen(error)) return nothing;
    throw error;
  }
}

function isUnseen(error: unknown): boolean {
  return error instanceof Deno.errors.NotFound || error instanceof Deno.errors.PermissionDenied;
}

/** What is not there, or somebody else's, is a reason to refuse; anything else is a failure of this side. */
async function present<T>(look: () => Promise<T>): Promise<T> {
  try {
    return await look();
  } catch (error) {
    if (isUnseen(error)) {
      throw new PeerRefusal("found a process or file that is gone, missing or not readable", {
        cause: error,
      });
    }
    throw error;
  }
}

/**
 * An address as /proc/net/tcp writes it: hexadecimal, each 32 bits in the byte order of the machine, which is little
 * endian wherever Deno runs. An IPv4 address stands in tcp6 as well where the socket is one of IPv6.
 */
export function procAddresses(address: string): readonly string[] {
  const colon = address.lastIndexOf(":");
  const port = Number(address.slice(colon + 1)).toString(16).toUpperCase().padStart(4, "0");
  const host = address.slice(0, colon);
  if (host === "[::1]") return [`${"0".repeat(24)}01000000:${port}`];
  const v4 = host.split(".").reverse().map((part) =>
    Number(part).toString(16).toUpperCase().padStart(2, "0")
  );
  return [`${v4.join("")}:${port}`, `${"0".repeat(16)}FFFF0000${v4.join("")}:${port}`];
}

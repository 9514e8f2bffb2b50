/** Which process is at the other end of a TCP connection within this machine, and what it runs: Linux only. */
import { PeerRefusal } from "../protocol/rpc/peer_verifier.ts";
import { type Connection, TransportError } from "../protocol/transport/transport.ts";

/** Both ends of a TCP connection as the process at the other end sees them, "127.0.0.1:40000" or "[::1]:40000". */
export interface SocketEnds {
  /** Its own. */
  readonly local: string;
  /** Ours. */
  readonly remote: string;
}

/** What a process runs, as far as it can be told without reading it. */
export interface RunningImage {
  /** Absolute path. */
  readonly path: string;
  /** Process and file in one text, equal for the same process and the same file only: start time, device, inode. */
  readonly identity: string;
}

/** A way to look at the processes of this machine. */
export interface ProcessView {
  /**
   * Every process that holds the socket, once each, as far as this program may see them.
   *
   * @throws {PeerRefusal} if there is no such socket
   */
  holders(ends: SocketEnds, signal: AbortSignal): Promise<readonly number[]>;
  /**
   * What a process runs.
   *
   * @throws {PeerRefusal} if there is no such process, or no such file any more
   */
  image(pid: number, signal: AbortSignal): Promise<RunningImage>;
  /**
   * The bytes of what a process runs, by the process and not by a path, which may be another file's by now.
   *
   * @throws {PeerRefusal} if there is no such process or the file is longer than `maxBytes`
   */
  readImage(pid: number, maxBytes: number, signal: AbortSignal): Promise<Uint8Array<ArrayBuffer>>;
  /**
   * A file, whole.
   *
   * @throws {PeerRefusal} if there is no such file, or it is longer than `maxBytes`
   */
  readFile(path: string, maxBytes: number, signal: AbortSignal): Promise<Uint8Array<ArrayBuffer>>;
}

const LOOPBACK = /^(?:127\.\d+\.\d+\.\d+|\[::1\]):\d+$/;
const DELETED = / \(deleted\)$/;
/** Controls, marks of direction, line ends, and what stands for bytes that are no UTF-8. */
const UNSEEN = /[\p{C}\p{Zl}\p{Zp}\ufffd]/u;

/**
 * The ends of a connection, as the other side sees them.
 *
 * @throws {TransportError} "unsupported" if it is not TCP within this machine
 */
export function socketEndsOf({ transport, remoteAddress, localAddress }: Connection): SocketEnds {
  const local = unmapped(remoteAddress ?? ""), remote = unmapped(localAddress ?? "");
  if (transport === "tcp" && LOOPBACK.test(local) && LOOPBACK.test(remote)) return { local, remote };
  throw new TransportError(
    "unsupported",
    `cannot tell the process at the other end of ${transport} from ${remoteAddress ?? "nowhere"}: ` +
      "supported is TCP on a loopback address",
  );
}

/** "[::ffff:127.0.0.1]:1" is 127.0.0.1:1 through a socket of IPv6. */
export function unmapped(address: string): string {
  return address.replace(/^\[::ffff:([\d.]+)\]:/, "$1:");
}

/**
 * The one process that holds the other end. If more than one does, none of them can be made responsible for what is
 * said.
 *
 * @throws {PeerRefusal} if there is none, or more than one
 */
export async function soleHolder(view: ProcessView, ends: SocketEnds, signal: AbortSignal): Promise<number> {
  const [pid, ...others] = await view.holders(ends, signal);
  if (pid === undefined) throw new PeerRefusal(`found no process that holds ${ends.local}`);
  if (others.length > 0) {
    throw new PeerRefusal(`found ${others.length + 1} processes that hold ${ends.local}, accepted is one`);
  }
  return pid;
}

/**
 * The path that /proc/PID/exe leads to, which is the other side's choice and goes into logs.
 *
 * @throws {PeerRefusal} if it does not name the file any more, or has characters that nobody sees or that are no UTF-8
 */
export function checkedImagePath(target: string): string {
  if (UNSEEN.test(target)) throw new PeerRefusal("found a process whose executable has no printable path");
  if (target.startsWith("/") && !DELETED.test(target)) return target;
  throw new PeerRefusal("found a process whose executable is no longer where it was");
}

/**
 * Start time of a process, in ticks since the machine started: with the pid it names a process for as long as the
 * machine runs.
 *
 * @param stat what /proc/PID/stat holds (proc_pid_stat(5)); the name in parentheses is the process's own choice
 */
export function startTimeOf(stat: string): string {
  const START_TIME_AFTER_NAME = 20; // field 22, counted from 1; two lie before the end of the name
  const field = stat.slice(stat.lastIndexOf(")") + 1).trim().split(" ")[START_TIME_AFTER_NAME - 1];
  if (field !== undefined && /^\d+$/.test(field)) return field;
  throw new PeerRefusal("found a process whose state cannot be read");
}

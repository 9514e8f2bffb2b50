/**
 * Looks at processes with `ss`, `readlink` and `cat`, for programs that may run these and have no further permission.
 * Debian packages iproute2 and coreutils.
 */
import { PeerRefusal } from "../protocol/rpc/peer_verifier.ts";
import { TransportError } from "../protocol/transport/transport.ts";
import {
  checkedImagePath,
  type ProcessView,
  type RunningImage,
  type SocketEnds,
  startTimeOf,
  unmapped,
} from "./peer_process.ts";

/** What it runs: the grant is `--allow-run=ss,readlink,cat`. */
export const VIEW_PROGRAMS = ["ss", "readlink", "cat"] as const;
/** One of them. */
export type ViewProgram = typeof VIEW_PROGRAMS[number];

/** Runs a program and gives its output; throws `PeerRefusal` if it fails or gives more than `maxBytes`. */
export type RunProgram = (
  program: ViewProgram,
  args: readonly string[],
  maxBytes: number,
  signal: AbortSignal,
) => Promise<Uint8Array<ArrayBuffer>>;

/** Output of ss for one socket, a link, a stat file: short. /proc/PID/maps of a large program: 100 bytes a line. */
const MAX_TEXT_BYTES = 16 * 1024 * 1024;

/** Looks at processes by running programs. */
export class ProgramView implements ProcessView {
  readonly #run: RunProgram;

  /** @param run how programs are run; another one in tests */
  constructor(run: RunProgram = runProgram) {
    this.#run = run;
  }

  /** Those of other users are seen by root only. */
  async holders(ends: SocketEnds, signal: AbortSignal): Promise<readonly number[]> {
    const filter = `( sport = :${portOf(ends.local)} and dport = :${portOf(ends.remote)} )`;
    const text = await this.#text("ss", ["-H", "-t", "-n", "-p", "state", "established", filter], signal);
    return holdersOf(text, ends);
  }

  /** Device and inode are those of the file as it is mapped. */
  async image(pid: number, signal: AbortSignal): Promise<RunningImage> {
    const target = await this.#text("readlink", ["-n", `/proc/${pid}/exe`], signal);
    const path = checkedImagePath(target);
    const file = mappedFileOf(await this.#text("cat", [`/proc/${pid}/maps`], signal), path);
    const startTime = startTimeOf(await this.#text("cat", [`/proc/${pid}/stat`], signal));
    return { path, identity: [pid, startTime, file, path].join(" ") };
  }

  /** Reads /proc/PID/exe. */
  async readImage(pid: number, maxBytes: number, signal: AbortSignal): Promise<Uint8Array<ArrayBuffer>> {
    return await this.#run("cat", [`/proc/${pid}/exe`], maxBytes, signal);
  }

  /** Reads a whole file. */
  async readFile(path: string, maxBytes: number, signal: AbortSignal): Promise<Uint8Array<ArrayBuffer>> {
    return await this.#run("cat", ["--", path], maxBytes, signal);
  }

  async #text(program: ViewProgram, args: readonly string[], signal: AbortSignal): Promise<string> {
    return new TextDecoder().decode(await this.#run(program, args, MAX_TEXT_BYTES, signal));
  }
}

const SOCKET_LINE = /^\d+\s+\d+\s+(\S+)\s+(\S+)\s+users:\(((?:\("[^"]*",pid=\d+,fd=\d+\),?)+)\)\s*$/;

/**
 * The processes in the output of ss. The names in it are the processes' own choice, up to 15 bytes: one that writes
 * `",pid=1,fd=3),(` there would be taken for another by whoever searches the line for a pid. So the line must have
 * its form from beginning to end, and say no more often "pid=" than it names processes.
 *
 * @throws {PeerRefusal} if it is of another form, or there is no such socket
 */
export function holdersOf(output: string, ends: SocketEnds): readonly number[] {
  const lines = output.split("\n").filter((line) => line !== "");
  const pids = new Set<number>();
  let found = 0;
  for (const line of lines) {
    const [, local, remote, users] = SOCKET_LINE.exec(line) ?? [];
    if (local === undefined || remote === undefined || users === undefined) {
      throw new PeerRefusal("found a socket that ss does not name a process for in its usual form");
    }
    if (unmapped(local) !== ends.local || unmapped(remote) !== ends.remote) continue;
    found++;
    for (const [, pid] of users.matchAll(/pid=(\d+)/g)) pids.add(Number(pid));
  }
  if (found !== 1) throw new PeerRefusal(`found ${found} open sockets at ${ends.local}`);
  return [...pids];
}

/**
 * Device and inode of the executable, out of /proc/PID/maps (proc_pid_maps(5)): where it is mapped from is told by
 * the kernel, also where another file lies at its path by now.
 *
 * @throws {PeerRefusal} if it is not mapped, or from two files of that path
 */
export function mappedFileOf(maps: string, path: string): string {
  // A line feed in a path is written \012 there, and would not be found: refused.
  const files = new Set<string>();
  for (const line of maps.split("\n")) {
    const [, device, inode, mapped] = /^\S+ \S+ \S+ (\S+) (\d+) +(\/.*)$/.exec(line) ?? [];
    if (mapped === path) files.add(`${device} ${inode}`);
  }
  const [file, ...others] = files;
  if (file !== undefined && others.length === 0) return file;
  throw new PeerRefusal("found a process that does not have its executable mapped, once");
}

function portOf(address: string): string {
  return address.slice(address.lastIndexOf(":") + 1);
}

async function runProgram(
  program: ViewProgram,
  args: readonly string[],
  maxBytes: number,
  signal: AbortSignal,
): Promise<Uint8Array<ArrayBuffer>> {
  signal.throwIfAborted();
  const child = spawned(program, args);
  const kill = (): void => {
    try {
      child.kill("SIGKILL");
    } catch {
      // It has ended by itself.
    }
  };
  signal.addEventListener("abort", kill);
  try {
    const output = await collected(child.stdout, maxBytes);
    if (output === null) kill();
    const { success } = await child.status;
    signal.throwIfAborted();
    if (output !== null && success) return output;
    throw new PeerRefusal(
      output === null
        ? `found more than ${maxBytes} bytes`
        : `found a process or file that ${program} cannot read`,
    );
  } finally {
    signal.removeEventListener("abort", kill);
  }
}

function spawned(program: ViewProgram, args: readonly string[]): Deno.ChildProcess {
  try {
    return new Deno.Command(program, { args: [...args], stdin: "null", stdout: "piped", stderr: "null" })
      .spawn();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) {
      throw new TransportError("unsupported", `cannot look at processes: there is no program ${program}`, {
        cause: error,
      });
    }
    throw error;
  }
}

/** All of a stream; null as soon as it is longer, and then the rest of it is not read. */
async function collected(
  stream: ReadableStream<Uint8Array<ArrayBuffer>>,
  maxBytes: number,
): Promise<Uint8Array<ArrayBuffer> | null> {
  const parts: Uint8Array<ArrayBuffer>[] = [];
  let length = 0;
  for await (const part of stream) {
    length += part.length;
    if (length > maxBytes) return null; // leaving the loop cancels the stream
    parts.push(part);
  }
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

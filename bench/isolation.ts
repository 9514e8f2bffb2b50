/**
 * Runs the measuring process where nothing of it can leak: in a network namespace and a process group of its own.
 */
import { holdsWithin } from "./sleep.ts";

/** How long the dead may take to be gone. */
const GROUP_END_MS = 500;

export interface Isolation {
  /** Words before the command; none if there is no namespace. */
  readonly prefix: readonly string[];
  /** Why there is no namespace; null if there is one. */
  readonly missing: string | null;
}

/** Brings up the loopback of the new namespace, then becomes the command. */
const BRING_UP = 'ip link set lo up && exec "$@"';
/** As root; else as root of a user namespace, where the machine allows that. */
const UNSHARE = [["unshare", "--net", "--"], ["unshare", "--map-root-user", "--net", "--"]] as const;

/** Finds out by trying. */
export async function findIsolation(): Promise<Isolation> {
  let missing = "";
  for (const unshare of UNSHARE) {
    const prefix = [...unshare, "sh", "-c", BRING_UP, "sh"];
    const [program = "", ...args] = [...prefix, "true"];
    try {
      const { success, stderr } = await new Deno.Command(program, { args, stdout: "null" }).output();
      if (success) return { prefix, missing: null };
      missing = new TextDecoder().decode(stderr).trim().split("\n").at(-1) ?? "";
    } catch {
      return { prefix: [], missing: "unshare is not installed: apt-get install util-linux iproute2" };
    }
  }
  return { prefix: [], missing: `no network namespace could be made: ${missing}` };
}

/** A process that leads a process group, all of which ends with it. */
export class IsolatedProcess implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #stdin: WritableStreamDefaultWriter<Uint8Array>;

  /** @param words the command, without the isolation's prefix */
  constructor(isolation: Isolation, words: readonly string[], env: Record<string, string>) {
    const [program = "", ...args] = [...isolation.prefix, ...words];
    this.#child = new Deno.Command(program, {
      args,
      env,
      stdin: "piped",
      stdout: "piped",
      // A group of its own, so that a Ctrl-C reaches only us, and `end` reaches all of them.
      detached: true,
    }).spawn();
    // Held open: its end tells the child that we are gone, however we went.
    this.#stdin = this.#child.stdin.getWriter();
  }

  /** What it prints, line by line. */
  async *lines(): AsyncGenerator<string> {
    let rest = "";
    for await (const text of this.#child.stdout.pipeThrough(new TextDecoderStream())) {
      const lines = (rest + text).split("\n");
      rest = lines.pop() ?? "";
      yield* lines;
    }
  }

  /** Ends whatever is left of the group. */
  async [Symbol.asyncDispose](): Promise<void> {
    killGroup(this.#child.pid);
    await this.#child.status;
    await this.#stdin.close().catch(() => {});
    // The others of the group die a moment later, and until then they may still write into the folder.
    await holdsWithin(GROUP_END_MS, () => !killGroup(this.#child.pid));
  }
}

/** Ends this process and its group as soon as whoever started it is gone. */
export async function endWithParent(): Promise<void> {
  for await (const _chunk of Deno.stdin.readable) {
    // Nothing is ever sent; only the end matters.
  }
  killGroup(Deno.pid);
}

/** Whether there was anything left to end. */
function killGroup(pid: number): boolean {
  try {
    Deno.kill(-pid, "SIGKILL");
    return true;
  } catch {
    return false;
  }
}

/**
 * Runs other programs for an update: systemctl, and the executables it has verified.
 *
 * Through the shell, since the runtime makes every file that `--allow-run` names unwritable, also one that is not
 * there yet, and an update has to write the very files it then tries. The shell is given no text but `exec "$@"`.
 */
import { Failure } from "../../system/failure.ts";

export const SHELL = "/bin/sh";
const EXEC = 'exec "$@"';
/** Nothing of the caller's environment: what an executable does must not depend on who updates. */
const ENVIRONMENT: Readonly<Record<string, string>> = {
  PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
  LANG: "C.UTF-8",
};

/** Longest part of a program's output that an error shows. */
const MAX_SHOWN_CHARS = 600;

export interface ProgramOutput {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** The command line of a program, ready to be run. */
export function programCommand(program: string, args: readonly string[]): Deno.Command {
  return new Deno.Command(SHELL, {
    args: ["-c", EXEC, "sh", program, ...args],
    clearEnv: true,
    env: { ...ENVIRONMENT },
    cwd: "/",
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  });
}

const BUSY_ATTEMPTS = 20;
const BUSY_PAUSE_MS = 50;
const NOT_EXECUTED = 126;

/**
 * Runs what runs a program through the shell, again while the file is busy: it was written a moment ago, and a process
 * that was forked from this one meanwhile holds its descriptor until it has started its own program.
 */
export async function unlessBusy<T extends { readonly code: number; readonly stderr: string }>(
  run: () => Promise<T>,
): Promise<T> {
  for (let attempt = 1;; attempt++) {
    const result = await run();
    const isBusy = result.code === NOT_EXECUTED && /text file busy/i.test(result.stderr);
    if (!isBusy || attempt === BUSY_ATTEMPTS) return result;
    await new Promise((resolve) => setTimeout(resolve, BUSY_PAUSE_MS));
  }
}

/**
 * Runs a program to its end.
 *
 * @throws {Failure} if it has not ended after `timeoutMs`; it is killed then
 */
export function runProgram(
  program: string,
  args: readonly string[],
  timeoutMs: number,
): Promise<ProgramOutput> {
  return unlessBusy(() => runOnce(program, args, timeoutMs));
}

async function runOnce(program: string, args: readonly string[], timeoutMs: number): Promise<ProgramOutput> {
  const child = programCommand(program, args).spawn();
  let isLate = false;
  const timer = setTimeout(() => {
    isLate = true;
    child.kill("SIGKILL");
  }, timeoutMs);
  try {
    const { code, stdout, stderr } = await child.output();
    if (isLate) throw new Failure(`${program} ${args.join(" ")} did not end within ${timeoutMs} ms`);
    const decoder = new TextDecoder();
    return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
  } finally {
    clearTimeout(timer);
  }
}

/** The end of what a program said, on one line, for an error. */
export function lastWords(output: string): string {
  const text = output.trim().replace(/\s+/g, " ");
  return text.length <= MAX_SHOWN_CHARS ? text : `...${text.slice(-MAX_SHOWN_CHARS)}`;
}

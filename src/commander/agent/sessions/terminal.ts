/**
 * A shell in a pseudo-terminal. The runtime cannot make one, so script(1) of util-linux does; what it writes and reads
 * is the terminal's other end:
 *
 * ```
 * agent -> sh -> script -> [pty] -> sh (root; size, owner of the terminal, account) -> setpriv -> the user's shell
 *   |              |                 |
 *   |<- output ----+                 |
 *   |<- stderr of script: one line, "+PID TTY" or "!why not" ---+  by descriptor 3, which the user's shell does not have
 * ```
 *
 * So what the wrapper reports never is in the output, and nobody but root can forge it: the process id is one whose
 * session is killed later on, as root. The size is set before the shell runs: a terminal begins with 0 x 0.
 */
import type { WindowSize } from "../../../protocol/manage/session_contract.ts";
import type { Timers } from "../../../protocol/rpc/timers.ts";
import { SHELL } from "../../knock/shell_path.ts";
import type { SessionConfig } from "./hosted_session.ts";
import {
  endSessions,
  EXEC_AS_USER,
  type SessionProcess,
  startScript,
  userEnvironment,
} from "./session_process.ts";

/** Longest report; what comes behind it is read to nowhere. */
const MAX_REPORT_CHARACTERS = 1024;
const REPORT_WITHIN_MS = 10_000;

// As login(1) does, the terminal is given to the user: programs that open it by its name (gpg, tmux) could not else.
// `-l` for shells that are known to have it: without, they would not read the user's profile.
const INSIDE = `
failed() {
  printf '!%s\\n' "$1" >&3
  exit 1
}
tty=$(tty) || failed "there is no terminal to be had"
stty rows "$POSTERN_ROWS" cols "$POSTERN_COLUMNS" iutf8 || failed "the size of the terminal cannot be set"
[ -z "$POSTERN_UID" ] || chown "$POSTERN_UID" "$tty" 2>/dev/null
SHELL=$POSTERN_SHELL
unset POSTERN_ROWS POSTERN_COLUMNS POSTERN_SHELL POSTERN_INSIDE
login=
case \${SHELL##*/} in
  sh | ash | dash | bash | zsh | ksh | mksh | yash | fish) login=-l ;;
esac
printf '+%s %s\\n' "$$" "$tty" >&3
exec 3>&-
set -- "$SHELL" $login
${EXEC_AS_USER}`;

/**
 * script(1) hands its command to `$SHELL`. It goes on for ever when the agent is killed, with nobody who could reach the
 * shell: so it goes with the agent, and the terminal hangs up. A setpriv that cannot do that does not keep anybody out.
 */
const OUTSIDE = `
setpriv --pdeathsig KILL true >/dev/null 2>&1 && set -- setpriv --pdeathsig KILL
exec 3>&2 "$@" script -qfec "$POSTERN_INSIDE" /dev/null
`;

const RESIZE = `exec stty -F "$1" rows "$2" cols "$3"`;

/** How the shell is started. */
export interface TerminalStart extends WindowSize {
  /** Value of TERM. */
  readonly term: string;
  readonly config: Pick<SessionConfig, "runAs" | "account" | "shellProgram">;
}

/** The terminal, with the shell in it. */
export class Terminal {
  /** What the shell and its programs print; ends with the shell. Whoever does not read it makes them wait. */
  readonly output: ReadableStreamDefaultReader<Uint8Array<ArrayBuffer>>;
  /** Of the shell; 128 + n after signal n. */
  readonly exitCode: Promise<number>;
  readonly #process: SessionProcess;
  readonly #input: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>>;
  readonly #leader: number;
  readonly #path: string;
  #wantedSize: WindowSize | null = null;
  #resizing: Promise<void> | null = null;
  #ending: Promise<boolean> | null = null;

  private constructor(process: SessionProcess, leader: number, path: string) {
    this.#process = process;
    this.#leader = leader;
    this.#path = path;
    this.exitCode = process.exitCode;
    this.output = process.child.stdout.getReader();
    this.#input = process.child.stdin.getWriter();
    // A write tells; this would count as a rejection that nobody handles.
    this.#input.closed.catch(() => {});
  }

  /**
   * Starts the shell.
   *
   * @throws {Error} saying why not
   */
  static async start({ rows, columns, term, config }: TerminalStart, timers: Timers): Promise<Terminal> {
    const process = startScript(OUTSIDE, [], {
      ...userEnvironment(config),
      SHELL,
      TERM: term,
      POSTERN_INSIDE: INSIDE,
      POSTERN_SHELL: config.shellProgram ?? config.account.shell,
      POSTERN_ROWS: String(rows),
      POSTERN_COLUMNS: String(columns),
    });
    const report = await reportOf(process.child, timers);
    const [, pid, path] = /^\+([1-9][0-9]*) (\/dev\/pts\/[0-9]+)$/.exec(report) ?? [];
    if (pid === undefined || path === undefined) {
      await endSessions([process]);
      await Promise.allSettled([process.child.stdin.abort(), process.child.stdout.cancel()]);
      throw new Error(reasonOf(report));
    }
    return new Terminal(process, Number(pid), path);
  }

  /**
   * Types. Waits while the shell's programs take nothing.
   *
   * @throws {Error} of the runtime when the terminal is gone
   */
  async write(bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    await this.#input.write(bytes);
  }

  /** Gives the window another size. Of those that come while one is being set, only the last one counts. */
  resize(size: WindowSize): void {
    this.#wantedSize = size;
    this.#resizing ??= this.#resize().finally(() => this.#resizing = null);
  }

  /**
   * Hangs up, and ends all that is left in the session of the terminal.
   *
   * @returns whether nothing is left
   */
  end(): Promise<boolean> {
    this.#ending ??= this.#end();
    return this.#ending;
  }

  async #resize(): Promise<void> {
    // The terminal's name may be another one's once this one is gone.
    while (this.#wantedSize !== null && this.#ending === null) {
      const { rows, columns } = this.#wantedSize;
      this.#wantedSize = null;
      try {
        const { child, exitCode } = startScript(RESIZE, [this.#path, String(rows), String(columns)]);
        await Promise.all([child.stdin.close(), child.stdout.cancel(), child.stderr.cancel(), exitCode]);
      } catch {
        // No process is to be had for it: the window keeps its size.
      }
    }
  }

  async #end(): Promise<boolean> {
    const isGone = await endSessions([this.#process], [this.#leader]);
    await Promise.allSettled([this.output.cancel(), this.#resizing]);
    // Not awaited: what cannot be killed may never take what was typed.
    this.#input.abort().catch(() => {});
    return isGone;
  }
}

/** The line that the wrapper reports; then reads to nowhere, so that nobody waits for a full pipe. */
async function reportOf(child: Deno.ChildProcess, timers: Timers): Promise<string> {
  const reader = child.stderr.pipeThrough(new TextDecoderStream()).getReader();
  const callOff = timers.after(REPORT_WITHIN_MS, () => void reader.cancel().catch(() => {}));
  let text = "";
  try {
    while (!text.includes("\n") && text.length < MAX_REPORT_CHARACTERS) {
      const { done, value } = await reader.read();
      if (done) {
        break;
      }
      text += value;
    }
  } catch {
    // The same as an end.
  }
  callOff();
  void drain(reader);
  return text.split("\n", 1)[0] ?? "";
}

async function drain(reader: ReadableStreamDefaultReader<string>): Promise<void> {
  try {
    while (!(await reader.read()).done);
  } catch {
    // Nothing of it is wanted.
  }
}

function reasonOf(report: string): string {
  const reason = report.replace(/^!/, "").slice(0, 200);
  return reason === "" ? `there was no sign of it within ${REPORT_WITHIN_MS / 1000} s` : reason;
}

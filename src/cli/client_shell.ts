/** `postern client shell`. */
import type { LocalTerminal } from "../client/manage/local_terminal.ts";
import { termOf, windowOf } from "../client/manage/local_terminal.ts";
import { manageFolder } from "../client/manage/manage_folder.ts";
import { manageScope, shellPermissions } from "../client/manage/permissions.ts";
import { reachHost, requireSessionId } from "../client/manage/reattach.ts";
import { runShell } from "../client/manage/shell.ts";
import { ShellRecording } from "../client/manage/shell_recording.ts";
import { systemTimers } from "../protocol/rpc/timers.ts";
import type { WindowSize } from "../protocol/manage/session_contract.ts";
import { Failure, UsageFailure } from "../system/failure.ts";
import { hasPermission } from "../system/permissions.ts";
import { LeavingSignals } from "./leaving_signals.ts";
import { exitWithoutSession } from "./manage_failure.ts";
import { requireManagePermissions } from "./manage_permissions.ts";
import type { OptionValues } from "./parse.ts";
import type { Invocation } from "./permission_audit.ts";
import { shellWord } from "./shell_word.ts";
import { exit, printNotice, printPrompt } from "./terminal.ts";

const LINE = "postern client shell";

/** Runs a shell in this terminal and ends the program with its exit code. */
export async function clientShell(values: OptionValues, invocation: Invocation): Promise<void> {
  const host = namedHost(values);
  const attach = values.text("attach");
  const session = attach === undefined ? null : requireSessionId(attach);
  const dir = values.text("dir"), recordPath = values.text("record");
  const terminal = new Terminal();
  using signals = new LeavingSignals(() => terminal.setRaw(false));
  const onNotice = (line: string): void => terminal.notice(line);
  let recording: ShellRecording | null = null;
  let code: number;
  try {
    const needed = shellPermissions({ ...manageScope(dir), recordPath });
    requireManagePermissions(needed, invocation, "cannot open a shell");
    const folder = manageFolder(dir);
    if (recordPath !== undefined) recording = record(recordPath, host ?? `session ${session}`, terminal);
    code = await runShell({
      attach: session,
      detach: values.flag("detach"),
      terminal,
      reach: reachHost({
        folder,
        host,
        action: "shell",
        outlivesLink: values.flag("detach"),
        acceptKey: values.flag("accept-key"),
        timers: systemTimers,
        onNotice,
      }),
      recording,
      timers: systemTimers,
      random: Math.random,
      onNotice,
      signal: signals.signal,
      attachOptions: dirWords(dir).map((word) => ` ${word}`).join(""),
    });
  } catch (error) {
    recording?.close();
    terminal.freshLine();
    if (signals.exitCode !== null) exit(signals.exitCode);
    return exitWithoutSession(error, {
      host: host ?? undefined,
      acceptLine: [LINE, host ?? `--attach ${session}`, "--accept-key", ...dirWords(dir)].join(" "),
    });
  }
  recording?.close();
  exit(signals.exitCode ?? code);
}

/**
 * The host; null where the session of `--attach` tells it.
 *
 * @throws {UsageFailure} if there is neither
 */
function namedHost(values: OptionValues): string | null {
  const [host, ...more] = values.operands;
  if (host !== undefined && more.length === 0) return host;
  if (host === undefined && values.text("attach") !== undefined) return null;
  throw new UsageFailure(
    `cannot run "${LINE}": ${
      host === undefined ? "no host is named" : "several hosts are named"
    }, accepted: HOST, or ` +
      "--attach ID",
    { hint: "postern client hosts lists those that you may reach" },
  );
}

function dirWords(dir: string | undefined): string[] {
  return dir === undefined ? [] : ["--dir", shellWord(dir)];
}

function record(path: string, title: string, terminal: Terminal): ShellRecording {
  return ShellRecording.create({
    path,
    title,
    ...windowOf(terminal),
    term: termOf(terminal),
    wallMs: Date.now(),
    timers: systemTimers,
    onNotice: (line) => terminal.notice(line),
  });
}

/** Standard input and output, as a shell uses them. */
class Terminal implements LocalTerminal {
  readonly isTerminal: boolean = Deno.stdin.isTerminal();
  readonly showsOnTerminal: boolean = Deno.stdout.isTerminal();
  readonly input = Deno.stdin;
  readonly output = {
    write: (bytes: Uint8Array): Promise<number> => {
      this.#isInLine = true;
      return writeToStdout(bytes);
    },
  };
  readonly term: string | undefined = hasPermission({ name: "env", variable: "TERM" })
    ? Deno.env.get("TERM")
    : undefined;
  #isRaw = false;
  /** Whether the cursor may be anywhere. */
  #isInLine = false;

  setRaw(raw: boolean): void {
    if (!this.isTerminal || raw === this.#isRaw) return;
    this.#isRaw = raw;
    try {
      Deno.stdin.setRaw(raw);
    } catch (error) {
      // At the end the terminal may have gone, and there is nothing to set back.
      if (raw) throw error;
    }
  }

  size(): WindowSize | null {
    if (!this.showsOnTerminal && !this.isTerminal) return null;
    try {
      return Deno.consoleSize();
    } catch {
      return null;
    }
  }

  onResize(act: () => void): () => void {
    if (Deno.build.os === "windows") return (): void => {};
    Deno.addSignalListener("SIGWINCH", act);
    return () => Deno.removeSignalListener("SIGWINCH", act);
  }

  /** A line for people. */
  notice(line: string): void {
    this.freshLine();
    printNotice(line);
  }

  /** Goes to a new line, wherever a shell has left the cursor. */
  freshLine(): void {
    if (this.#isInLine && this.showsOnTerminal) printPrompt("\r\n");
    this.#isInLine = false;
  }
}

async function writeToStdout(bytes: Uint8Array): Promise<number> {
  try {
    return await Deno.stdout.write(bytes);
  } catch (error) {
    if (!(error instanceof Deno.errors.BrokenPipe)) throw error;
    throw new Failure("cannot show what the shell prints: standard output was closed");
  }
}

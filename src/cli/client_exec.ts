/** `postern client exec`. */
import { exec } from "../client/manage/exec.ts";
import { manageFolder } from "../client/manage/manage_folder.ts";
import { openSession } from "../client/manage/open_session.ts";
import { managePermissions, manageScope } from "../client/manage/permissions.ts";
import { connectServer } from "../client/manage/server_link.ts";
import { systemTimers } from "../protocol/rpc/timers.ts";
import { UsageFailure } from "../system/failure.ts";
import { EndingSession } from "./ending_session.ts";
import { exitWithoutSession } from "./manage_failure.ts";
import { requireManagePermissions } from "./manage_permissions.ts";
import type { OptionValues } from "./parse.ts";
import type { Invocation } from "./permission_audit.ts";
import { shellWord } from "./shell_word.ts";
import { exit, printNotice } from "./terminal.ts";

const LINE = "postern client exec";
/** Nobody reads standard output any more: what a shell says of a program that SIGPIPE has ended. */
const EXIT_BROKEN_PIPE = 141;
/** The program is not there, as shells and the host say it. */
const EXIT_NOT_FOUND = 127;
/** Program and arguments together, as the host takes them. */
const MAX_COMMAND_BYTES = 128 * 1024;

/** Runs a program on one host, and ends with its exit code; or on many. */
export async function clientExec(values: OptionValues, invocation: Invocation): Promise<void> {
  const command = requireCommand(values);
  const tag = values.text("all-tagged");
  const [host] = values.operands;
  if ((tag === undefined) === (host === undefined)) {
    throw wrongWords(
      host === undefined ? "found neither HOST nor --all-tagged" : "found both HOST and --all-tagged",
      "one of the two",
    );
  }
  const requirePermissions = (): void => {
    const grants = managePermissions(manageScope(values.text("dir")));
    requireManagePermissions(grants, invocation, "cannot run anything");
  };
  if (tag !== undefined) {
    requirePermissions();
    const { execOnTagged } = await import("./client_exec_many.ts");
    return await execOnTagged(tag, command, values);
  }
  if (values.flag("json")) {
    throw wrongWords("found --json without --all-tagged", "--json where it runs on many hosts");
  }
  if (host !== undefined) exit(await execOn(host, command, values, requirePermissions));
}

async function execOn(
  host: string,
  command: readonly string[],
  values: OptionValues,
  requirePermissions: () => void,
): Promise<number> {
  const onNotice = printNotice;
  using ending = new EndingSession();
  const { signal } = ending;
  try {
    requirePermissions();
    const link = await connectServer({
      folder: manageFolder(values.text("dir")),
      timers: systemTimers,
      onNotice,
      signal,
    });
    ending.closes(link);
    const acceptKey = values.flag("accept-key");
    const session = await openSession(link, { host, action: "exec", acceptKey, onNotice, signal });
    ending.closes(session.peer);
    const exitCode = await exec(session, {
      host,
      command,
      stdin: Deno.stdin,
      onStdout: (bytes) => writeAll(Deno.stdout, bytes),
      onStderr: (bytes) => writeAll(Deno.stderr, bytes),
      signal,
    });
    await link.leave();
    if (exitCode === EXIT_NOT_FOUND) hintAtShell(host, command);
    return exitCode;
  } catch (error) {
    const isUnread = error instanceof Deno.errors.BrokenPipe;
    if (signal.aborted || isUnread) {
      await ending.close();
      return isUnread ? EXIT_BROKEN_PIPE : ending.exitCode;
    }
    // Or the server's audit had a lost link for each refused session.
    await ending.close();
    return exitWithoutSession(error, { host, acceptLine: acceptLine(host, command, values) });
  }
}

/** A whole line of a shell in one word is no name of a program. */
function hintAtShell(host: string, [program = "", ...rest]: readonly string[]): void {
  if (rest.length > 0 || !/[\s|&;<>$]/.test(program)) return;
  printNotice(
    `hint: it runs without a shell; this takes one: ${LINE} ${host} -- sh -c ${shellWord(program)}`,
  );
}

/** As it has to be typed. */
function acceptLine(host: string, command: readonly string[], values: OptionValues): string {
  const dir = values.text("dir");
  const options = ["--accept-key", ...dir === undefined ? [] : ["--dir", shellWord(dir)]];
  return [LINE, host, ...options, "--", ...command.map(shellWord)].join(" ");
}

function requireCommand({ rest = [] }: OptionValues): readonly string[] {
  if (rest.length === 0 || rest[0] === "") {
    throw wrongWords("no PROGRAM is named", "PROGRAM and its arguments behind --");
  }
  const bytes = rest.reduce((sum, word) => sum + new TextEncoder().encode(word).length, 0);
  if (bytes <= MAX_COMMAND_BYTES) return rest;
  throw wrongWords(`found a command line of ${bytes} bytes`, `at most ${MAX_COMMAND_BYTES}`);
}

function wrongWords(found: string, accepted: string): UsageFailure {
  return new UsageFailure(`cannot run "${LINE}": ${found}, accepted: ${accepted}`, {
    hint: `${LINE} --help`,
  });
}

async function writeAll(
  stream: { write(bytes: Uint8Array): Promise<number> },
  bytes: Uint8Array,
): Promise<void> {
  for (let written = 0; written < bytes.length;) written += await stream.write(bytes.subarray(written));
}

/** `postern client exec --all-tagged`. */
import { CapturedOutput, type CapturedText } from "../client/manage/captured_output.ts";
import { LineOutput } from "../client/manage/line_output.ts";
import { manageFolder } from "../client/manage/manage_folder.ts";
import { execOnMany, type HostOutcome, type HostOutput } from "../client/manage/many_hosts.ts";
import { connectServer } from "../client/manage/server_link.ts";
import { systemTimers } from "../protocol/rpc/timers.ts";
import { describeError } from "../system/failure.ts";
import { escapeHidden } from "../system/visible_text.ts";
import { EndingSession } from "./ending_session.ts";
import { manageFailure } from "./manage_failure.ts";
import type { OptionValues } from "./parse.ts";
import { exit, EXIT_FAILED, jsonLine, printExact, printNotice } from "./terminal.ts";

/** Nobody reads standard output any more: what a shell says of a program that SIGPIPE has ended. */
const EXIT_BROKEN_PIPE = 141;

/** What is shown of one host while it runs and when it is done. */
interface HostView extends HostOutput {
  done(outcome: HostOutcome): Promise<void> | void;
}

/**
 * Runs it on every host with the tag.
 *
 * @throws {Failure} if it failed on any, after all are done
 */
export async function execOnTagged(
  tag: string,
  command: readonly string[],
  values: OptionValues,
): Promise<void> {
  const isJson = values.flag("json"), onNotice = printNotice;
  const views = new Map<string, HostView>();
  const viewOf = isJson ? jsonView : linesView();
  using ending = new EndingSession();
  const { signal } = ending;
  try {
    const link = await connectServer({
      folder: manageFolder(values.text("dir")),
      timers: systemTimers,
      onNotice,
      signal,
    });
    ending.closes(link);
    const outcomes = await execOnMany(link, {
      tag,
      command,
      parallel: values.number("parallel"),
      acceptKey: values.flag("accept-key"),
      onNotice,
      signal,
      outputOf: (host) => {
        const view = viewOf(host);
        views.set(host, view);
        return view;
      },
      onOutcome: (outcome) => {
        const view = views.get(outcome.host) ?? viewOf(outcome.host);
        // What it holds is not needed any more, and there may be thousands.
        views.delete(outcome.host);
        return view.done(outcome);
      },
    });
    await link.leave();
    const summary = summaryOf(outcomes);
    if (summary === null) return;
    printNotice(`error: ${summary}`);
    exit(EXIT_FAILED);
  } catch (error) {
    const isUnread = error instanceof Deno.errors.BrokenPipe;
    if (!signal.aborted && !isUnread) throw manageFailure(error);
    await ending.close();
    exit(isUnread ? EXIT_BROKEN_PIPE : ending.exitCode);
  }
}

/** Null: it succeeded everywhere. */
function summaryOf(outcomes: readonly HostOutcome[]): string | null {
  const failed = outcomes.filter((each) => !("exitCode" in each) || each.exitCode !== 0);
  if (failed.length === 0) return null;
  const each = failed.map((outcome) =>
    "exitCode" in outcome ? `${outcome.host} (exit code ${outcome.exitCode})` : outcome.host
  );
  return `it failed on ${failed.length} of ${outcomes.length} hosts: ${each.join(", ")}`;
}

/** Whole lines behind the name of their host; lines of all hosts go one after the other. */
function linesView(): (host: string) => HostView {
  const stdout = new SharedStream(Deno.stdout), stderr = new SharedStream(Deno.stderr);
  return (host) => {
    const out = new LineOutput(host, (bytes) => stdout.write(bytes), Deno.stdout.isTerminal());
    const errors = new LineOutput(host, (bytes) => stderr.write(bytes), Deno.stderr.isTerminal());
    return {
      stdout: (bytes): Promise<void> => out.take(bytes),
      stderr: (bytes): Promise<void> => errors.take(bytes),
      async done(outcome): Promise<void> {
        await out.end();
        await errors.end();
        if ("exitCode" in outcome) return;
        const told = describeError(outcome.failure);
        printNotice(`error: ${told.startsWith(`${host} `) ? told : `${host}: ${told}`}`);
        if (outcome.failure.hint !== undefined) printNotice(`hint: ${outcome.failure.hint}`);
      },
    };
  };
}

/** A stream that many write to: one after the other, whatever the system takes at once. */
class SharedStream {
  readonly #stream: { write(bytes: Uint8Array): Promise<number> };
  #last: Promise<void> = Promise.resolve();

  constructor(stream: { write(bytes: Uint8Array): Promise<number> }) {
    this.#stream = stream;
  }

  write(bytes: Uint8Array): Promise<void> {
    this.#last = this.#last.then(async () => {
      for (let at = 0; at < bytes.length;) at += await this.#stream.write(bytes.subarray(at));
    });
    return this.#last;
  }
}

/** One line of JSON for each host, when it is done there. */
function jsonView(host: string): HostView {
  const stdout = new CapturedOutput(), stderr = new CapturedOutput();
  return {
    stdout: (bytes): void => stdout.take(bytes),
    stderr: (bytes): void => stderr.take(bytes),
    done(outcome): void {
      const output = { ...fields("stdout", stdout.shown()), ...fields("stderr", stderr.shown()) };
      const line = "exitCode" in outcome
        ? { host, exitCode: outcome.exitCode, ...output }
        : { host, error: describeError(outcome.failure), hint: outcome.failure.hint ?? null, ...output };
      // Escaped characters are the same JSON, and drive no terminal.
      printExact(`${escapeHidden(jsonLine(line).trimEnd())}\n`);
    },
  };
}

/** `stdout` or `stdoutBase64`, and `stdoutCutBytes` where something is missing. */
function fields(name: "stdout" | "stderr", captured: CapturedText): Record<string, string | number> {
  const shown = "text" in captured ? { [name]: captured.text } : { [`${name}Base64`]: captured.base64 };
  return captured.cutBytes === 0 ? shown : { ...shown, [`${name}CutBytes`]: captured.cutBytes };
}

/** `postern client replay`. */
import { replayPermissions } from "../client/manage/permissions.ts";
import { replay } from "../client/manage/replay.ts";
import { systemTimers } from "../protocol/rpc/timers.ts";
import { Failure, UsageFailure } from "../system/failure.ts";
import { LeavingSignals } from "./leaving_signals.ts";
import { requireManagePermissions } from "./manage_permissions.ts";
import type { OptionValues } from "./parse.ts";
import type { Invocation } from "./permission_audit.ts";
import { exit, printNotice, printPrompt } from "./terminal.ts";

const LINE = "postern client replay";
const MIN_SPEED = 0.01, MAX_SPEED = 1000;

/** Plays a recording on standard output, as it is: escape sequences are what a recording is made of. */
export async function clientReplay(values: OptionValues, invocation: Invocation): Promise<void> {
  const [path = ""] = values.operands;
  const speed = speedOf(values.requiredText("speed"));
  requireManagePermissions(replayPermissions(path), invocation, "cannot play the recording");
  const isTerminal = Deno.stdout.isTerminal();
  let reset = "";
  using signals = new LeavingSignals(() => printPrompt(reset));
  try {
    await replay({
      name: path,
      input: await openRecording(path),
      output: Deno.stdout,
      speed: isTerminal ? speed : Infinity,
      idleLimitMs: values.number("idle-limit"),
      timers: systemTimers,
      signal: signals.signal,
      window: isTerminal ? Deno.consoleSize() : null,
      onNotice: printNotice,
    }, (played) => {
      if (isTerminal) reset = played.reset;
    });
  } catch (error) {
    // The reader went away, as `| head` does.
    if (error instanceof Deno.errors.BrokenPipe) return;
    if (signals.exitCode === null) throw error;
  } finally {
    printPrompt(reset);
  }
  if (signals.exitCode !== null) exit(signals.exitCode);
}

async function openRecording(path: string): Promise<ReadableStream<Uint8Array>> {
  try {
    return (await Deno.open(path)).readable;
  } catch (cause) {
    throw new Failure(`cannot play ${path}`, { cause });
  }
}

function speedOf(text: string): number {
  const speed = /^[0-9]{1,4}(?:\.[0-9]{1,3})?$/.test(text) ? Number(text) : NaN;
  if (speed >= MIN_SPEED && speed <= MAX_SPEED) return speed;
  throw new UsageFailure(
    `cannot run "${LINE}": option --speed: found "${text}", accepted: a number from ${MIN_SPEED} to ${MAX_SPEED}`,
    { hint: `${LINE} --help` },
  );
}

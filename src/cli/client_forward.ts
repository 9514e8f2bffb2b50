/** `postern client forward`. */
import { runForward } from "../client/manage/forward.ts";
import { declaredTargets } from "../client/manage/forward_spec.ts";
import { listenLocally } from "../client/manage/local_listener.ts";
import { manageFolder } from "../client/manage/manage_folder.ts";
import { forwardPermissions, manageScope } from "../client/manage/permissions.ts";
import { reachHost } from "../client/manage/reattach.ts";
import { ToldFailure } from "../client/manage/told_failure.ts";
import { systemTimers } from "../protocol/rpc/timers.ts";
import { Failure } from "../system/failure.ts";
import { FORWARD_LINE, forwardListenScopes, whatToForward } from "./forward_words.ts";
import { LeavingSignals } from "./leaving_signals.ts";
import { manageFailure } from "./manage_failure.ts";
import { requireManagePermissions } from "./manage_permissions.ts";
import type { OptionValues } from "./parse.ts";
import type { Invocation } from "./permission_audit.ts";
import { shellWord } from "./shell_word.ts";
import { exit, printNotice, printResult } from "./terminal.ts";

/** Forwards until Ctrl-C. Standard output has one line for each port that listens. */
export async function clientForward(values: OptionValues, invocation: Invocation): Promise<void> {
  const { host, specs, socks } = whatToForward(values);
  const targets = declaredTargets(specs, socks !== null, values.text("target"));
  const dir = values.text("dir"), listen = forwardListenScopes(values);
  requireManagePermissions(forwardPermissions({ ...manageScope(dir), listen }), invocation, "cannot forward");
  const folder = manageFolder(dir);
  using signals = new LeavingSignals();
  let isListening = false;
  try {
    await runForward({
      host,
      specs,
      socks,
      reach: reachHost({
        folder,
        host,
        action: "forward",
        targets,
        acceptKey: values.flag("accept-key"),
        timers: systemTimers,
        onNotice: printNotice,
      }),
      listen: (bind) => listenLocally(bind, systemTimers),
      timers: systemTimers,
      random: Math.random,
      onListening: (line) => {
        isListening = true;
        printResult(`${line}\n`);
      },
      onNotice: printNotice,
      signal: signals.signal,
    });
  } catch (error) {
    // Before it listened, nothing was done.
    if (signals.exitCode !== null && !isListening) exit(signals.exitCode);
    const failure = manageFailure(error, { host, acceptLine: acceptLine(values) });
    throw socks !== null && values.text("target") === undefined ? withTargetHint(failure) : failure;
  }
}

/** --socks asks for every target, and a policy that allows only some refuses that. */
function withTargetHint(failure: unknown): unknown {
  if (!(failure instanceof ToldFailure) || failure.code !== "refused_by_server") return failure;
  return new Failure(failure.message, {
    cause: failure.cause,
    hint: "--socks asks for *:*; where policy.toml allows less, say what you need by --target HOST:PORT,...",
  });
}

/** As it has to be typed. */
function acceptLine(values: OptionValues): string {
  const options = ["socks", "target", "dir"].flatMap((name) => {
    const value = values.text(name);
    return value === undefined ? [] : [`--${name}`, shellWord(value)];
  });
  return [FORWARD_LINE, ...values.operands.map(shellWord), ...options, "--accept-key"].join(" ");
}

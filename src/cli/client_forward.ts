/** `postern client forward`. */
import { runForward } from "../client/manage/forward.ts";
import {
  type Bind,
  declaredTargets,
  formatAddress,
  type ForwardSpec,
  parseForwardSpec,
  parseSocksBind,
} from "../client/manage/forward_spec.ts";
import { listenLocally } from "../client/manage/local_listener.ts";
import { manageFolder } from "../client/manage/manage_folder.ts";
import { forwardPermissions, manageScope } from "../client/manage/permissions.ts";
import { reachHost } from "../client/manage/reattach.ts";
import { systemTimers } from "../protocol/rpc/timers.ts";
import { UsageFailure } from "../system/failure.ts";
import { LeavingSignals } from "./leaving_signals.ts";
import { manageFailure } from "./manage_failure.ts";
import { requireManagePermissions } from "./manage_permissions.ts";
import type { OptionValues } from "./parse.ts";
import type { Invocation } from "./permission_audit.ts";
import { shellWord } from "./shell_word.ts";
import { exit, printNotice, printResult } from "./terminal.ts";

const LINE = "postern client forward";

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
    throw manageFailure(error, { host, acceptLine: acceptLine(values) });
  }
}

/**
 * Where it listens, as the flag of the permission has it: `host:port`, with port 0 for any free one.
 *
 * @throws {UsageFailure} if the words are wrong
 */
export function forwardListenScopes(values: OptionValues): string[] {
  const { specs, socks } = whatToForward(values);
  return [...specs.map(({ bind }) => bind), ...(socks === null ? [] : [socks])]
    .map(({ hostname, port }) => formatAddress(hostname, port));
}

/** What the words say. */
interface Wish {
  readonly host: string;
  readonly specs: readonly ForwardSpec[];
  readonly socks: Bind | null;
}

/** As it has to be typed. */
function acceptLine(values: OptionValues): string {
  const options = ["socks", "target", "dir"].flatMap((name) => {
    const value = values.text(name);
    return value === undefined ? [] : [`--${name}`, shellWord(value)];
  });
  return [LINE, ...values.operands.map(shellWord), ...options, "--accept-key"].join(" ");
}

function whatToForward(values: OptionValues): Wish {
  const [host, ...texts] = values.operands;
  const socks = values.text("socks");
  if (host === undefined) throw wrongWords("no host is named");
  if (texts.length === 0 && socks === undefined) throw wrongWords("nothing to forward is named");
  if (socks === undefined && values.text("target") !== undefined) {
    throw wrongWords("--target is about --socks, which is missing");
  }
  return {
    host,
    specs: texts.map(parseForwardSpec),
    socks: socks === undefined ? null : parseSocksBind(socks),
  };
}

function wrongWords(problem: string): UsageFailure {
  return new UsageFailure(
    `cannot run "${LINE}": ${problem}, accepted: HOST and one or more of [BIND:]PORT[:HOST:PORT], or --socks`,
    { hint: `${LINE} --help` },
  );
}

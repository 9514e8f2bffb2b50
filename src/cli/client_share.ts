/** `postern client share`. */
import { throughRelay } from "../client/transfer/connect.ts";
import { sharePermissions } from "../client/transfer/permissions.ts";
import { namedRelay, requireRelay } from "../client/transfer/relay_address.ts";
import { share, type ShareWhat } from "../client/transfer/share.ts";
import { namedStateFolder, usableStateFolder } from "../client/transfer/state_folder.ts";
import { UsageFailure } from "../system/failure.ts";
import type { OptionValues } from "./parse.ts";
import type { Invocation } from "./permission_audit.ts";
import { printNotice, printResult } from "./terminal.ts";
import { requireTransferPermissions, runTransfer } from "./transfer_run.ts";

const LINE = "postern client share";

/** Shares until every receiver has everything. Standard output carries the code alone, or JSON. */
export async function clientShare(values: OptionValues, invocation: Invocation): Promise<void> {
  const what = whatToShare(values);
  const relay = requireRelay(values.text("relay"), `${LINE} ${usualWords(values)}`);
  const paths = "paths" in what ? what.paths : [];
  requireTransferPermissions(
    sharePermissions({ relay: namedRelay(relay), paths, stateFolder: namedStateFolder() }),
    invocation,
    "cannot share",
  );
  const code = values.text("code");
  const receivers = values.number("receivers");
  await runTransfer(values, { side: "sender", relay, receivers }, async (parts) => {
    const { onEvent } = parts;
    await share(what, {
      ...parts,
      onEvent: values.flag("json") ? onEvent : (event): void => {
        if (event.event === "code") printCode(event.code, relay);
        onEvent(event);
      },
      connect: throughRelay(relay),
      relay,
      receivers,
      stateFolder: usableStateFolder(),
      fresh: values.flag("fresh"),
      ...(code === undefined ? {} : { code }),
    });
    return { json: { result: "shared", receivers } };
  });
}

/** The code is what was asked for; what to do with it is said to people. */
function printCode(code: string, relay: string): void {
  printResult(`${code}\n`);
  printNotice("at the other side run this, and type the code there when it is asked for:");
  printNotice(`  postern client receive --relay ${relay}`);
}

function whatToShare(values: OptionValues): ShareWhat {
  const { operands } = values;
  const text = values.text("text");
  if (text !== undefined) {
    if (operands.length > 0) throw wrongWords(`found --text and ${operands.length} more to share`);
    return { text };
  }
  if (operands.includes("-")) {
    if (operands.length > 1) throw wrongWords("found standard input and something else to share");
    if (Deno.stdin.isTerminal()) printNotice("reading what is typed here; Ctrl-D ends it");
    return { stream: Deno.stdin.readable, name: values.requiredText("name") };
  }
  if (operands.length === 0) throw wrongWords("nothing to share is named");
  return { paths: operands };
}

function wrongWords(problem: string): UsageFailure {
  return new UsageFailure(
    `cannot run "${LINE}": ${problem}, accepted: one of PATH..., --text TEXT, or - for standard input`,
    { hint: `${LINE} --help` },
  );
}

/** For hints: what was shared, without what may be private. */
function usualWords(values: OptionValues): string {
  if (values.text("text") !== undefined) return "--text TEXT";
  return values.operands.includes("-") ? "-" : "PATH";
}

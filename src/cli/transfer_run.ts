/** What the two commands of a transfer have in common: who is told what, and how it ends. */
import type { OnTransferEvent, TransferEvent } from "../protocol/transfer/events.ts";
import { TransferError } from "../protocol/transfer/errors.ts";
import { type PermissionGrant, permissionSet } from "../system/permissions.ts";
import { escapeHidden } from "../system/visible_text.ts";
import type { OptionValues } from "./parse.ts";
import { type Invocation, requirePermissions } from "./permission_audit.ts";
import { printExact, printNotice } from "./terminal.ts";
import { interruptedEarly, type TransferContext, transferFailure } from "./transfer_failure.ts";
import { Interruption } from "./transfer_interruption.ts";
import { NO_PROGRESS, PlainProgress, type ProgressView } from "./transfer_progress.ts";
import { TransferView } from "./transfer_view.ts";

/** What every transfer is given. */
export interface TransferParts {
  readonly onEvent: OnTransferEvent;
  readonly onNotice: (line: string) => void;
  readonly signal: AbortSignal;
  readonly graceMs: number;
  readonly waitMs: number;
}

/** What came of it. */
export interface TransferOutcome {
  /** The last line of JSON. */
  readonly json: Readonly<Record<string, unknown>>;
  /** Prints the result for people; nothing if the lines before have said all. */
  readonly print?: () => void;
}

/**
 * Runs a transfer with everything that is shown of it.
 *
 * @throws {Failure} in words for people, when everything that was drawn is taken away
 */
export async function runTransfer(
  values: OptionValues,
  context: TransferContext & { readonly receivers: number },
  work: (parts: TransferParts, view: TransferView) => Promise<TransferOutcome>,
): Promise<void> {
  const isJson = values.flag("json");
  const graceMs = values.number("grace"), waitMs = values.number("wait");
  const view = new TransferView({ ...context, graceMs, waitMs, progress: await progressView(isJson) });
  using interruption = new Interruption(() => view.clear());
  let hasBegun = false;
  try {
    const { json, print } = await work({
      onEvent: (event): void => {
        hasBegun ||= event.event === "progress" || (event.event === "paired" && event.resumed);
        if (isJson) printEvent(event);
        else view.take(event);
      },
      onNotice: (line): void => {
        if (isJson) return;
        view.clear();
        view.noticed();
        printNotice(line);
      },
      signal: interruption.signal,
      graceMs,
      waitMs,
    }, view);
    view.clear();
    if (isJson) printLine(json);
    else print?.();
  } catch (error) {
    view.clear();
    // Whatever it broke, that was the reason.
    if (interruption.signal.aborted) {
      if (isJson) printFailed("cancelled");
      throw hasBegun ? interruption.signal.reason : interruptedEarly(interruption.signal.reason);
    }
    if (isJson && error instanceof TransferError) printFailed(error.code);
    throw transferFailure(error, context);
  }
}

/**
 * Refuses to begin without what is needed, where going on would prompt.
 *
 * @throws {Failure} naming the missing flags
 */
export function requireTransferPermissions(
  grants: readonly PermissionGrant[],
  invocation: Invocation,
  what: string,
): void {
  requirePermissions(permissionSet(grants.filter(({ optional }) => optional !== true)), invocation, what);
}

async function progressView(isJson: boolean): Promise<ProgressView> {
  if (isJson) return NO_PROGRESS;
  if (!Deno.stderr.isTerminal()) return new PlainProgress();
  const { ProgressBars } = await import("./progress_bars.ts");
  return new ProgressBars();
}

function printEvent(event: TransferEvent): void {
  printLine(event);
}

function printFailed(reason: string): void {
  printLine({ event: "failed", reason });
}

/**
 * Exact: a path that only looks like a key must stay what it is. All the same nothing in it drives a terminal: what is
 * hidden in a name or a text is escaped, which is the same JSON.
 */
function printLine(value: TransferEvent | Readonly<Record<string, unknown>>): void {
  printExact(`${escapeHidden(JSON.stringify(value))}\n`);
}

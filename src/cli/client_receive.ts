/** `postern client receive`. */
import { throughRelay } from "../client/transfer/connect.ts";
import { receivePermissions } from "../client/transfer/permissions.ts";
import { receive, type ReceiveResult } from "../client/transfer/receive.ts";
import { namedRelay, requireRelay } from "../client/transfer/relay_address.ts";
import { namedStateFolder, usableStateFolder } from "../client/transfer/state_folder.ts";
import type { Offer } from "../protocol/transfer/offer.ts";
import { Failure, UsageFailure } from "../system/failure.ts";
import { escapeHidden } from "../system/visible_text.ts";
import type { OptionValues } from "./parse.ts";
import type { Invocation } from "./permission_audit.ts";
import { printExact, printNotice, printPrompt } from "./terminal.ts";
import { offerLines, offerSummary, replacedLines } from "./transfer_offer.ts";
import { requireTransferPermissions, runTransfer, type TransferOutcome } from "./transfer_run.ts";
import type { TransferView } from "./transfer_view.ts";

const LINE = "postern client receive";
const ONE_RECEIVER = 1;

/** Receives until everything is in its place. Standard output carries the paths, the text, or JSON. */
export async function clientReceive(values: OptionValues, invocation: Invocation): Promise<void> {
  const relay = requireRelay(values.text("relay"), LINE);
  const folder = values.requiredText("output-dir");
  requireFolder(folder);
  requireTransferPermissions(
    receivePermissions({ relay: namedRelay(relay), folder, stateFolder: namedStateFolder() }),
    invocation,
    "cannot receive",
  );
  const isTold = values.flag("yes");
  requireSomebodyToAsk(isTold);
  const code = await theCode(values.operands);
  await runTransfer(values, { side: "receiver", relay, receivers: ONE_RECEIVER }, async (parts, view) => {
    const result = await receive(code, {
      ...parts,
      connect: throughRelay(relay),
      folder,
      overwrite: values.flag("overwrite"),
      hidden: !isTold || values.flag("hidden"),
      maxEntries: values.number("max-files"),
      maxTotalBytes: values.number("max-bytes"),
      stateFolder: usableStateFolder(),
      confirm: (offer) => {
        const lines = [
          ...offerLines(offer),
          ...(values.flag("overwrite") ? replacedLines(offer, folder) : []),
        ];
        const offered = { offer, lines };
        return isTold ? tell(offered, view, values.flag("json")) : ask(offered, view);
      },
    });
    return outcomeOf(result, folder);
  });
}

function requireFolder(folder: string): void {
  if (folder !== "-") return;
  throw new UsageFailure(
    `cannot run "${LINE}": files cannot go to standard output, accepted for -o: a folder`,
    { hint: "leave -o away; a text is printed on standard output by itself" },
  );
}

/** Before the code is used: it is good for one try. */
function requireSomebodyToAsk(isTold: boolean): void {
  if (isTold || Deno.stdin.isTerminal()) return;
  throw new Failure("cannot ask whether to take what is offered: standard input is no terminal", {
    hint: "add --yes to take it without being asked",
  });
}

/** A code is short; what is longer is a file that was given by mistake. */
const MAX_CODE_BYTES = 4096;

async function theCode(operands: readonly string[]): Promise<string> {
  // Its parts may be words of their own.
  const operand = operands.join("-");
  if (operand !== "" && operand !== "-") return operand;
  if (Deno.stdin.isTerminal()) {
    const { askForCode } = await import("./code_line.ts");
    return await askForCode();
  }
  if (operand === "") {
    throw new UsageFailure(
      `cannot run "${LINE}": no code is given, and standard input is no terminal to ask at, accepted: CODE, or - to ` +
        "read it from standard input",
      { hint: `${LINE} - < FILE` },
    );
  }
  return (await readInput()).split("\n")[0] ?? "";
}

async function readInput(): Promise<string> {
  const bytes = new Uint8Array(MAX_CODE_BYTES);
  let length = 0;
  while (length < bytes.length && !bytes.subarray(0, length).includes("\n".charCodeAt(0))) {
    const count = await Deno.stdin.read(bytes.subarray(length));
    if (count === null) break;
    length += count;
  }
  return new TextDecoder().decode(bytes.subarray(0, length));
}

/** What is offered, and what there is to say about it. */
interface Offered {
  readonly offer: Offer;
  readonly lines: readonly string[];
}

function show({ offer, lines }: Offered, view: TransferView): void {
  view.clear();
  printNotice(`offered: ${offerSummary(offer)}`);
  for (const line of lines) printNotice(line);
}

function tell(offer: Offered, view: TransferView, isJson: boolean): Promise<boolean> {
  if (!isJson) show(offer, view);
  return Promise.resolve(true);
}

/** No answer is none, such as a second Enter behind the code: a no is the end of the code, and cannot be taken back. */
async function ask(offer: Offered, view: TransferView): Promise<boolean> {
  show(offer, view);
  for (;;) {
    printPrompt("take it? [y/n] ");
    view.asks(true);
    const line = await readInput();
    view.asks(false);
    if (/^\s*y(?:es)?\s*$/i.test(line)) return true;
    // Nothing at all, not even an Enter: nobody is there any more.
    if (line === "" || /^\s*no?\s*$/i.test(line)) return false;
  }
}

function outcomeOf(result: ReceiveResult, folder: string): TransferOutcome {
  if (result.kind === "text") {
    return { json: { result: "text", text: result.text }, print: () => printText(result.text) };
  }
  const { paths } = result;
  return {
    json: { result: "files", folder, paths },
    print: () => printExact(paths.map((path) => `${visible(path)}\n`).join("")),
  };
}

/** Exact for a program; for a terminal nothing in it can drive one, but it may have lines and columns. */
function printText(text: string): void {
  if (!Deno.stdout.isTerminal()) return printExact(text);
  const shown = text.split("\n").map((line) => line.split("\t").map(escapeHidden).join("\t")).join("\n");
  printExact(shown.endsWith("\n") ? shown : `${shown}\n`);
}

function visible(path: string): string {
  return Deno.stdout.isTerminal() ? escapeHidden(path) : path;
}

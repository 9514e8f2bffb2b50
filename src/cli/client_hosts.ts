/** `postern client hosts`. */
import { hostChanges, hostTable, listHosts, watchHosts } from "../client/manage/hosts.ts";
import { manageFolder } from "../client/manage/manage_folder.ts";
import { managePermissions, manageScope } from "../client/manage/permissions.ts";
import { connectServer, type ServerLink } from "../client/manage/server_link.ts";
import type { HostRow } from "../protocol/manage/control_contract.ts";
import { systemTimers } from "../protocol/rpc/timers.ts";
import { EndingSession } from "./ending_session.ts";
import { manageFailure } from "./manage_failure.ts";
import { requireManagePermissions } from "./manage_permissions.ts";
import type { OptionValues } from "./parse.ts";
import type { Invocation } from "./permission_audit.ts";
import { exit, jsonLine, printExact, printNotice } from "./terminal.ts";

const CLEAR_SCREEN = "\x1b[2J\x1b[H";
/** Lines of the terminal that are not for hosts: the head, the rest, and where the cursor stands. */
const OTHER_LINES = 3;

/** Lists the hosts, once or whenever they change. */
export async function clientHosts(values: OptionValues, invocation: Invocation): Promise<void> {
  const dir = values.text("dir");
  const folder = manageFolder(dir);
  requireManagePermissions(managePermissions(manageScope(dir)), invocation, "cannot list hosts");
  const onNotice = printNotice;
  using ending = new EndingSession();
  const { signal } = ending;
  try {
    const link = await connectServer({ folder, timers: systemTimers, onNotice, signal });
    ending.closes(link);
    await (values.flag("watch") ? watch(link, values, signal) : list(link, values, signal));
    await link.leave();
  } catch (error) {
    if (!signal.aborted) throw manageFailure(error);
  }
  if (signal.aborted) {
    await ending.close();
    exit(ending.exitCode);
  }
}

async function list(link: ServerLink, values: OptionValues, signal: AbortSignal): Promise<void> {
  const rows = await listHosts(link, { onNotice: printNotice, signal });
  if (values.flag("json")) return printExact(jsonLine(rows));
  if (rows.length === 0) {
    printNotice("no hosts: none has joined, or the server's policy gives you nothing to do on any");
    return;
  }
  print(hostTable(rows, { isColoured: isColoured() }));
}

async function watch(link: ServerLink, values: OptionValues, signal: AbortSignal): Promise<void> {
  let before: readonly HostRow[] = [];
  await watchHosts(link, { onNotice: printNotice, signal }, (rows) => {
    if (values.flag("json")) printExact(jsonLine(rows));
    else if (Deno.stdout.isTerminal()) redraw(rows);
    else print(hostChanges(before, rows));
    before = rows;
  });
}

function redraw(rows: readonly HostRow[]): void {
  const room = Math.max(1, Deno.consoleSize().rows - OTHER_LINES);
  const table = hostTable(rows, { isColoured: isColoured() });
  const more = table.length - 1 - room;
  const shown = more > 0 ? [...table.slice(0, room + 1), `and ${more} more`] : table;
  printExact(`${CLEAR_SCREEN}${shown.join("\n")}\n`);
}

function print(lines: readonly string[]): void {
  printExact(lines.map((line) => `${line}\n`).join(""));
}

/** NO_COLOR is known without a permission. */
function isColoured(): boolean {
  return Deno.stdout.isTerminal() && !Deno.noColor;
}

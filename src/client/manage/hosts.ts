/** The list of hosts as people and programs read it. */
import type { HostRow } from "../../protocol/manage/control_contract.ts";
import { Failure } from "../../system/failure.ts";
import { localTime } from "./local_time.ts";
import { lossOf, type ServerLink } from "./server_link.ts";
import { toldFailure } from "./told_failure.ts";
import { waitFor } from "./waiting.ts";

const HOSTS_TIMEOUT_MS = 10_000;
const WHAT = "the list of hosts";

/** What every request for hosts is told. */
export interface HostsOptions {
  readonly onNotice: (line: string) => void;
  readonly signal?: AbortSignal | undefined;
}

/**
 * The hosts that this administrator may do anything on, in the order of their names.
 *
 * @throws {Failure} if the link is lost, or no answer comes within ten seconds; the signal's reason
 */
export async function listHosts(
  link: ServerLink,
  { onNotice, signal }: HostsOptions,
): Promise<readonly HostRow[]> {
  const wait = { what: WHAT, timeoutMs: HOSTS_TIMEOUT_MS, timers: link.timers, onNotice, signal };
  try {
    return sorted(
      await waitFor(wait, (given) => link.control.client.hosts(null, { deadlineMs: 0, signal: given })),
    );
  } catch (error) {
    signal?.throwIfAborted();
    throw toldFailure(await lossOf(link, error));
  }
}

/**
 * The same, then again with every change, until the signal comes.
 *
 * @throws {Failure} if the link is lost, or no answer comes within ten seconds; whatever `onRows` throws
 */
export async function watchHosts(
  link: ServerLink,
  { onNotice, signal }: HostsOptions,
  onRows: (rows: readonly HostRow[]) => void,
): Promise<void> {
  const wait = { what: WHAT, timeoutMs: HOSTS_TIMEOUT_MS, timers: link.timers, onNotice, signal };
  const lists = link.control.client.watchHosts(null, { signal });
  try {
    // The first one comes at once; for the next ones nothing need ever change.
    const first = await waitFor(wait, () => lists.next());
    if (first.done !== true) onRows(sorted(first.value));
    for await (const rows of lists) onRows(sorted(rows));
    throw new Failure("the server has ended the list of hosts", { hint: "run the command again" });
  } catch (error) {
    if (signal?.aborted) return;
    throw toldFailure(await lossOf(link, error));
  } finally {
    await lists.return?.();
  }
}

function sorted(rows: readonly HostRow[]): HostRow[] {
  return rows.toSorted((a, b) => a.name < b.name ? -1 : 1);
}

const HEAD = ["NAME", "STATE", "SINCE", "LATENCY", "TAGS", "VERSION", "SESSIONS"] as const;
const STATE_COLUMN = 1;
const GAP = "  ";
const GREEN = "32", RED = "31";

/**
 * A table, a line each, without line feeds.
 *
 * @param isColoured for a terminal
 */
export function hostTable(
  rows: readonly HostRow[],
  { isColoured }: { readonly isColoured: boolean },
): string[] {
  const cells = [HEAD, ...rows.map(cellsOf)];
  const widths = HEAD.map((_, column) => Math.max(...cells.map((row) => row[column]?.length ?? 0)));
  return cells.map((row, index) => {
    const padded = row.map((cell, column) => {
      const text = cell.padEnd(widths[column] ?? 0);
      const isState = column === STATE_COLUMN && index > 0 && isColoured;
      return isState ? `\x1b[${cell === "online" ? GREEN : RED}m${text}\x1b[0m` : text;
    });
    return padded.join(GAP).trimEnd();
  });
}

function cellsOf(row: HostRow): readonly string[] {
  const { name, sinceMs, latencyMs, tags, version, sessions } = row;
  return [
    name,
    stateOf(row),
    sinceMs === null ? "-" : localTime(sinceMs),
    latencyMs === null ? "-" : `${latencyMs.toFixed(1)} ms`,
    tags.length === 0 ? "-" : tags.join(","),
    version ?? "-",
    String(sessions),
  ];
}

/** "never": it was invited, or has joined, and no link of it was ever seen. */
function stateOf({ online, sinceMs }: HostRow): string {
  return online ? "online" : sinceMs === null ? "never" : "offline";
}

/** What has changed since, a line for each host; all of them where there is no before. Latency changes all the time. */
export function hostChanges(before: readonly HostRow[], after: readonly HostRow[]): string[] {
  const known = new Map(before.map((row) => [row.name, changeLine(row)]));
  const lines = after
    .map((row) => ({ name: row.name, line: changeLine(row) }))
    .filter(({ name, line }) => known.get(name) !== line)
    .map(({ line }) => line);
  const names = new Set(after.map(({ name }) => name));
  const gone = before.filter(({ name }) => !names.has(name)).map(({ name }) =>
    `${name} is not listed any more`
  );
  return [...lines, ...gone];
}

function changeLine(row: HostRow): string {
  const { name, sinceMs, sessions } = row;
  const since = sinceMs === null ? "" : ` since ${localTime(sinceMs)}`;
  return `${name} ${stateOf(row)}${since}, ${sessions} ${sessions === 1 ? "session" : "sessions"}`;
}

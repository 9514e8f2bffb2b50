/** What is said of a host that cannot be reached: which one may have been meant, or since when it is away. */
import type { HostRow } from "../../protocol/manage/control_contract.ts";
import { editDistance, suggest } from "../../system/suggest.ts";
import { localTime } from "./local_time.ts";
import { ToldFailure } from "./told_failure.ts";

const MAX_NEAREST = 3;

/** No host of that name may be reached; the nearest names are in it. */
export function unknownHost(host: string, rows: readonly HostRow[]): ToldFailure {
  const names = nearestNames(host, rows.map(({ name }) => name));
  const found = `no host ${host} is known, or its policy gives you nothing to do there`;
  const meant = suggest(host, rows.map(({ name }) => name));
  return new ToldFailure(
    "unknown_host",
    names.length === 0
      ? `the server refuses: ${found}`
      : `the server refuses: ${found}; the nearest: ${names.join(", ")}`,
    {
      hint: meant === undefined
        ? "postern client hosts lists those that you may reach"
        : `did you mean: ${meant}`,
    },
  );
}

/** The host has no link to the server. */
export function offlineHost(host: string, rows: readonly HostRow[]): ToldFailure {
  const row = rows.find(({ name }) => name === host);
  const since = row === undefined || row.online
    ? ""
    : row.sinceMs === null
    ? ": it has never connected to the server"
    : ` since ${localTime(row.sinceMs)}`;
  return new ToldFailure("offline", `${host} is offline${since}`, {
    hint: row?.sinceMs === null
      ? `on ${host} run postern commander agent --join TOKEN, then postern commander agent`
      : `look whether ${host} runs and its postern commander agent with it; it connects again by itself`,
  });
}

/** Those that differ least, in order; no more than a few, and none that is no likeness. */
function nearestNames(name: string, candidates: readonly string[]): string[] {
  return candidates
    .map((candidate) => ({ candidate, distance: editDistance(name, candidate) }))
    .filter(({ candidate, distance }) =>
      candidate.startsWith(name) || distance <= Math.max(2, Math.floor(name.length / 2))
    )
    .sort((a, b) => a.distance - b.distance || (a.candidate < b.candidate ? -1 : 1))
    .slice(0, MAX_NEAREST)
    .map(({ candidate }) => candidate);
}

/** The leases: what is open, what should have been closed, and what could not be. */
import { isDueByDate, type Lease } from "../../commander/knock/leases.ts";
import { parseLeasesFile } from "../../commander/knock/leases_file.ts";
import { foreignWriter } from "../../commander/knock/ownership.ts";
import { leasesPath } from "../../commander/knock/paths.ts";
import { Failure } from "../../system/failure.ts";
import { folderOf } from "../../system/path.ts";
import type { CommanderSubject } from "./commander_subject.ts";
import { describeMs } from "./clock_check.ts";
import { type Check, counted, ok, type Outcome, problem, warning } from "./finding.ts";
import { checkDisk } from "./server_state.ts";

const LEASES_BYTES = 64 * 1024 * 1024;
const NEARLY_ALL = 0.8;
/** An undo takes a moment, and the timer is not exact. */
const OVERDUE_MS = 10_000;
/** More of one kind are counted, not listed. */
const MAX_LISTED = 10;
const START = "systemctl restart postern-commander";

export function commanderLeaseChecks(subject: CommanderSubject): Check[] {
  return [
    { name: "state folder", run: () => checkFolder(subject) },
    { name: "leases", run: () => checkLeases(subject) },
    { name: "disk", run: async () => checkDisk(subject.machine, await firstThere(subject)) },
  ];
}

async function checkFolder(
  { machine, paths, ownUid, accounts, commands }: CommanderSubject,
): Promise<Outcome[]> {
  const folder = paths.stateDir;
  const owner = accounts.userName(ownUid);
  const outcomes: Outcome[] = [];
  for (
    const [path, stickyIsFine] of [[folderOf(folder), true], [folder, false], [
      leasesPath(folder),
      false,
    ]] as const
  ) {
    const facts = await machine.stat(path);
    if (facts === null || foreignWriter(facts, ownUid, { stickyIsFine }) === null) continue;
    outcomes.push(
      problem(
        `others than ${owner} may write ${path} (${
          accounts.describe(facts)
        }), and what the leases say is run: the ` +
          "commander does not start",
        `after a look into ${leasesPath(folder)}: chown ${owner} ${path} && chmod go-w ${path}`,
      ),
    );
  }
  if (outcomes.length > 0) return outcomes;
  if (await machine.stat(folder) !== null) return [ok(`${folder} is ${owner}'s alone`)];
  const needsOne = (commands ?? []).some(({ lease }) => lease !== null);
  if (!needsOne) return [ok(`${folder} is not there; no command has an undo, so none is needed`)];
  if (await machine.stat(folderOf(folder)) !== null) {
    return [ok(`${folder} is not there yet; the commander makes it`)];
  }
  return [
    problem(
      `${folderOf(folder)} is not there, so the commander cannot keep leases`,
      `install -d -m 755 ${folderOf(folder)}; ${START}`,
    ),
  ];
}

async function checkLeases(subject: CommanderSubject): Promise<Outcome[]> {
  const { machine, paths, maxLeases, isRunning } = subject;
  const path = leasesPath(paths.stateDir);
  const bytes = await machine.read(path, LEASES_BYTES);
  if (bytes === null) return [ok("none")];
  let leases: readonly Lease[];
  try {
    leases = parseLeasesFile(path, new TextDecoder().decode(bytes)).leases;
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    return [
      problem(`${error.message}: the commander does not start`, error.hint ?? `mv ${path} ${path}.corrupt`),
    ];
  }
  const nowMs = machine.wallMs();
  const failed = leases.filter(({ undoFailures }) => undoFailures > 0);
  const due = leases.filter((lease) => !failed.includes(lease) && isOverdue(lease, nowMs));
  const cutOff = leases.filter((lease) =>
    lease.runId !== null && !failed.includes(lease) && !due.includes(lease)
  );
  const outcomes = [
    ...listed(failed.map((lease) => failedOutcome(lease, path, subject))),
    ...listed(due.map((lease) => dueOutcome(lease, nowMs, isRunning))),
    ...(isRunning === false ? listed(cutOff.map(cutOffOutcome)) : []),
  ];
  if (leases.length >= maxLeases * NEARLY_ALL) {
    outcomes.push(
      warning(
        `${leases.length} of ${maxLeases} leases are in use; beyond it commands with an undo are refused (max_leases)`,
        `max_leases = ${maxLeases * 2} in ${paths.configPath}, then: ${START}`,
      ),
    );
  }
  return outcomes.length > 0 ? outcomes : [ok(`${leases.length} of ${maxLeases}`)];
}

/** Due now, and already a moment ago: asked of that moment alone, a lease that is newer has its date too far ahead. */
function isOverdue(lease: Lease, nowMs: number): boolean {
  return isDueByDate(lease, nowMs) && isDueByDate(lease, nowMs - OVERDUE_MS);
}

/** What is open for whom, never the text that would close it: commands are nobody else's business. */
function named({ command, ip }: Lease): string {
  return `${command} for ${ip}`;
}

function failedOutcome(lease: Lease, path: string, { commands }: CommanderSubject): Outcome {
  const isGone = commands !== null && !commands.some(({ name }) => name === lease.command);
  return problem(
    `the undo of ${named(lease)} failed ${
      counted(lease.undoFailures, "time")
    }, so what it opened may still be open` +
      (isGone ? "; the command is not in the commands file any more" : ""),
    `see why: journalctl -u postern-commander -g undo; if it can never succeed: systemctl stop postern-commander, close ` +
      `it by hand, take its entry out of ${path}, systemctl start postern-commander`,
  );
}

function dueOutcome(lease: Lease, nowMs: number, isRunning: boolean | null): Outcome {
  const when = lease.dueAtMs > nowMs
    ? "by a clock that was set back"
    : `for ${describeMs(nowMs - lease.dueAtMs)}`;
  const what = `${named(lease)} should have been undone ${when}`;
  return isRunning === true
    ? warning(`${what}; its undo takes long, or waits`, "journalctl -u postern-commander -n 20")
    : problem(`${what}, and no commander runs to do it`, START);
}

function cutOffOutcome(lease: Lease): Outcome {
  return warning(
    `${
      named(lease)
    } was running when its commander ended; the next one ends what is left of it and undoes it`,
    START,
  );
}

function listed(outcomes: readonly Outcome[]): Outcome[] {
  const rest = outcomes.length - MAX_LISTED;
  const [first] = outcomes;
  if (rest <= 0 || first === undefined) return [...outcomes];
  return [...outcomes.slice(0, MAX_LISTED), { ...first, what: `and ${rest} more leases like these` }];
}

async function firstThere({ machine, paths }: CommanderSubject): Promise<string> {
  let folder = paths.stateDir;
  while (folder !== "/" && await machine.stat(folder) === null) folder = folderOf(folder);
  return folder;
}

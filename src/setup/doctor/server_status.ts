/** What the server itself says: its status file, read out in words. */
import { describeMs } from "./clock_check.ts";
import { type Check, notChecked, ok, type Outcome, problem, warning } from "./finding.ts";
import { refusalWords } from "./refusal_words.ts";
import type { ServerSubject } from "./server_subject.ts";
import { parseStatus, type StatusView } from "./status_view.ts";

const STATUS_BYTES = 4 * 1024 * 1024;
/** It is written once a second. */
const FRESH_MS = 10_000;
/** More than there are: the file is the server's word, and he could name any number. */
const MAX_REASONS = 64;
const RESTART = "systemctl restart postern-server";

export function serverStatusChecks(subject: ServerSubject): Check[] {
  return [{ name: "status", run: () => checkStatus(subject) }];
}

async function checkStatus({ machine, statusPath, config, isRunning }: ServerSubject): Promise<Outcome[]> {
  if (statusPath === null) {
    return [
      notChecked(
        "the server counts for nobody: there is no status_file",
        `status_file = "${config.blocklistDir}/status.json" in ${config.configPath}, then: ${RESTART}`,
      ),
    ];
  }
  const bytes = await machine.read(statusPath, STATUS_BYTES);
  if (bytes === null) {
    if (isRunning === false) return [notChecked(`the server does not run, and has left no ${statusPath}`)];
    return [
      problem(
        `the server writes no ${statusPath}`,
        `journalctl -u postern-server -g "status file"; then: ${RESTART}`,
      ),
    ];
  }
  const status = parseStatus(statusPath, new TextDecoder().decode(bytes));
  if (status === null) {
    return [
      problem(`${statusPath} is no status file of a postern server`, "name the right one with --status"),
    ];
  }
  const ageMs = machine.wallMs() - status.atMs;
  const outcomes: Outcome[] = [];
  if (Math.abs(ageMs) > FRESH_MS) {
    const age = ageMs > 0 ? `is ${describeMs(ageMs)} old` : `is ${describeMs(-ageMs)} ahead of the clock`;
    outcomes.push(
      problem(
        `${statusPath} ${age}, accepted is one of this second: ` +
          (isRunning === false ? "the server does not run" : "the server cannot write it, or is stuck"),
        `${RESTART}; then: journalctl -u postern-server -n 20`,
      ),
    );
  } else {
    outcomes.push(
      ok(
        `since ${new Date(status.startedAtMs).toISOString()}: ${status.received} datagrams received, ` +
          `${status.accepted} knocks accepted, ${status.forwarded} handed to the commander`,
      ),
    );
  }
  return [...outcomes, ...stateOutcomes(status), ...refusalOutcomes(status)];
}

function stateOutcomes(status: StatusView): Outcome[] {
  const outcomes: Outcome[] = [];
  if (status.reloadError !== null) {
    outcomes.push(
      problem(
        `the last reload failed, the old configuration is in force: ${status.reloadError}`,
        "mend it (postern server --check), then: systemctl reload postern-server",
      ),
    );
  }
  if (status.restartNeeded.length > 0) {
    outcomes.push(
      warning(`changed, but in force only after a restart: ${status.restartNeeded.join(", ")}`, RESTART),
    );
  }
  if (!status.floorsDurable || status.floorWriteFailures > 0) {
    const what = `${status.floorWriteFailures} writes of the replay floors failed`;
    const fix = "see the disk and the state folder above";
    outcomes.push(
      status.floorsDurable
        ? warning(`${what}; the last one worked`, fix)
        : problem(`${what}, the last one too: no command runs until one works`, fix),
    );
  }
  if (status.forwardFailures > 0) {
    outcomes.push(
      warning(
        `${status.forwardFailures} accepted knocks did not reach the commander, and are lost`,
        "postern commander doctor; then knock again",
      ),
    );
  }
  if (status.queueDepth > 0) {
    outcomes.push(warning(`${status.queueDepth} knocks wait for the commander`, "postern commander doctor"));
  }
  if (status.contested) {
    outcomes.push(
      warning(
        "somebody floods a key id with forgeries just now; knocks from known addresses go first",
        "knock again a few times; a new key has an id that nobody has seen",
      ),
    );
  }
  if (status.receiveErrors > 0) {
    outcomes.push(
      warning(`${status.receiveErrors} receive calls failed`, "journalctl -u postern-server -g receive"),
    );
  }
  return outcomes;
}

function refusalOutcomes(status: StatusView): Outcome[] {
  return [...status.refused].filter(([, count]) => count > 0).slice(0, MAX_REASONS).map(([reason, count]) => {
    const { what, fix, byAnybody } = refusalWords(reason, count);
    return byAnybody === true ? ok(what) : warning(what, fix);
  });
}

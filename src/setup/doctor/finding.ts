/** What a doctor finds, and how its checks are run. */
import { describeError } from "../../system/failure.ts";
import { escapeHidden } from "../../system/visible_text.ts";

/** `warning` lets knocks through; `problem` keeps some or all of them out; `not checked` says why in `what`. */
export type FindingState = "ok" | "warning" | "problem" | "not checked";

/** One thing that was looked at. The shape of `doctor --json`, documented in docs/knock.md. */
export interface Finding {
  /** Name of the check: a few stable words, such as `key files`. */
  readonly check: string;
  readonly state: FindingState;
  /** What was found, and what would be right. Never a key, a secret, or content of a private file. */
  readonly what: string;
  /** The next step, if there is one: a command to run, or a line to write. */
  readonly fix: string | null;
}

/** A finding before its check has a name. */
export type Outcome = Omit<Finding, "check">;

/** Looks at one thing and says all it found about it. */
export interface Check {
  readonly name: string;
  run(): Promise<readonly Outcome[]> | readonly Outcome[];
}

/** Some of it comes from files that the server's user writes, who must not be able to bury the rest. */
const MAX_WHAT_CHARS = 1000;

export function ok(what: string): Outcome {
  return { state: "ok", what, fix: null };
}

export function warning(what: string, fix: string): Outcome {
  return { state: "warning", what, fix };
}

export function problem(what: string, fix: string): Outcome {
  return { state: "problem", what, fix };
}

export function notChecked(why: string, fix: string | null = null): Outcome {
  return { state: "not checked", what: why, fix };
}

/**
 * Runs checks one after the other. A check that cannot look says so as a finding: nothing that was not seen may
 * pass for good, and one that breaks must not keep the others from looking.
 */
export async function runChecks(checks: readonly Check[]): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (const check of checks) {
    for (const outcome of await outcomesOf(check)) {
      findings.push({
        check: check.name,
        state: outcome.state,
        what: escapeHidden(outcome.what.slice(0, MAX_WHAT_CHARS)),
        fix: outcome.fix === null ? null : escapeHidden(outcome.fix),
      });
    }
  }
  return findings;
}

async function outcomesOf(check: Check): Promise<readonly Outcome[]> {
  try {
    return await check.run();
  } catch (error) {
    return [notChecked(`could not look: ${describeError(error)}`, fixFor(error))];
  }
}

/** What helps against a refusal by the runtime or the system, somewhere in the chain of causes; null otherwise. */
function fixFor(error: unknown): string | null {
  for (let each = error; each instanceof Error; each = each.cause) {
    if (each instanceof Deno.errors.NotCapable) {
      return "postern permissions prints the flags that deno run needs for it";
    }
    if (each instanceof Deno.errors.PermissionDenied) return "run it as root";
  }
  return null;
}

/** `1 time`, `2 times`. */
export function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

/** How many findings there are of each state. */
export function countStates(findings: readonly Finding[]): Record<FindingState, number> {
  const counts: Record<FindingState, number> = { ok: 0, warning: 0, problem: 0, "not checked": 0 };
  for (const { state } of findings) counts[state]++;
  return counts;
}

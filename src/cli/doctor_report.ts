/** How every doctor tells what it found. */
import { counted, countStates, type Finding, type FindingState } from "../setup/doctor/finding.ts";
import { exit, EXIT_DONE, EXIT_FAILED, printJson, printResult } from "./terminal.ts";

/**
 * Prints the findings and ends the program: with 0, or with 1 if there is a problem. What could not be checked is no
 * problem, but it is told.
 *
 * JSON: `{"findings": [{"check", "state", "what", "fix"}], "problems": N, "warnings": N, "not_checked": N}`, where
 * `state` is `ok`, `warning`, `problem` or `not checked`, and `fix` a text or null.
 */
export function reportFindings(findings: readonly Finding[], asJson: boolean): never {
  const counts = countStates(findings);
  if (asJson) {
    printJson({
      findings,
      problems: counts.problem,
      warnings: counts.warning,
      not_checked: counts["not checked"],
    });
  } else {
    printResult(findings.map(renderFinding).join("") + renderCounts(counts));
  }
  exit(counts.problem > 0 ? EXIT_FAILED : EXIT_DONE);
}

const STATE_CHARS = "not checked".length;

function renderFinding({ check, state, what, fix }: Finding): string {
  const line = `${state.padEnd(STATE_CHARS)}  ${check}: ${what}\n`;
  return fix === null ? line : `${line}${" ".repeat(STATE_CHARS)}  fix: ${fix}\n`;
}

function renderCounts(counts: Readonly<Record<FindingState, number>>): string {
  return [
    counted(counts.problem, "problem"),
    counted(counts.warning, "warning"),
    `${counts.ok} ok`,
    `${counts["not checked"]} not checked`,
  ].join(", ") + "\n";
}

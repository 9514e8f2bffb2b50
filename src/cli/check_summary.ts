/** What `--check` prints about a configuration that is good. */
import { permissionFlags, type PermissionSet } from "../system/permissions.ts";
import { shellWord } from "./shell_word.ts";
import { printResult } from "./terminal.ts";

/** Prints the facts of a configuration, one a line, and the permissions the role needs with it. */
export function printCheckSummary(
  configPath: string,
  facts: readonly (readonly [name: string, value: string])[],
  needed: PermissionSet,
): void {
  printFacts(`configuration ${configPath} is good`, facts, needed);
}

/** The same under any headline. */
export function printFacts(
  headline: string,
  facts: readonly (readonly [name: string, value: string])[],
  needed: PermissionSet,
): void {
  const lines = [...facts, ["permissions", permissionFlags(needed).map(shellWord).join(" ")] as const];
  const nameChars = Math.max(...lines.map(([name]) => name.length)) + 1;
  printResult(
    `${headline}\n` +
      lines.map(([name, value]) => `  ${`${name}:`.padEnd(nameChars)} ${value}\n`).join(""),
  );
}

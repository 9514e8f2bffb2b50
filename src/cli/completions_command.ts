/** `postern completions`. */
import { COMPLETED_ROLES } from "./completion_tree.ts";
import { completionScript, type Shell } from "./completions.ts";
import type { OptionValues } from "./parse.ts";
import type { Invocation } from "./permission_audit.ts";
import { printExact } from "./terminal.ts";

const SHELLS: readonly Shell[] = ["bash", "zsh", "fish"];

/** Prints the script for a shell: of a role's executable its own, of the whole program that of every one. */
export function completionsCommand({ operands }: OptionValues, { build }: Invocation): Promise<void> {
  const shell = SHELLS.find((each) => each === operands[0]);
  if (shell === undefined) throw new TypeError(`shell "${operands[0]}" has no completions`);
  printExact(completionScript(shell, build.role === null ? COMPLETED_ROLES : [build.role]));
  return Promise.resolve();
}

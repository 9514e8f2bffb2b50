/** The completion scripts, made from the command table. */
import type { Role } from "./command_spec.ts";
import { COMPLETED_ROLES, completionTree } from "./completion_tree.ts";
import { bashCompletions } from "./completions_bash.ts";
import { fishCompletions } from "./completions_fish.ts";
import { zshCompletions } from "./completions_zsh.ts";

export type Shell = "bash" | "zsh" | "fish";

/** The script that completes the program of each of `roles` (null: the whole program) in a shell. */
export function completionScript(shell: Shell, roles: readonly (Role | null)[]): string {
  const trees = roles.map(completionTree);
  switch (shell) {
    case "bash":
      return trees.map(bashCompletions).join("\n");
    case "zsh":
      return zshCompletions(trees);
    case "fish":
      return trees.map(fishCompletions).join("\n");
  }
}

/**
 * Every script as it is installed, by its path below /usr/local/share. bash and fish look for a file called like the
 * program, zsh is told by the first line of one file.
 */
export function completionScripts(): ReadonlyMap<string, string> {
  const scripts = new Map<string, string>();
  for (const role of COMPLETED_ROLES) {
    const { program } = completionTree(role);
    scripts.set(`bash-completion/completions/${program}`, completionScript("bash", [role]));
    scripts.set(`fish/vendor_completions.d/${program}.fish`, completionScript("fish", [role]));
  }
  scripts.set("zsh/site-functions/_postern", completionScript("zsh", COMPLETED_ROLES));
  return scripts;
}

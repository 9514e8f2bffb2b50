/** How the manual pages are called: as what is typed for the command, with dashes, as in `git-log`. */
import { programName, wordsOf } from "./command_words.ts";
import { COMMANDS, type CommandSpec, roleOf, ROLES } from "./table.ts";

/** The name of a command's page: `postern-client-send`, `postern-setup-server-doctor`, `postern-permissions`. */
export function commandPageName(command: CommandSpec): string {
  const role = roleOf(command);
  return [programName(role), ...wordsOf(command, role)].join("-");
}

/** The names of all pages: of the program, of each role's executable, of each command. */
export function manPageNames(): string[] {
  return ["postern", ...ROLES.map(programName), ...COMMANDS.map(commandPageName)];
}

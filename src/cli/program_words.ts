/**
 * Texts that name commands, in the words of the executables.
 *
 * The texts of this program say `postern client send`, which is right for the whole program and typed by nobody who has
 * `postern-client`. In a role's executable, and in the manual pages that are installed beside it, they are told in its own
 * words: `postern-client send`, `postern-setup setup`, `postern-client man`.
 */
import { programName, wordsOf } from "./command_words.ts";
import type { Role } from "./command_spec.ts";
import { COMMANDS, findCommand, findGroup, GROUPS, roleOf, ROLES } from "./table.ts";

const COMMON_WORDS = COMMANDS.filter(({ path }) => path.length === 1).map(({ path }) => path[0]);
/** A command as texts name it: `postern`, a group and perhaps a word; or `postern` and what every program has. */
const NAMED = new RegExp(
  // Behind the "\\n" of a JSON text one begins as well.
  `(?:(?<![\\w./-])|(?<=\\\\n))postern (?:(${
    GROUPS.map(({ word }) => word).join("|")
  })(?: ([a-z]+)(?![\\w/.-]))?` +
    `|(${[...COMMON_WORDS, "help", "version", "--help", "--version"].join("|")}))(?![\\w-])`,
  "g",
);

/** Replaces every command that a text names by what is typed for it where the executable of `role` is at hand. */
export function inWordsOf(role: Role, text: string): string {
  return text.replace(NAMED, (_all, group?: string, word?: string, common?: string) => {
    if (common !== undefined) return `${programName(role)} ${common}`;
    const command = word === undefined ? undefined : findCommand(group ?? "", word);
    if (command !== undefined) {
      const owner = roleOf(command);
      return [programName(owner), ...wordsOf(command, owner)].join(" ");
    }
    const owner = ROLES.find((each) => each === findGroup(group)?.word) ?? null;
    return word === undefined ? programName(owner) : `${programName(owner)} ${word}`;
  });
}

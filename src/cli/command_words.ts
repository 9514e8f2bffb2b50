/**
 * Which command the first words of a command line name.
 *
 * The whole program wants a role and a word, `postern client send`. In a role's executable the role may be left out,
 * `postern-client send`; `postern-setup` has the commands of three groups and means `client` where none is named.
 */
import type { Role } from "./command_spec.ts";
import { COMMANDS, type CommandSpec, findCommand, findGroup, type GroupSpec, roleOf } from "./table.ts";

/** What words name: a command, or only the group that one would be in; neither, if the first is unknown. */
export interface NamedCommand {
  readonly command: CommandSpec | undefined;
  readonly group: GroupSpec | undefined;
  /** How many of the words were read; the next one is an option, an operand, or not known. */
  readonly used: number;
}

/** Reads the words that name a command. Whether the program at hand has that command is not looked at. */
export function namedCommand(words: readonly string[], role: Role | null): NamedCommand {
  const [first] = words;
  const common = first === undefined ? undefined : findCommand(first);
  if (common !== undefined) return { command: common, group: undefined, used: 1 };
  const named = findGroup(first);
  const group = named ?? (role === null ? undefined : findGroup(role === "setup" ? "client" : role));
  if (group === undefined) return { command: undefined, group, used: 0 };
  const used = named === undefined ? 0 : 1;
  const word = words[used];
  if (word !== undefined && !word.startsWith("-")) {
    const below = words[used + 1];
    const lowest = below === undefined ? undefined : findCommand(group.word, word, below);
    if (lowest !== undefined) return { command: lowest, group, used: used + 2 };
    const command = findCommand(group.word, word);
    return { command, group, used: command === undefined ? used : used + 1 };
  }
  const { defaultWord } = group;
  return {
    command: defaultWord === undefined ? undefined : findCommand(group.word, defaultWord),
    group,
    used,
  };
}

/** Whether the executable of `role` has a command; the whole program (null) has every one. */
export function hasCommand(role: Role | null, command: CommandSpec): boolean {
  const owner = roleOf(command);
  return role === null || owner === null || owner === role;
}

/** The commands of a group that the executable of `role` has. */
export function commandsOf(group: GroupSpec, role: Role | null): CommandSpec[] {
  return COMMANDS.filter((command) => command.path[0] === group.word && hasCommand(role, command));
}

/** What is typed to start a role's executable; `postern` is the whole program. */
export function programName(role: Role | null): string {
  return role === null ? "postern" : `postern-${role}`;
}

/** The words of a command as they are typed after the name of its program, the role left out where it may be. */
export function wordsOf({ path }: CommandSpec, role: Role | null): readonly string[] {
  const [group, ...words] = path;
  return words.length > 0 && (group === role || (role === "setup" && group === "client")) ? words : path;
}

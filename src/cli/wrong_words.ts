/** What is said about words that name no command of the program at hand. Loaded only when there are such words. */
import { UsageFailure } from "../system/failure.ts";
import { suggest } from "../system/suggest.ts";
import { commandsOf, programName, wordsOf } from "./command_words.ts";
import type { Role } from "./command_spec.ts";
import { COMMANDS, type CommandSpec, GROUPS, type GroupSpec, roleOf, ROLES } from "./table.ts";

/** The first words that the program takes, in the order of its help page. */
function firstWords(role: Role | null): string[] {
  const own = role === null
    ? GROUPS.map(({ word }) => word)
    : GROUPS.flatMap((group) => commandsOf(group, role)).map((command) => wordsOf(command, role).join(" "));
  return [...own, ...COMMANDS.filter(({ path }) => path.length === 1).map(({ path }) => path[0]), "help"];
}

function secondWords(group: GroupSpec, role: Role | null): string[] {
  // Once, also where further commands lie below.
  return [
    ...new Set(commandsOf(group, role).flatMap(({ path: [, word] }) => word === undefined ? [] : [word])),
  ];
}

export function noCommand(group: GroupSpec | undefined, role: Role | null): UsageFailure {
  const program = programName(role);
  const [line, words] = role !== null || group === undefined
    ? [program, firstWords(role)]
    : [`${program} ${group.word}`, secondWords(group, role)];
  return new UsageFailure(`cannot run ${inQuotes(line)}: no command given, accepted: ${words.join(", ")}`, {
    hint: `${line} --help`,
  });
}

export function unknownFirstWord(word: string, role: Role | null): UsageFailure {
  const program = programName(role);
  if (word.startsWith("-")) {
    return new UsageFailure(`cannot run ${program}: unknown option "${word}" before the command`, {
      hint: `options come after the command: ${program} --help`,
    });
  }
  const owner = COMMANDS.find((command) => command.path[1] === word);
  if (role !== null && owner !== undefined) return otherRole(owner, role);
  const words = firstWords(role);
  const near = suggest(word, words);
  // A whole word of a command says more than one that is a letter or two away, as "shell" is from "help".
  const meant = owner?.path.join(" ") ?? near;
  return new UsageFailure(
    `cannot run ${program}: unknown command "${word}", accepted: ${words.join(", ")}`,
    { hint: meant === undefined ? `${program} --help` : `did you mean: ${program} ${meant}` },
  );
}

export function unknownSecondWord(group: GroupSpec, word: string, role: Role | null): UsageFailure {
  const words = secondWords(group, role);
  const line = `${programName(role)} ${group.word}`;
  const near = suggest(word, words);
  return new UsageFailure(
    `cannot run "${line}": unknown command "${word}", accepted: ${words.join(", ")}`,
    {
      hint: near !== undefined
        ? `did you mean: ${line} ${near}`
        : word === "version"
        ? `did you mean: ${programName(role)} --version`
        : `${line} --help`,
    },
  );
}

/** A command that another executable has. */
export function otherRole(command: CommandSpec, role: Role | null): UsageFailure {
  const owner = roleOf(command);
  const isDefault = GROUPS.some(({ word, defaultWord }) =>
    word === owner && command.path[0] === word && command.path[1] === defaultWord
  );
  const words = isDefault ? [] : wordsOf(command, owner);
  return elsewhere(command.path.join(" "), owner, words, role);
}

/** A group of which this program has no command. */
export function otherGroup({ word }: GroupSpec, role: Role | null): UsageFailure {
  return elsewhere(word, ROLES.find((each) => each === word) ?? null, ["--help"], role);
}

function elsewhere(
  what: string,
  owner: Role | null,
  words: readonly string[],
  role: Role | null,
): UsageFailure {
  const executable = programName(owner);
  return new UsageFailure(
    `cannot run "${what}": this is ${programName(role)}, accepted is ${executable}${reasonFor(owner, role)}`,
    { hint: [executable, ...words].join(" ") },
  );
}

function reasonFor(owner: Role | null, role: Role | null): string {
  if (owner !== "setup" || role === null) return "";
  if (role === "commander") {
    return ": it runs programs of the system, and the commander may run the shell only";
  }
  return `: it runs programs, which the ${role} may not`;
}

function inQuotes(line: string): string {
  return line.includes(" ") ? `"${line}"` : line;
}

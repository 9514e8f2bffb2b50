/**
 * What can be typed next at each place of a command line, for the completion scripts of every shell.
 *
 * A script has two tables, both made from here: by the words so far (a node) the words that may follow and the name of
 * a set of options; by that name the options and operands.
 */
import { hasCommand, programName, wordsOf } from "./command_words.ts";
import { manPageNames } from "./man_names.ts";
import { roleSummary } from "./role_summary.ts";
import {
  COMMANDS,
  type CommandSpec,
  GROUPS,
  HELP_OPTION,
  type OptionSpec,
  type Role,
  ROLES,
} from "./table.ts";

/** A word that may be typed, with what it means. */
export interface CompletionWord {
  readonly word: string;
  readonly summary: string;
}

/** The program and the words so far, such as `postern client`, and what may follow. */
export interface CompletionNode {
  readonly key: string;
  readonly next: readonly CompletionWord[];
  /** Name of the options and operands that may follow, too. */
  readonly set: string;
}

/** What a value is completed with. */
export type CompletionValue =
  | { readonly kind: "none" | "any" | "file" | "folder" }
  | { readonly kind: "words"; readonly words: readonly string[] };

export interface CompletionOption {
  /** Its spellings with their dashes, the long one last. */
  readonly names: readonly string[];
  /** How help names the value; empty for flags. */
  readonly valueName: string;
  readonly value: CompletionValue;
  readonly summary: string;
}

/** A word that is no option. */
export interface CompletionOperand {
  readonly valueName: string;
  readonly value: CompletionValue;
  /** Whether more of the same may follow; only of the last one. */
  readonly isMany: boolean;
}

export interface CompletionSet {
  readonly name: string;
  readonly options: readonly CompletionOption[];
  readonly operands: readonly CompletionOperand[];
  /** Whether a bare `--` begins another command line of the same program. */
  readonly takesCommandLine: boolean;
}

export interface CompletionTree {
  readonly program: string;
  readonly summary: string;
  readonly nodes: readonly CompletionNode[];
  readonly sets: readonly CompletionSet[];
}

/** The programs that can be completed: the whole one, and each role's executable. */
export const COMPLETED_ROLES: readonly (Role | null)[] = [null, ...ROLES];

const VERSION_OPTION: OptionSpec = {
  name: "version",
  short: "V",
  type: "flag",
  help: "print the version",
};

export function completionTree(role: Role | null): CompletionTree {
  const program = programName(role);
  const commands = COMMANDS.filter((command) => hasCommand(role, command));
  const nodes = new Map<string, CompletionNode>();
  const sets = new Map<string, CompletionSet>();
  const add = (key: string, next: readonly CompletionWord[], set: CompletionSet): void => {
    nodes.set(key, { key, next, set: set.name });
    sets.set(set.name, set);
  };
  const lines = commands.map((command) => ({ words: wordsOf(command, role), command }));
  const ownDefault = role === null || role === "setup" ? undefined : defaultCommand(role);
  const firsts = wordsBelow([], lines);
  add(program, [...firsts, { word: "help", summary: "show the help of a command" }], rootSet(ownDefault));
  add(`${program} help`, firsts, NOTHING);
  for (const { words } of lines) {
    for (let depth = 1; depth <= words.length; depth++) {
      const path = words.slice(0, depth);
      const next = wordsBelow(path, lines);
      add([program, ...path].join(" "), next, setAt(path, lines, role));
      add([program, "help", ...path].join(" "), next, NOTHING);
    }
  }
  const summary = role === null ? "one silent packet runs one command" : roleSummary(role).summary;
  return { program, summary, nodes: [...nodes.values()], sets: [...sets.values()] };
}

const NOTHING: CompletionSet = { name: "nothing", options: [], operands: [], takesCommandLine: false };
const GROUP_SET: CompletionSet = { ...NOTHING, name: "group", options: [optionOf(HELP_OPTION)] };

/** A command and the words that are typed for it. */
interface Line {
  readonly words: readonly string[];
  readonly command: CommandSpec;
}

function commandAt(path: readonly string[], lines: readonly Line[]): CommandSpec | undefined {
  return lines.find(({ words }) => words.join(" ") === path.join(" "))?.command;
}

/** What may follow the words, each word once: commands, and groups of commands. */
function wordsBelow(path: readonly string[], lines: readonly Line[]): CompletionWord[] {
  const below = lines.filter(({ words }) =>
    words.length > path.length && path.every((each, i) => words[i] === each)
  );
  const words = new Set(below.flatMap(({ words }) => words.slice(path.length, path.length + 1)));
  return [...words].map((word) => {
    const group = path.length === 0 ? GROUPS.find((each) => each.word === word) : undefined;
    return { word, summary: commandAt([...path, word], lines)?.summary ?? group?.summary ?? "" };
  });
}

/** A command, or what is meant where the words are a group alone. */
function setAt(path: readonly string[], lines: readonly Line[], role: Role | null): CompletionSet {
  const [first = ""] = path;
  const command = commandAt(path, lines) ??
    (role === null && path.length === 1 ? defaultCommand(first) : undefined);
  return command === undefined ? GROUP_SET : setOf(command);
}

function defaultCommand(group: string): CommandSpec | undefined {
  const word = GROUPS.find((each) => each.word === group)?.defaultWord;
  return COMMANDS.find(({ path }) => word !== undefined && path[0] === group && path[1] === word);
}

function rootSet(command: CommandSpec | undefined): CompletionSet {
  const own = command === undefined ? GROUP_SET : setOf(command);
  return { ...own, name: "program", options: [...own.options, optionOf(VERSION_OPTION)] };
}

function setOf({ path, options, operands = [], rest }: CommandSpec): CompletionSet {
  return {
    name: path.join(" "),
    options: [...options, HELP_OPTION].map(optionOf),
    operands: operands.map(({ value, choices, many }) => ({
      valueName: value,
      value: valueOf(value, value === "PAGE" ? manPageNames() : choices),
      isMany: many === true,
    })),
    takesCommandLine: rest?.isOwn === true,
  };
}

function optionOf({ name, short, type, value = "", choices, help }: OptionSpec): CompletionOption {
  return {
    names: [...(short === undefined ? [] : [`-${short}`]), `--${name}`],
    valueName: value,
    value: type === "flag" ? { kind: "none" } : valueOf(value, choices),
    summary: help,
  };
}

function valueOf(name: string, choices: readonly string[] | undefined): CompletionValue {
  if (choices !== undefined) return { kind: "words", words: choices };
  return { kind: name === "FILE" || name === "PATH" ? "file" : name === "DIR" ? "folder" : "any" };
}

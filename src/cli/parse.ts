/**
 * From words to a checked command.
 *
 * Two tokenizers read a command's options. `plainTokens` knows only the plain subset nearly every call uses
 * (`-x value`, `--name value`, flags, each once) and gives up on anything else, which then goes to
 * `parse_strict.ts` on `node:util` parseArgs. The reason is start time: importing `node:util` costs about half of
 * what an empty program costs, and `client send` should not pay it. `tests/cli/parse_test.ts` holds the two to
 * the same answer wherever the plain one gives any.
 */
import { UsageFailure } from "../system/failure.ts";
import {
  COMMANDS,
  type CommandSpec,
  findCommand,
  findGroup,
  GROUPS,
  HELP_OPTION,
  type OptionSpec,
} from "./table.ts";

/** One option as it was typed. `value` is undefined exactly for flags. */
export interface OptionToken {
  readonly spec: OptionSpec;
  readonly value: string | undefined;
}

/** What a command line asks for. */
export type Request =
  | { readonly kind: "help"; readonly path: readonly string[] }
  | { readonly kind: "version" }
  | { readonly kind: "command"; readonly command: CommandSpec; readonly values: OptionValues };

/** The checked values of a command's options, defaults filled in. */
export class OptionValues {
  readonly #values: ReadonlyMap<string, string | number | true>;

  constructor(values: ReadonlyMap<string, string | number | true>) {
    this.#values = values;
  }

  /** Whether the flag was given. */
  flag(name: string): boolean {
    return this.#values.get(name) === true;
  }

  /** The text of an option, or undefined if it was not given and has no default. */
  text(name: string): string | undefined {
    const value = this.#values.get(name);
    return typeof value === "string" ? value : undefined;
  }

  /** The text of an option that is required or has a default. */
  requiredText(name: string): string {
    const value = this.text(name);
    if (value === undefined) throw new TypeError(`option ${name} is neither required nor has a default`);
    return value;
  }

  /** The number of an `integer` or, in milliseconds, a `duration` option that has a default. */
  number(name: string): number {
    const value = this.#values.get(name);
    if (typeof value !== "number") throw new TypeError(`option ${name} has no number`);
    return value;
  }
}

/**
 * Reads a command line.
 *
 * @throws {UsageFailure} for anything that is not exactly what the command table describes
 */
export async function parse(argv: readonly string[]): Promise<Request> {
  const [first, second] = argv;
  if (first === "--help" || first === "-h") return { kind: "help", path: await knownPath(argv.slice(1)) };
  if (first === "help") return { kind: "help", path: await knownPath(argv.slice(1)) };
  if (first === "--version" || first === "-V") {
    if (argv.length > 1) throw unexpectedWord("postern --version", argv[1] ?? "", "postern --help");
    return { kind: "version" };
  }
  if (first === undefined) {
    throw new UsageFailure(`cannot run postern: no command given, accepted: ${groupWords().join(", ")}`, {
      hint: "postern --help",
    });
  }
  const group = findGroup(first);
  if (group === undefined) throw await unknownFirstWord(first);
  if (second === "--help" || second === "-h") return { kind: "help", path: await knownPath([first]) };

  const secondIsCommand = second !== undefined && !second.startsWith("-");
  const word = secondIsCommand ? second : group.defaultWord;
  if (word === undefined) {
    throw new UsageFailure(
      `cannot run "postern ${first}": no command given, accepted: ${commandWords(first).join(", ")}`,
      { hint: `postern ${first} --help` },
    );
  }
  const command = findCommand(first, word);
  if (command === undefined) throw await unknownSecondWord(first, word);
  return await parseOptions(command, argv.slice(secondIsCommand ? 2 : 1));
}

async function parseOptions(command: CommandSpec, args: readonly string[]): Promise<Request> {
  const options = [...command.options, HELP_OPTION];
  const tokens = plainTokens(options, args) ??
    await (await import("./parse_strict.ts")).strictTokens(command, options, args);
  if (tokens.some((token) => token.spec === HELP_OPTION)) return { kind: "help", path: command.path };
  return { kind: "command", command, values: checkValues(command, tokens) };
}

/**
 * Reads options in the plain subset: each at most once, a value as a word of its own that is not empty and does
 * not begin with a dash (a lone `-` is a value).
 *
 * @returns null for anything else, right or wrong: it never refuses and never guesses
 */
export function plainTokens(options: readonly OptionSpec[], args: readonly string[]): OptionToken[] | null {
  const tokens: OptionToken[] = [];
  for (let i = 0; i < args.length; i++) {
    const arg = args[i];
    const spec = options.find((option) =>
      arg === `--${option.name}` || (option.short !== undefined && arg === `-${option.short}`)
    );
    if (spec === undefined || tokens.some((token) => token.spec === spec)) return null;
    if (spec.type === "flag") {
      tokens.push({ spec, value: undefined });
      continue;
    }
    const value = args[++i];
    if (value === undefined || value === "" || (value.startsWith("-") && value !== "-")) return null;
    tokens.push({ spec, value });
  }
  return tokens;
}

/** Checks required options, converts values, fills in defaults. */
function checkValues(command: CommandSpec, tokens: readonly OptionToken[]): OptionValues {
  const values = new Map<string, string | number | true>();
  for (const { spec, value } of tokens) {
    values.set(spec.name, value === undefined ? true : convert(command, spec, value));
  }
  for (const spec of command.options) {
    if (values.has(spec.name)) continue;
    if (spec.required) {
      throw usage(command, `option ${optionName(spec)} is missing, accepted: ${spec.help}`);
    }
    if (spec.default !== undefined) values.set(spec.name, convert(command, spec, spec.default));
  }
  return new OptionValues(values);
}

const DURATION_UNIT_MS = new Map([["ms", 1], ["s", 1000], ["m", 60_000]]);

function convert(command: CommandSpec, spec: OptionSpec, text: string): string | number {
  const [min, max] = spec.range ?? [0, Number.MAX_SAFE_INTEGER];
  switch (spec.type) {
    case "integer": {
      const value = /^[0-9]{1,15}$/.test(text) ? Number(text) : NaN;
      if (value >= min && value <= max) return value;
      throw usage(
        command,
        `option ${optionName(spec)}: found "${text}", accepted: a whole number from ${min} to ${max}`,
      );
    }
    case "duration": {
      const [, digits, unit] = /^([0-9]{1,9})(ms|s|m)$/.exec(text) ?? [];
      const value = Number(digits) * (DURATION_UNIT_MS.get(unit ?? "") ?? NaN);
      if (value >= min && value <= max) return value;
      const range = `from ${min}ms to ${max / 60_000}m`;
      throw usage(
        command,
        `option ${optionName(spec)}: found "${text}", accepted: a number with ms, s or m, ${range}`,
      );
    }
    default:
      if (spec.choices !== undefined && !spec.choices.includes(text)) {
        throw usage(
          command,
          `option ${optionName(spec)}: found "${text}", accepted: ${spec.choices.join(" or ")}`,
        );
      }
      return text;
  }
}

/** How an error names an option: `--address (-a)`. */
export function optionName(spec: OptionSpec): string {
  return spec.short === undefined ? `--${spec.name}` : `--${spec.name} (-${spec.short})`;
}

/** A usage failure of a known command, with its help page as the next step unless there is a better one. */
export function usage(command: CommandSpec, problem: string, hint?: string): UsageFailure {
  const line = `postern ${command.path.join(" ")}`;
  return new UsageFailure(`cannot run "${line}": ${problem}`, { hint: hint ?? `${line} --help` });
}

function unexpectedWord(line: string, word: string, hint: string): UsageFailure {
  return new UsageFailure(`cannot run "${line}": unexpected word "${word}"`, { hint });
}

function groupWords(): string[] {
  return GROUPS.map((group) => group.word);
}

function commandWords(group: string): string[] {
  return COMMANDS.filter((command) => command.path[0] === group).map((command) => command.path[1]);
}

/** Checks the words after `help`: none, a group, or a command. */
async function knownPath(words: readonly string[]): Promise<readonly string[]> {
  const [group, word, extra] = words;
  if (group === undefined) return [];
  const spec = findGroup(group);
  if (spec === undefined) throw await unknownFirstWord(group);
  if (word === undefined) {
    const only = commandWords(group);
    return spec.defaultWord !== undefined && only.length === 1 ? [group, spec.defaultWord] : [group];
  }
  if (findCommand(group, word) === undefined) throw await unknownSecondWord(group, word);
  if (extra !== undefined) throw unexpectedWord("postern help", extra, "postern --help");
  return [group, word];
}

async function unknownFirstWord(word: string): Promise<UsageFailure> {
  if (word.startsWith("-")) {
    return new UsageFailure(`cannot run postern: unknown option "${word}" before the command`, {
      hint: "options come after the command: postern --help",
    });
  }
  const { suggest } = await import("../system/suggest.ts");
  const words = [...groupWords(), "help"];
  const near = suggest(word, words);
  const owner = COMMANDS.find((command) => command.path[1] === word);
  return new UsageFailure(`cannot run postern: unknown command "${word}", accepted: ${words.join(", ")}`, {
    hint: near !== undefined
      ? `did you mean: postern ${near}`
      : owner !== undefined
      ? `did you mean: postern ${owner.path.join(" ")}`
      : "postern --help",
  });
}

async function unknownSecondWord(group: string, word: string): Promise<UsageFailure> {
  const { suggest } = await import("../system/suggest.ts");
  const words = commandWords(group);
  const near = suggest(word, words);
  return new UsageFailure(
    `cannot run "postern ${group}": unknown command "${word}", accepted: ${words.join(", ")}`,
    { hint: near !== undefined ? `did you mean: postern ${group} ${near}` : `postern ${group} --help` },
  );
}

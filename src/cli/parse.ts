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
import { type Build, CHECKOUT } from "./build.ts";
import { commandsOf, hasCommand, namedCommand, programName } from "./command_words.ts";
import type { StrictWords } from "./parse_strict.ts";
import { type CommandSpec, type GroupSpec, HELP_OPTION, type OptionSpec, type Role } from "./table.ts";

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

  /** The words that are no options. */
  readonly operands: readonly string[];
  /** What follows a bare `--`, of a command that takes another command line; undefined if there is no `--`. */
  readonly rest: readonly string[] | undefined;

  constructor(
    values: ReadonlyMap<string, string | number | true>,
    operands: readonly string[],
    rest: readonly string[] | undefined,
  ) {
    this.#values = values;
    this.operands = operands;
    this.rest = rest;
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
 * @param build the program at hand: an executable takes the words of its role, and refuses those of any other
 * @throws {UsageFailure} for anything that is not exactly what the command table describes
 */
export async function parse(
  argv: readonly string[],
  { role }: Pick<Build, "role"> = CHECKOUT,
): Promise<Request> {
  const [first] = argv;
  if (first === "--help" || first === "-h" || first === "help") {
    return { kind: "help", path: await knownPath(argv.slice(1), role) };
  }
  if (first === "--version" || first === "-V" || first === "version") {
    if (argv.length > 1) throw unexpectedWord(`${programName(role)} --version`, argv[1] ?? "");
    return { kind: "version" };
  }
  if (first === undefined && role === "setup") return { kind: "help", path: [] };

  const { command, group, used } = namedCommand(argv, role);
  const next = argv[used];
  if (group !== undefined && used === 1 && group.word === first) {
    if (next === "--help" || next === "-h") {
      return { kind: "help", path: await knownPath([group.word], role) };
    }
    if (next === "help") {
      return { kind: "help", path: await knownPath([group.word, ...argv.slice(used + 1)], role) };
    }
  }
  if (command === undefined) throw await unknownCommand(group, used, next, role);
  if (!hasCommand(role, command)) throw await anotherRoles(command, role);
  return await parseOptions(command, argv.slice(used));
}

async function parseOptions(command: CommandSpec, args: readonly string[]): Promise<Request> {
  const options = [...command.options, HELP_OPTION];
  // At each of its starts a self-extracting executable asks for the permissions of the words behind a "--".
  const end = command.rest === undefined ? -1 : args.indexOf("--");
  const plain = plainTokens(options, end === -1 ? args : args.slice(0, end));
  const words: StrictWords = plain === null
    ? await (await import("./parse_strict.ts")).strictWords(command, options, args)
    : { tokens: plain, operands: [], rest: end === -1 ? undefined : args.slice(end + 1) };
  if (words.tokens.some((token) => token.spec === HELP_OPTION)) return { kind: "help", path: command.path };
  if (command.operands !== undefined) {
    (await import("./operands.ts")).checkOperands(command, command.operands, words);
  }
  return { kind: "command", command, values: checkValues(command, words) };
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
function checkValues(command: CommandSpec, { tokens, operands, rest }: StrictWords): OptionValues {
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
  return new OptionValues(values, operands, rest);
}

const DURATION_UNIT_MS = new Map([["ms", 1], ["s", 1000], ["m", 60_000], ["h", 3_600_000]]);

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
      const [, digits, unit] = /^([0-9]{1,9})(ms|s|m|h)$/.exec(text) ?? [];
      const value = Number(digits) * (DURATION_UNIT_MS.get(unit ?? "") ?? NaN);
      if (value >= min && value <= max) return value;
      const range = `from ${inUnits(min)} to ${inUnits(max)}`;
      throw usage(
        command,
        `option ${optionName(spec)}: found "${text}", accepted: a number with ms, s, m or h, ${range}`,
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

/** In the largest unit that leaves no fraction. */
function inUnits(ms: number): string {
  const [unit, unitMs] = [...DURATION_UNIT_MS].findLast(([, each]) => ms > 0 && ms % each === 0) ?? ["ms", 1];
  return `${ms / unitMs}${unit}`;
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

function unexpectedWord(line: string, word: string): UsageFailure {
  const [program = ""] = line.split(" ");
  return new UsageFailure(`cannot run "${line}": unexpected word "${word}"`, { hint: `${program} --help` });
}

/** Checks the words after `help`: none, a group, or a command. */
async function knownPath(words: readonly string[], role: Role | null): Promise<readonly string[]> {
  if (words.length === 0) return [];
  const { command, group, used } = namedCommand(words, role);
  const next = words[used];
  if (group !== undefined && words.length === 1 && words[0] === group.word) {
    const [only, ...others] = commandsOf(group, role);
    if (only === undefined) throw await unknownCommand(group, used, next, role);
    return others.length === 0 && only.path[1] === group.defaultWord ? only.path : [group.word];
  }
  if (command === undefined || used === 0) throw await unknownCommand(group, used, next, role);
  if (!hasCommand(role, command)) throw await anotherRoles(command, role);
  if (next !== undefined) throw unexpectedWord(`${programName(role)} help`, next);
  return command.path;
}

async function unknownCommand(
  group: GroupSpec | undefined,
  used: number,
  word: string | undefined,
  role: Role | null,
): Promise<UsageFailure> {
  const wrong = await import("./wrong_words.ts");
  if (group !== undefined && commandsOf(group, role).length === 0) return wrong.otherGroup(group, role);
  if (word === undefined) return wrong.noCommand(used === 0 ? undefined : group, role);
  return group === undefined || used === 0
    ? wrong.unknownFirstWord(word, role)
    : wrong.unknownSecondWord(group, word, role);
}

async function anotherRoles(command: CommandSpec, role: Role | null): Promise<UsageFailure> {
  return (await import("./wrong_words.ts")).otherRole(command, role);
}

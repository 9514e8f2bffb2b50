/**
 * The full option tokenizer, on `node:util` parseArgs: `--name=value`, `-xvalue`, `-4e`, and every refusal with
 * its reason. Loaded only when the plain tokenizer of `parse.ts` gives up.
 */
import { suggest } from "../system/suggest.ts";
import type { UsageFailure } from "../system/failure.ts";
import { restHint } from "./operands.ts";
import { optionName, type OptionToken, usage } from "./parse.ts";
import { COMMANDS, type CommandSpec, type OptionSpec } from "./table.ts";

/** A command line, sorted. */
export interface StrictWords {
  readonly tokens: readonly OptionToken[];
  /** The words that are no options; none unless the command takes some. */
  readonly operands: readonly string[];
  /** The words after a bare `--` of a command that takes another command line; undefined without `--`. */
  readonly rest: readonly string[] | undefined;
}

/**
 * Reads every form parseArgs reads, refusing besides what it would let pass: an option given twice (it keeps the
 * last one silently) and an empty value.
 *
 * parseArgs runs with `strict: false`, because its own refusals are prose without structure; the same rules are
 * applied here to its tokens, and the tests compare the verdict with `strict: true`.
 *
 * @throws {UsageFailure} naming the option and what is accepted
 */
export async function strictWords(
  command: CommandSpec,
  options: readonly OptionSpec[],
  args: readonly string[],
): Promise<StrictWords> {
  // Not a static import: a bundler would move it to the top of the one file, and every command would pay for it.
  const { parseArgs } = await import("node:util");
  const parsed = parseArgs({
    args: [...args],
    options: Object.fromEntries(options.map((option) => [option.name, {
      type: option.type === "flag" ? "boolean" as const : "string" as const,
      ...(option.short === undefined ? {} : { short: option.short }),
    }])),
    strict: false,
    allowPositionals: true,
    tokens: true,
  });
  const tokens: OptionToken[] = [];
  const operands: string[] = [];
  for (const token of parsed.tokens) {
    if (token.kind === "option-terminator") {
      if (command.rest !== undefined) return { tokens, operands, rest: args.slice(token.index + 1) };
      continue;
    }
    if (token.kind === "positional") {
      if (command.operands === undefined) throw unexpectedWord(command, token.value);
      operands.push(token.value);
      continue;
    }
    const spec = options.find((option) => option.name === token.name);
    if (spec === undefined) throw unknownOption(command, options, token.rawName);
    if (tokens.some((earlier) => earlier.spec === spec)) {
      throw usage(command, `option ${optionName(spec)} is given twice, accepted: once`);
    }
    tokens.push({ spec, value: checkPresence(command, spec, token.value, token.inlineValue === true) });
  }
  return { tokens, operands, rest: undefined };
}

/** Refuses a value where none belongs, a missing one, an empty one, and one that looks like an option. */
function checkPresence(
  command: CommandSpec,
  spec: OptionSpec,
  value: string | undefined,
  inline: boolean,
): string | undefined {
  const name = optionName(spec);
  if (spec.type === "flag") {
    if (value !== undefined) throw usage(command, `option ${name} takes no value, found one after "="`);
    return undefined;
  }
  if (value === undefined) throw usage(command, `option ${name} has no value, accepted: ${spec.help}`);
  if (value === "") throw usage(command, `option ${name} has an empty value, accepted: ${spec.help}`);
  if (!inline && value.startsWith("-") && value !== "-") {
    // The value may be a mistyped key: it is not repeated in the message.
    throw usage(
      command,
      `option ${name} is followed by a word that begins with "-", which may be its value or the next option`,
      `if it is the value, write --${spec.name}=VALUE`,
    );
  }
  return value;
}

function unexpectedWord(command: CommandSpec, word: string): UsageFailure {
  // A word on its own may be a key whose -k was forgotten, so a long one is not repeated either.
  const shown = word.length <= 24 ? `"${word}"` : `of ${word.length} characters`;
  const line = `postern ${command.path.join(" ")}`;
  const below = COMMANDS.filter(({ path }) =>
    path.length > command.path.length && isBelow(path, command.path)
  )
    .map(({ path }) => path.at(-1) ?? "");
  const near = word === "help" ? "--help" : suggest(word, below);
  const accepted = below.length === 0 ? "options only" : `options, or one of ${below.join(", ")}`;
  return usage(
    command,
    `unexpected word ${shown}, accepted: ${accepted}`,
    near === undefined ? undefined : `did you mean: ${line} ${near}`,
  );
}

function isBelow(path: readonly string[], above: readonly string[]): boolean {
  return above.every((word, i) => path[i] === word);
}

const MIN_START_CHARS = 3;

/** A name with few wrong letters, or the one that begins like it: `--output` for `--output-dir`. */
function meantOption(name: string, options: readonly OptionSpec[]): string | undefined {
  const names = options.map((option) => option.name);
  const longer = name.length < MIN_START_CHARS ? [] : names.filter((each) => each.startsWith(name));
  return suggest(name, names) ?? (longer.length === 1 ? longer[0] : undefined);
}

function unknownOption(command: CommandSpec, options: readonly OptionSpec[], rawName: string): UsageFailure {
  const near = rawName.startsWith("--") ? meantOption(rawName.slice(2), options) : undefined;
  return usage(
    command,
    `unknown option "${rawName}"`,
    near !== undefined ? `did you mean --${near}` : isForOthers(command) ? restHint(command) : undefined,
  );
}

/** Whether the words behind "--" are a command line of another program, whose options are easily mistaken for ours. */
function isForOthers({ rest }: CommandSpec): boolean {
  return rest !== undefined && rest.isOwn !== true;
}

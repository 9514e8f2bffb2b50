/** Checks the words of a command that are no options. Loaded only for the few commands that take such. */
import type { UsageFailure } from "../system/failure.ts";
import { suggest } from "../system/suggest.ts";
import type { CommandSpec, OperandSpec } from "./command_spec.ts";
import { usage } from "./parse.ts";
import type { StrictWords } from "./parse_strict.ts";

/** A longer word may be a key whose option was forgotten, and is not repeated. */
const MAX_SHOWN_CHARS = 24;

/**
 * Checks words one by one against what the command takes. With a command line after `--` none is required.
 *
 * @throws {UsageFailure} for a word too many, a required one that is missing, and one that is no choice
 */
export function checkOperands(
  command: CommandSpec,
  operands: readonly OperandSpec[],
  { operands: words, rest }: StrictWords,
): void {
  for (const [i, operand] of operands.entries()) {
    const word = words[i];
    if (word === undefined) {
      if (operand.required && rest === undefined) {
        throw usage(command, `${operand.value} is missing, accepted: ${acceptedOf(operand)}`);
      }
    } else {
      checkWord(command, operand, word);
    }
  }
  const extra = words[operands.length];
  const last = operands.at(-1);
  if (last?.many) {
    for (const word of words.slice(operands.length)) checkWord(command, last, word);
  } else if (extra !== undefined) {
    const accepted = operands.map(({ value }) => value).join(", ");
    const hint = last?.dashed
      ? dashedHint(command, words)
      : command.rest === undefined
      ? undefined
      : restHint(command);
    throw usage(command, `unexpected ${shown(extra)}, accepted: options and ${accepted}`, hint);
  }
}

/** What is run elsewhere stands behind a "--", or its options would be taken for ours. */
export function restHint({ path, operands = [], rest }: CommandSpec): string {
  const line = ["postern", ...path, ...operands.map(({ value }) => value), "--", rest?.value ?? ""];
  return `what is run comes after "--": ${line.join(" ")}`;
}

function dashedHint({ path }: CommandSpec, words: readonly string[]): string | undefined {
  if (words.some((word) => word.length > MAX_SHOWN_CHARS)) return undefined;
  return `did you mean: postern ${[...path, words.join("-")].join(" ")}`;
}

function checkWord(command: CommandSpec, operand: OperandSpec, word: string): void {
  if (word === "" || operand.choices?.includes(word) === false) throw wrongWord(command, operand, word);
}

function wrongWord(command: CommandSpec, operand: OperandSpec, word: string): UsageFailure {
  const line = `postern ${command.path.join(" ")}`;
  const near = suggest(word, operand.choices ?? []);
  return usage(
    command,
    `${operand.value}: found the ${shown(word)}, accepted: ${acceptedOf(operand)}`,
    near !== undefined
      ? `did you mean: ${line} ${near}`
      : word === "help"
      ? `did you mean: ${line} --help`
      : undefined,
  );
}

function acceptedOf({ choices, help }: OperandSpec): string {
  return choices === undefined ? help : choices.join(", ");
}

function shown(word: string): string {
  return word.length <= MAX_SHOWN_CHARS ? `word "${word}"` : `word of ${word.length} characters`;
}

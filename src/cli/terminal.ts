/**
 * The only place that prints and ends the program.
 *
 * - Standard output carries results only: what was asked for, so that it can be piped. `gen` prints a bare key.
 * - Standard error carries everything else, one line each: `error: ...`, `hint: ...`, `warning: ...`.
 * - An error names what could not be done, what was found and what is accepted; a hint, the next step.
 * - Text that may come from elsewhere has its control characters escaped before it reaches a terminal.
 * - Nothing that looks like a key is shown, wherever it was typed by mistake; `printNewKey` alone shows one.
 * - With `--json` standard output has one line of JSON in every case; a failure is `{"error": ..., "hint": ...}`.
 * - Colour only on a terminal, and never if NO_COLOR is set (`Deno.noColor` knows without a permission).
 * - Exit codes: 0 done, 1 failed, 2 wrong usage, 128 and more for the signal that ended a question.
 */
import { describeError, Failure, UsageFailure } from "../system/failure.ts";
import { escapeHidden, quoteVisibly } from "../system/visible_text.ts";
import { withoutKeys } from "../system/without_keys.ts";

export const EXIT_DONE = 0;
export const EXIT_FAILED = 1;
export const EXIT_USAGE = 2;

const encoder = new TextEncoder();

let inOwnWords = (text: string): string => text;

/** Says how a text for people is told in the program at hand; an executable calls its commands otherwise. */
export function tellInWords(translate: (text: string) => string): void {
  inOwnWords = translate;
}

/** Prints a result. */
export function printResult(text: string): void {
  writeAll(Deno.stdout, withoutKeys(inOwnWords(text)));
}

/** Prints what was made to be a secret, as it is. Only `client gen` and a setup on a terminal have any business here. */
export function printNewKey(text: string): void {
  writeAll(Deno.stdout, text);
}

/**
 * Prints what a program reads and acts on word for word, where `<key>` in the place of a path that only looks like a key
 * would be wrong. Nothing that can be a key may be in it.
 */
export function printExact(text: string): void {
  writeAll(Deno.stdout, text);
}

/** Prints a result as one line of JSON. */
export function printJson(value: unknown): void {
  printResult(jsonLine(value));
}

/** One line of JSON; a bigint becomes a string, since other readers would round it. */
export function jsonLine(value: unknown): string {
  return JSON.stringify(value, (_key, each) => typeof each === "bigint" ? each.toString() : each) + "\n";
}

/** Prints one line on standard error: `error: ...`, `warning: ...`, `hint: ...` or plain text. */
export function printNotice(line: string): void {
  const visible = withoutKeys(inOwnWords(isPlain(line) ? line : escapeHidden(line)));
  const [, label, rest] = /^(error|warning|hint)(:.*)$/.exec(visible) ?? [];
  writeAll(
    Deno.stderr,
    label === undefined || rest === undefined ? `${visible}\n` : `${paint(label)}${rest}\n`,
  );
}

/** Writes a question on standard error; the answer is typed on the same line. */
export function printPrompt(text: string): void {
  writeAll(Deno.stderr, text);
}

/** A text in double quotes for a result or a notice, with nothing in it that could drive a terminal. */
export function quote(text: string): string {
  return isPlain(text) ? JSON.stringify(text) : quoteVisibly(text);
}

/** Prints an error with its hint, for a program too if it `asJson`, and gives the exit code it means. */
export function printFailure(error: unknown, asJson: boolean): number {
  const isExpected = error instanceof Failure;
  const text = `${isExpected ? "" : "unexpected: "}${describeError(error)}`;
  const [first, ...others] = isExpected && error.hint !== undefined ? [error.hint, ...error.hintLines] : [];
  if (asJson) printJson({ error: text, hint: first === undefined ? null : [first, ...others].join("\n") });
  printNotice(`error: ${text}`);
  if (first !== undefined) printNotice(`hint: ${first}`);
  for (const line of others) printNotice(line);
  return error instanceof UsageFailure ? EXIT_USAGE : EXIT_FAILED;
}

/** Ends the program. */
export function exit(code: number): never {
  Deno.exit(code);
}

/** The pattern of hidden characters is costly to compile, and what `client send` prints is plain nearly always. */
function isPlain(text: string): boolean {
  return /^[\x20-\x7e]*$/.test(text);
}

const COLOURS: Readonly<Record<string, string>> = { error: "31", warning: "33", hint: "36" };

function paint(label: string): string {
  if (Deno.noColor || !Deno.stderr.isTerminal()) return label;
  return `\x1b[1;${COLOURS[label]}m${label}\x1b[0m`;
}

function writeAll(stream: { writeSync(bytes: Uint8Array): number }, text: string): void {
  const bytes = encoder.encode(text);
  try {
    for (let written = 0; written < bytes.length;) written += stream.writeSync(bytes.subarray(written));
  } catch (error) {
    // The reader went away, as `postern --help | head -1` does: nobody is left to tell.
    if (!(error instanceof Deno.errors.BrokenPipe)) throw error;
  }
}

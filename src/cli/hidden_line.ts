/**
 * Reads a line from the terminal without showing it, as passwords are read.
 *
 * The terminal is set to raw, so that not even the line discipline echoes; then Enter, Backspace and Ctrl-C are this
 * file's to understand. However the program ends from here on, the terminal is set back first: a shell that does
 * not show what is typed is what the user would be left with.
 */
import { exit, printPrompt } from "./terminal.ts";

/** The signals that end a program at a terminal, with their numbers. Windows knows the first alone. */
const ENDING_SIGNALS = [["SIGINT", 2], ["SIGTERM", 15], ["SIGHUP", 1]] as const;
const SIGNAL_EXIT = 128;
const EXIT_INTERRUPTED = SIGNAL_EXIT + 2;

/** More than this is something else than a key, pasted by mistake. */
const MAX_LINE_CHARS = 4096;

/** More than any token with the line breaks of a mail; what is longer is cut, and so refused. */
const MAX_TOKEN_BYTES = 65_536;

/** What a key on the keyboard means in raw mode, by its byte. */
const ENTER = [0x0a, 0x0d],
  END_OF_INPUT = 0x04,
  INTERRUPT = [0x03, 0x1c],
  BACKSPACE = [0x08, 0x7f],
  CLEAR = 0x15;
const FIRST_PRINTABLE = 0x20;

/** A line as it is typed and corrected. */
export class HiddenLine {
  #bytes: number[] = [];

  /** What the line holds. */
  get text(): string {
    return new TextDecoder().decode(Uint8Array.from(this.#bytes));
  }

  /** Takes what was typed. What comes after the end of the line is dropped: the rest of a paste is no key either. */
  take(typed: Uint8Array): "more" | "done" | "interrupted" {
    for (const byte of typed) {
      if (INTERRUPT.includes(byte)) return "interrupted";
      if (ENTER.includes(byte) || byte === END_OF_INPUT) return "done";
      if (BACKSPACE.includes(byte)) this.#bytes.pop();
      else if (byte === CLEAR) this.#bytes = [];
      else if (byte >= FIRST_PRINTABLE) this.#bytes.push(byte);
      if (this.#bytes.length > MAX_LINE_CHARS) return "done";
    }
    return "more";
  }
}

/** A token as it is pasted: mails and chats break long lines, so only an Enter behind all that arrives at once ends it. */
export class HiddenToken extends HiddenLine {
  /** Takes what was typed or pasted. */
  override take(typed: Uint8Array): "more" | "done" | "interrupted" {
    const outcome = super.take(typed.filter((byte) => !ENTER.includes(byte)));
    const isEnded = ENTER.includes(typed.at(-1) ?? 0);
    return outcome === "more" && isEnded ? "done" : outcome;
  }
}

/**
 * The token of a join: as it was given, or for `-` from standard input, and on a terminal asked for. Without the spaces
 * and line breaks that copying puts into it: no token has any.
 */
export async function givenToken(operand: string): Promise<string> {
  const text = operand !== "-"
    ? operand
    : Deno.stdin.isTerminal()
    ? await readRawLine("token: ", new HiddenToken())
    : await pipedText();
  return text.replaceAll(/\s+/g, "");
}

async function pipedText(): Promise<string> {
  const bytes = new Uint8Array(MAX_TOKEN_BYTES);
  let length = 0;
  while (length < bytes.length) {
    const count = await Deno.stdin.read(bytes.subarray(length));
    if (count === null) break;
    length += count;
  }
  return new TextDecoder().decode(bytes.subarray(0, length));
}

/** Asks on standard error and reads a line from the terminal that standard input is. Ctrl-C ends the program. */
export function readHiddenLine(prompt: string): Promise<string> {
  return readRawLine(prompt, new HiddenLine());
}

/** A line that is made of keys, and itself shows what is to be seen of them. */
export interface RawLine {
  readonly text: string;
  /** Takes what was typed. */
  take(typed: Uint8Array): "more" | "done" | "interrupted";
}

/** The same for any line; the terminal shows nothing that `line` does not. */
export async function readRawLine(prompt: string, line: RawLine): Promise<string> {
  function restore(): void {
    Deno.stdin.setRaw(false);
    // The Enter that was typed was not shown either.
    printPrompt("\n");
  }
  const listeners = ENDING_SIGNALS
    .filter(([signal]) => signal === "SIGINT" || Deno.build.os !== "windows")
    .map(([signal, number]) => ({
      signal,
      end: (): never => {
        restore();
        exit(SIGNAL_EXIT + number);
      },
    }));
  for (const { signal, end } of listeners) Deno.addSignalListener(signal, end);
  Deno.stdin.setRaw(true);
  let outcome: ReturnType<RawLine["take"]> = "more";
  try {
    // Only now: whoever types at the sight of it must not be shown.
    printPrompt(prompt);
    const typed = new Uint8Array(MAX_LINE_CHARS);
    while (outcome === "more") {
      const count = await Deno.stdin.read(typed);
      outcome = count === null ? "done" : line.take(typed.subarray(0, count));
    }
  } finally {
    restore();
    for (const { signal, end } of listeners) Deno.removeSignalListener(signal, end);
  }
  if (outcome === "interrupted") exit(EXIT_INTERRUPTED);
  return line.text;
}

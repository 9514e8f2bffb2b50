/**
 * Reads the code of a transfer from the terminal. Tab completes its words, which are heard over a telephone and misspelt.
 *
 * It is shown while it is typed: its words are to be compared with what was told, and are worth nothing once they were
 * used.
 */
import { completeCode, parseCode } from "../protocol/transfer/code.ts";
import { TransferError } from "../protocol/transfer/errors.ts";
import { Failure } from "../system/failure.ts";
import { type RawLine, readRawLine } from "./hidden_line.ts";
import { printNotice, printPrompt } from "./terminal.ts";

const PROMPT = "code: ";
/** Longer than any code; the rest of a paste is none. */
const MAX_LINE_CHARS = 120;
/** The words of an ordinary code; after the last one nothing is expected. */
const USUAL_WORDS = 3;
/** More are not listed. */
const MAX_LISTED = 32;

const TAB = "\t",
  /** Ctrl-C, Ctrl-D, Ctrl-\. */
  GIVE_UP = ["\x03", "\x04", "\x1c"],
  ENTER = ["\r", "\n"],
  BACKSPACE = ["\b", "\x7f"],
  CLEAR = "\x15",
  ESCAPE = "\x1b",
  BELL = "\x07",
  /** One column to the left, with nothing in it. */
  ERASE = "\b \b";

/**
 * Asks on standard error until what is typed is a code: nothing was used by one that is none. The terminal is set back
 * before anything else happens, also by a signal.
 *
 * @throws {Failure} on Ctrl-C and Ctrl-D
 */
export async function askForCode(): Promise<string> {
  for (;;) {
    const line = new CodeLine(printPrompt);
    await readRawLine(PROMPT, line);
    if (line.isGivenUp) {
      throw new Failure("no code was given, so nothing was received", { hint: "run the same command again" });
    }
    try {
      return parseCode(line.text).text;
    } catch (error) {
      if (!(error instanceof TransferError)) throw error;
      printNotice(
        line.text === "" ? "no code was typed; Ctrl-C ends this" : `${error.message}; type it again`,
      );
    }
  }
}

/** A code as it is typed, corrected and completed. */
export class CodeLine implements RawLine {
  readonly #show: (text: string) => void;
  readonly #decoder = new TextDecoder();
  #characters: string[] = [];
  #isGivenUp = false;
  /** What is left of the sequence that an arrow key sends. */
  #isInEscape: "no" | "begun" | "yes" = "no";

  /** @param show writes to the terminal, which is raw: a line ends with CR and LF */
  constructor(show: (text: string) => void) {
    this.#show = show;
  }

  /** What the line holds. */
  get text(): string {
    return this.#characters.join("");
  }

  /** Whether it was ended by Ctrl-C or Ctrl-D. */
  get isGivenUp(): boolean {
    return this.#isGivenUp;
  }

  /** Takes what was typed, and shows what becomes of it. What comes after the end of the line is dropped. */
  take(typed: Uint8Array): "more" | "done" {
    for (const character of this.#decoder.decode(typed, { stream: true })) {
      if (this.#isEscaped(character)) continue;
      this.#isGivenUp = GIVE_UP.includes(character);
      if (this.#isGivenUp || ENTER.includes(character)) return "done";
      this.#edit(character);
    }
    return "more";
  }

  #edit(character: string): void {
    if (character === TAB) return this.#complete();
    if (BACKSPACE.includes(character)) return this.#erase(1);
    if (character === CLEAR) return this.#erase(this.#characters.length);
    // No part of a code is anything else; and what a terminal would act on is not shown to it.
    if (!/^[A-Za-z0-9\p{Pd} ]$/u.test(character)) return this.#show(BELL);
    // A paste may begin with a space.
    if (character !== " ") return this.#insert(character);
    if (this.#characters.length > 0 && this.#characters.at(-1) !== "-") this.#insert("-");
  }

  /** Whether it is part of what an arrow key, Home or the like sends: ESC [ ... letter, or ESC O letter. */
  #isEscaped(character: string): boolean {
    if (this.#isInEscape === "yes") {
      if (/[@-~]/.test(character)) this.#isInEscape = "no";
      return true;
    }
    if (this.#isInEscape === "begun") {
      this.#isInEscape = character === "[" || character === "O" ? "yes" : "no";
      return this.#isInEscape === "yes";
    }
    if (character !== ESCAPE) return false;
    this.#isInEscape = "begun";
    return true;
  }

  #insert(text: string): void {
    for (const character of text) {
      if (this.#characters.length >= MAX_LINE_CHARS) return this.#show(BELL);
      this.#characters.push(character);
      this.#show(character);
    }
  }

  #erase(count: number): void {
    for (let i = 0; i < count && this.#characters.pop() !== undefined; i++) this.#show(ERASE);
  }

  #complete(): void {
    const line = this.text;
    if (/^[0-9]{4,9}$/.test(line)) return this.#insert("-");
    const words = completeCode(line);
    const [first] = words;
    if (first === undefined) return this.#show(BELL);
    const typedChars = /[\p{L}\p{N}]*$/u.exec(line)?.[0].length ?? 0;
    const common = commonStart(words);
    if (words.length === 1) return this.#insert(first.slice(typedChars) + (this.#expectsMore() ? "-" : ""));
    if (common.length > typedChars) return this.#insert(common.slice(typedChars));
    this.#list(words);
  }

  #expectsMore(): boolean {
    return this.text.split("-").length - 1 < USUAL_WORDS;
  }

  #list(words: readonly string[]): void {
    const listed = words.slice(0, MAX_LISTED).join("  ");
    const more = words.length > MAX_LISTED ? `  ... and ${words.length - MAX_LISTED} more` : "";
    this.#show(`\r\n${listed}${more}\r\n${PROMPT}${this.text}`);
  }
}

function commonStart(words: readonly string[]): string {
  const [first = "", ...others] = words;
  let length = first.length;
  for (const word of others) {
    while (!word.startsWith(first.slice(0, length))) length--;
  }
  return first.slice(0, length);
}

/**
 * The code that one person tells the other: `<nameplate>-<word>-<word>-<word>`, such as `481516-ocean-rabbit-velvet`.
 * The nameplate brings the two together and is told to the relay, as a hash; the words are the password, and told to
 * nobody. Whoever guesses has one try in 2,048^3, which is 2^33.
 */
import type { RandomBytes } from "../rpc/timers.ts";
import { CODE_WORDS, nearestWords, wordNumber } from "./code_words.ts";
import { TransferError } from "./errors.ts";
import { guessableReason } from "./guessable_code.ts";

/** With 100 codes on one relay two of them have the same with 0.5 %; with 4 digits, with 39 %. */
const NAMEPLATE_DIGITS = 6;
const NAMEPLATE = /^[0-9]{4,9}$/;
const MIN_WORDS = 3,
  MAX_WORDS = 8;
/** White space and every kind of dash, which is what a hyphen becomes in some programs on its way. */
const SEPARATOR = /[\s\p{Pd}]+/u;
const U32_BYTES = 4;
const U32_COUNT = 2 ** 32;
const ORDINALS = ["first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth"];

/** A code in its one spelling. */
export interface TransferCode {
  /** All of it, lower case, with "-" between the parts. */
  readonly text: string;
  /** 4 to 9 digits. */
  readonly nameplate: string;
  /** 3 to 8 words of the list. */
  readonly words: readonly string[];
}

/** Makes a code: a nameplate of 6 digits and three words, each as likely as any other. */
export function generateCode(random: RandomBytes): TransferCode {
  const nameplate = String(below(10 ** NAMEPLATE_DIGITS, random)).padStart(NAMEPLATE_DIGITS, "0");
  const words: string[] = [];
  while (words.length < MIN_WORDS) words.push(CODE_WORDS[below(CODE_WORDS.length, random)] ?? "");
  return codeOf(nameplate, words);
}

/**
 * Reads a code as a person typed it: in capital letters or small ones, with dashes or white space between its parts.
 *
 * @throws {TransferError} "code", with the place of what is wrong, and never what is there
 */
export function parseCode(text: string): TransferCode {
  const [nameplate = "", ...words] = partsOf(text);
  if (!NAMEPLATE.test(nameplate)) {
    throw notACode("it does not begin with a number of 4 to 9 digits");
  }
  if (words.length < MIN_WORDS || words.length > MAX_WORDS) {
    throw notACode(
      `it has ${words.length} word${
        words.length === 1 ? "" : "s"
      }, accepted are ${MIN_WORDS} to ${MAX_WORDS}`,
    );
  }
  for (const [at, word] of words.entries()) {
    if (wordNumber(word) !== -1) continue;
    throw notACode(`its ${ORDINALS[at]} word is not one of the list${didYouMean(word)}`);
  }
  return codeOf(nameplate, words);
}

/**
 * Reads a code that a person has made up.
 *
 * @throws {TransferError} "code" if it is none, or one that others would think of, with the reason
 */
export function chooseCode(text: string): TransferCode {
  const code = parseCode(text);
  const reason = guessableReason(code);
  if (reason !== null) throw new TransferError("code", `cannot use the code: ${reason}`);
  return code;
}

/**
 * The words that the last part of what was typed so far can become.
 *
 * @returns in the order of the alphabet; none while the number is being typed, or before the first letter of a word
 */
export function completeCode(prefix: string): string[] {
  const parts = prefix.trimStart().toLowerCase().split(SEPARATOR);
  const last = parts.at(-1) ?? "";
  if (parts.length === 1 || last === "") return [];
  return CODE_WORDS.filter((word) => word.startsWith(last));
}

function partsOf(text: string): string[] {
  const parts = text.trim().toLowerCase().split(SEPARATOR);
  // What Tab, or the space behind a paste, has left at the end.
  if (parts.length > 1 && parts.at(-1) === "") parts.pop();
  return parts;
}

function codeOf(nameplate: string, words: readonly string[]): TransferCode {
  return { text: [nameplate, ...words].join("-"), nameplate, words };
}

/** A number from 0 on, each as likely as any other: what would favour the small ones is drawn again. */
function below(count: number, random: RandomBytes): number {
  const limit = U32_COUNT - U32_COUNT % count;
  for (;;) {
    const bytes = random(U32_BYTES);
    const drawn = new DataView(bytes.buffer, bytes.byteOffset, U32_BYTES).getUint32(0);
    if (drawn < limit) return drawn % count;
  }
}

function didYouMean(typed: string): string {
  const words = nearestWords(typed);
  return words.length === 0 ? "" : ` (did you mean ${words.join(" or ")}?)`;
}

function notACode(found: string): TransferError {
  return new TransferError("code", `cannot read the code: ${found}`);
}

/** Codes that more than one person would think of. */
import { wordNumber } from "./code_words.ts";
import type { TransferCode } from "./code.ts";

const DIGITS = 10;
/** A year or birthday in which somebody alive was born or has something to celebrate. */
const YEAR = /^(?:19|20)\d\d$/;

/** Why a code that a person made up is too easy to guess; null if nothing speaks against it. Names no part of the code. */
export function guessableReason({ nameplate, words }: TransferCode): string | null {
  if (new Set(words).size < words.length) return "it has the same word twice";
  if (isSequence(words.map(wordNumber))) {
    return "its words follow each other in the list";
  }
  if (isRepeated(nameplate)) return "its number is the same digits again and again";
  if (isCounting(nameplate)) return "its number is counting up or down";
  if (YEAR.test(nameplate)) return "its number is a year";
  return null;
}

/** Whether two that stand together are neighbours in the list, or all are equally far apart. */
function isSequence(numbers: readonly number[]): boolean {
  const steps = numbers.slice(1).map((number, at) => number - (numbers[at] ?? 0));
  return steps.some((step) => Math.abs(step) === 1) || steps.every((step) => step === steps[0]);
}

/** 0000, 121212, 123123. */
function isRepeated(digits: string): boolean {
  return /^(\d+?)\1+$/.test(digits);
}

/** 1234, 9876, 8901. */
function isCounting(digits: string): boolean {
  const steps = Array.from(
    digits.slice(1),
    (digit, at) => (Number(digit) - Number(digits[at]) + DIGITS) % DIGITS,
  );
  return steps.every((step) => step === 1) || steps.every((step) => step === DIGITS - 1);
}

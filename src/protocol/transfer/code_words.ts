/** The words of codes: the 2,048 of BIP39 in English, in the order of the alphabet, no two with the same first four letters. */
import { wordlist } from "@scure/bip39/wordlists/english.js";

/** Every word, in order. */
export const CODE_WORDS: readonly string[] = wordlist;

/** Letters by which a word can be told from all others. */
const DISTINCT_CHARS = 4;
const MAX_SUGGESTIONS = 3;

/** Number of a word in the list, from 0; -1 if it is not there. */
export function wordNumber(word: string): number {
  return CODE_WORDS.indexOf(word);
}

/** The words that somebody most likely meant: of the same first four letters, or one slip of a finger away; at most 3. */
export function nearestWords(typed: string): readonly string[] {
  const head = typed.slice(0, DISTINCT_CHARS);
  const sameHead = head.length === DISTINCT_CHARS
    ? CODE_WORDS.find((word) => word.startsWith(head))
    : undefined;
  if (sameHead !== undefined) return [sameHead];
  return CODE_WORDS.filter((word) => isOneSlip(typed, word)).slice(0, MAX_SUGGESTIONS);
}

/** Whether one letter too many, too few, wrong, or swapped with its neighbour makes one of the other. */
function isOneSlip(a: string, b: string): boolean {
  let at = 0;
  while (at < a.length && a[at] === b[at]) at++;
  const restOf = (text: string, skipped: number): string => text.slice(at + skipped);
  return restOf(a, 1) === restOf(b, 1) || restOf(a, 1) === restOf(b, 0) || restOf(a, 0) === restOf(b, 1) ||
    (a[at] === b[at + 1] && a[at + 1] === b[at] && restOf(a, 2) === restOf(b, 2));
}

/**
 * Words of another side that people are shown: a reset says why, and whoever sends it may be hostile. Nothing of it
 * drives a terminal, forges a line of a log or reads differently from what it holds.
 */

// Cc: control characters. Cf and the two separators: bidi overrides, zero-width letters, line breaks. Cs: halves of a
// character, which no UTF-8 can carry.
const HIDDEN = /[\p{Cc}\p{Cf}\p{Cs}\u2028\u2029]/u;
const EACH_HIDDEN = new RegExp(HIDDEN, "gu");

/** Longest text that is shown, in UTF-16 code units. */
export const MAX_SHOWN_CHARACTERS = 300;
const CUT_MARK = "...";

/** Whether nothing in a text is invisible. */
export function isVisibleText(text: string): boolean {
  return !HIDDEN.test(text);
}

/**
 * A text fit to be shown on one line: cut to `MAX_SHOWN_CHARACTERS`, with "?" for each invisible character.
 *
 * @param text anything that another side may have sent
 */
export function shownText(text: string): string {
  const cut = text.length <= MAX_SHOWN_CHARACTERS
    ? text
    : text.slice(0, MAX_SHOWN_CHARACTERS - CUT_MARK.length) + CUT_MARK;
  return cut.replace(EACH_HIDDEN, "?");
}

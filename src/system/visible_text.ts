/**
 * Text that somebody else chose, made safe to print on one line of a terminal or a log.
 */

// Cc: control characters (a newline forges a log line, ESC drives the terminal). Cf and the two separators:
// bidi overrides, zero-width letters and line breaks that make a line read differently from what it holds.
// Cs: lone surrogates, which no UTF-8 output can carry.
const HIDDEN = /[\p{Cc}\p{Cf}\p{Cs}\u2028\u2029]/gu;

/** `text` as a JSON string literal in double quotes, with every invisible character as `\uXXXX`. */
export function quoteVisibly(text: string): string {
  return JSON.stringify(text).replace(HIDDEN, escapeUnits);
}

/** `text` with every invisible character as `\uXXXX`; everything else, quotes included, stays as it is. */
export function escapeHidden(text: string): string {
  return text.replace(HIDDEN, escapeUnits);
}

function escapeUnits(character: string): string {
  let escaped = "";
  for (let i = 0; i < character.length; i++) {
    escaped += "\\u" + character.charCodeAt(i).toString(16).padStart(4, "0");
  }
  return escaped;
}

/** Codes of other people's programs: a number, which no other transfer of this run has, and two words. */

const NUMBERS = 1_000_000;

export function randomWords(separator: string): string {
  const [value = 0] = crypto.getRandomValues(new Uint32Array(1));
  return [value % NUMBERS + NUMBERS, "guitarist", "revenge"].join(separator);
}

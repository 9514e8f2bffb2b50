const MAX_DISTANCE = 2;
const SHORT_WORD_CHARS = 3;

/**
 * The candidate a person most likely meant by `word`: the one at the smallest Damerau-Levenshtein distance (an
 * inserted, missing, wrong or swapped letter is one step), at most 2, and at most 1 for words of up to 3 letters.
 */
export function suggest(word: string, candidates: readonly string[]): string | undefined {
  const limit = word.length <= SHORT_WORD_CHARS ? 1 : MAX_DISTANCE;
  let best: string | undefined;
  let bestDistance = limit + 1;
  for (const candidate of candidates) {
    if (Math.abs(candidate.length - word.length) > limit) continue;
    const distance = editDistance(word, candidate);
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

/** What `suggest` finds as the end of a sentence, ` (did you mean WORD?)`; empty when it finds nothing. */
export function didYouMean(word: string, candidates: readonly string[]): string {
  const meant = suggest(word, candidates);
  return meant === undefined ? "" : ` (did you mean ${meant}?)`;
}

/** Damerau-Levenshtein distance in its restricted form: no letter takes part in two swaps. */
export function editDistance(a: string, b: string): number {
  let beforePrevious: number[] = [];
  let previous = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const current = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitution = at(previous, j - 1) + (a[i - 1] === b[j - 1] ? 0 : 1);
      let distance = Math.min(at(previous, j) + 1, at(current, j - 1) + 1, substitution);
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      if (swapped) distance = Math.min(distance, at(beforePrevious, j - 2) + 1);
      current.push(distance);
    }
    beforePrevious = previous;
    previous = current;
  }
  return at(previous, b.length);
}

function at(row: number[], index: number): number {
  return row[index] ?? Infinity;
}

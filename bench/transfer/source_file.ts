/** Files to send: random bytes, and text that compresses as written text does. */

const MIB = 2 ** 20;
const RANDOM_AT_ONCE = 65_536;
const WORDS = 4000;
const LONGEST_WORD = 11;
/** How often each word comes is looked up here; a power of two. */
const DRAWS = 65_536;
const WORDS_PER_LINE = 12;
const SPACE = 0x20, NEWLINE = 0x0a, LETTER_A = 0x61, LETTERS = 26;
const SEED = 1;

export type SourceKind = "random" | "text";

/** A file that is removed when it is no longer needed. */
export interface SourceFile extends AsyncDisposable {
  readonly path: string;
  readonly sizeBytes: number;
  readonly sha256: string;
}

export async function makeSource(kind: SourceKind, sizeBytes: number, folder: string): Promise<SourceFile> {
  const path = `${folder}/source-${kind}-${sizeBytes}`;
  const fill = kind === "random" ? fillRandom : makeTextFiller();
  {
    using file = await Deno.create(path);
    const block = new Uint8Array(MIB);
    for (let left = sizeBytes; left > 0; left -= block.length) {
      fill(block);
      const part = block.subarray(0, Math.min(left, block.length));
      for (let at = 0; at < part.length;) at += await file.write(part.subarray(at));
    }
    // Else the disk is busy with it while the first program is measured.
    await file.sync();
  }
  return {
    path,
    sizeBytes,
    sha256: await hashOf(path),
    [Symbol.asyncDispose]: () => Deno.remove(path),
  };
}

/** SHA-256 of a file, by a program that is not ours. */
export async function hashOf(path: string): Promise<string> {
  const { stdout, success } = await new Deno.Command("sha256sum", { args: ["--", path] }).output();
  if (!success) throw new Error("sha256sum failed");
  return new TextDecoder().decode(stdout).replace(/^\\/, "").slice(0, 64);
}

function fillRandom(block: Uint8Array): void {
  for (let at = 0; at < block.length; at += RANDOM_AT_ONCE) {
    crypto.getRandomValues(block.subarray(at, at + RANDOM_AT_ONCE));
  }
}

/** Lines of words; the n-th word comes as often as 1/n (Zipf), as in any language. Nothing repeats but the words. */
function makeTextFiller(): (block: Uint8Array) => void {
  const next = mulberry32(SEED);
  const words = Array.from({ length: WORDS }, () => makeWord(next));
  const draws = drawTable();
  let count = 0;
  return (block) => {
    for (let at = 0; at < block.length;) {
      const word = words[draws[next() & (DRAWS - 1)] ?? 0] ?? [];
      for (let letter = 0; letter < word.length; letter++) block[at++] = word[letter] ?? 0;
      block[at++] = ++count % WORDS_PER_LINE === 0 ? NEWLINE : SPACE;
    }
  };
}

function makeWord(next: () => number): number[] {
  // The sum of two dice: few words are very short or very long.
  const length = 1 + next() % (LONGEST_WORD / 2 | 0) + next() % (LONGEST_WORD / 2 | 0) + 1;
  return Array.from({ length }, () => LETTER_A + next() % LETTERS);
}

function drawTable(): Uint16Array {
  const weights = Array.from({ length: WORDS }, (_, at) => 1 / (at + 1));
  const sum = weights.reduce((all, weight) => all + weight, 0);
  const table = new Uint16Array(DRAWS);
  let at = 0, reached = 0;
  for (const [word, weight] of weights.entries()) {
    reached += weight / sum;
    while (at < DRAWS && at / DRAWS < reached) table[at++] = word;
  }
  return table;
}

/** The same text each time: 32 bits at a time. */
function mulberry32(state: number): () => number {
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return (mixed ^ (mixed >>> 14)) >>> 0;
  };
}

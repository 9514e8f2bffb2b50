/** Randomness for tests that a printed seed repeats: `POSTERN_SEED=<seed>`. */

export class SeededRandom {
  readonly seed: number;
  #state: number;

  constructor(seed = Number(Deno.env.get("POSTERN_SEED") ?? crypto.getRandomValues(new Uint32Array(1))[0])) {
    this.seed = seed;
    this.#state = seed >>> 0;
  }

  /** In [0, 1): mulberry32. */
  readonly next = (): number => {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let x = Math.imul(this.#state ^ this.#state >>> 15, this.#state | 1);
    x ^= x + Math.imul(x ^ x >>> 7, x | 61);
    return ((x ^ x >>> 14) >>> 0) / 2 ** 32;
  };

  shuffled<T>(items: readonly T[]): T[] {
    return items.map((item) => ({ item, at: this.next() })).sort((a, b) => a.at - b.at).map(({ item }) =>
      item
    );
  }
}

/** A line for whoever reads the test's output: what was counted, not only that it was well. */
export function report(text: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`    ${text}\n`));
}

/** Numbers for the draw under a flood. `Math.random` would let a flooder who learns some of them foresee the rest. */

const POOL_WORDS = 256;
const WORD_RANGE = 2 ** 32;

/** Makes a source of numbers in [0, 1) with 32 random bits each, from the system's generator. */
export function secureRandom(): () => number {
  const pool = new Uint32Array(POOL_WORDS);
  let next = POOL_WORDS;
  return (): number => {
    if (next === POOL_WORDS) {
      crypto.getRandomValues(pool);
      next = 0;
    }
    return (pool[next++] ?? 0) / WORD_RANGE;
  };
}

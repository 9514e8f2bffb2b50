/** One thing that is fuzzed, and what targets have in common. */
import type { FuzzRandom } from "./fuzz_random.ts";

export interface FuzzTarget {
  readonly name: string;
  /** Makes an input. */
  readonly make: (random: FuzzRandom) => Uint8Array;
  /** Whether the reader accepted the input; throws or rejects if the property does not hold. */
  readonly accepts: (input: Uint8Array<ArrayBuffer>) => boolean | Promise<boolean>;
}

/** Noise, a seed with faults, or now and then a seed as it is. */
export function noiseOrMutant(random: FuzzRandom, seeds: readonly Uint8Array[]): Uint8Array {
  const choice = random.below(20);
  if (choice < 4) {
    return random.bytes(random.below(201));
  }
  return choice === 4 ? random.pick(seeds) : random.mutate(random.pick(seeds));
}

/** What was read, or null if it was refused by exactly the given error. Every other error goes on. */
export function unlessRefused<T>(read: () => T, refusal: new (...args: never[]) => Error): T | null {
  try {
    return read();
  } catch (error) {
    if (error instanceof Error && error.constructor === refusal) {
      return null;
    }
    throw error;
  }
}

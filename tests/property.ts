/** Property tests, all started the same way. */
import fc from "fast-check";

/**
 * Checks a property. On failure fast-check prints the seed and the shrunk counterexample; `POSTERN_SEED=<seed>`
 * repeats a run.
 */
export function holds<T>(property: fc.IProperty<T>, parameters: fc.Parameters<T> = {}): void {
  const seed = Deno.env.get("POSTERN_SEED");
  fc.assert(property, seed === undefined ? parameters : { ...parameters, seed: Number(seed) });
}

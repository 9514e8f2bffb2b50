/** Loads in turns: a busy moment of the machine hits all programs alike, and the median forgets it. */
import { median } from "../quantile.ts";
import type { Load, Measured } from "./load.ts";
import type { Pair } from "./pair.ts";

const ROUNDS = 5, FOR_MS = 400, WARM_UP_MS = 600;
const QUICK_ROUNDS = 1, QUICK_FOR_MS = 40;

/** Medians of each program's figures, by name. */
export type Results = ReadonlyMap<string, Measured>;

/** Runs one kind of load on all pairs. */
export async function measureInTurns(
  pairs: ReadonlyMap<string, Pair>,
  load: Omit<Load, "forMs">,
  isQuick: boolean,
): Promise<Results> {
  const found = new Map<string, Measured[]>(pairs.keys().map((name) => [name, []]));
  for (let round = isQuick ? 0 : -1; round < (isQuick ? QUICK_ROUNDS : ROUNDS); round++) {
    const forMs = isQuick ? QUICK_FOR_MS : round < 0 ? WARM_UP_MS : FOR_MS;
    for (const [name, pair] of pairs) {
      const measured = await pair.run({ ...load, forMs });
      if (round >= 0) found.get(name)?.push(measured);
    }
  }
  return new Map(found.entries().map(([name, all]) => [name, medians(all)]));
}

function medians(all: readonly Measured[]): Measured {
  const of = (pick: (each: Measured) => number): number => median(all.map(pick)) ?? 0;
  return {
    callsPerSecond: of((each) => each.callsPerSecond),
    p50Us: of((each) => each.p50Us),
    p99Us: of((each) => each.p99Us),
  };
}

/**
 * `deno task demo [knock|transfer|manage]`: one of Postern's jobs on real input, with real processes on loopback. Leaves nothing
 * behind, also on Ctrl-C.
 */
import { knockDemonstration } from "./demo/knock.ts";
import { manageDemonstration } from "./demo/manage.ts";
import { type Demonstration, perform, print } from "./demo/stage.ts";
import { transferDemonstration } from "./demo/transfer.ts";

const EXIT_USAGE = 2;
const DEMONSTRATIONS: ReadonlyMap<string, Demonstration> = new Map([
  ["knock", knockDemonstration],
  ["transfer", transferDemonstration],
  ["manage", manageDemonstration],
]);

async function main(words: readonly string[]): Promise<number> {
  const demonstration = DEMONSTRATIONS.get(words[0] ?? "knock");
  if (demonstration !== undefined && words.length < 2) return await perform(demonstration);
  print(`usage: deno task demo [${[...DEMONSTRATIONS.keys()].join("|")}]`);
  return EXIT_USAGE;
}

Deno.exit(await main(Deno.args));

/** `postern client reseed`. */
import { usableConfigFolder } from "../client/knock/config_folder.ts";
import { formatCounterTime } from "../client/knock/counter.ts";
import { reseedCounter } from "../client/knock/reseed.ts";
import type { OptionValues } from "./parse.ts";
import { printJson, printNotice, printResult } from "./terminal.ts";

/** Starts the stored counter over at the present time. */
export async function clientReseed(values: OptionValues): Promise<void> {
  const { path, previous, counter } = await reseedCounter(usableConfigFolder());
  if (previous !== null && previous > counter) {
    printNotice(
      `warning: the counter went back by ${
        (previous - counter) / 1_000_000_000n
      } s; a server that accepted the old ` +
        `one refuses knocks until ${formatCounterTime(previous)}`,
    );
  }
  if (values.flag("json")) return printJson({ path, previous, counter });
  const before = previous === null ? "no readable counter" : `${previous} (${formatCounterTime(previous)})`;
  printResult(`counter in ${path}: ${before} -> ${counter} (${formatCounterTime(counter)})\n`);
}

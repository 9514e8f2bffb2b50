/** `postern man`. */
import { UsageFailure } from "../system/failure.ts";
import { suggest } from "../system/suggest.ts";
import { programName } from "./command_words.ts";
import { manPageNames } from "./man_names.ts";
import { manPageNamed } from "./man_page.ts";
import type { OptionValues } from "./parse.ts";
import type { Invocation } from "./permission_audit.ts";
import { printExact } from "./terminal.ts";

/** Prints one page; without a name that of the program at hand. */
export function manCommand({ operands: [wanted] }: OptionValues, { build }: Invocation): Promise<void> {
  const name = wanted ?? programName(build.role);
  const page = manPageNamed(name) ?? manPageNamed(`postern-${name}`);
  if (page === undefined) {
    const near = suggest(name, manPageNames());
    throw new UsageFailure(
      `cannot run "postern man": no page "${name}", accepted: ${manPageNames().join(", ")}`,
      {
        hint: near === undefined ? "postern man --help" : `did you mean: postern man ${near}`,
      },
    );
  }
  printExact(page);
  return Promise.resolve();
}

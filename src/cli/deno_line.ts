/** The `deno run` line that starts this program under given permissions. */
import { shellWord } from "./shell_word.ts";

/**
 * Without `--cached-only` the runtime gets an npm package from the network whenever code asks for one, whatever the
 * permissions: a package's name can carry a secret out, and what comes back is run.
 */
const START = "deno run --no-prompt --cached-only";
/** Beside a checkout's main.ts lies a deno.json that says the same; a bundle must not believe one that lies anywhere. */
const START_BUNDLE = `${START} --no-config --unstable-net`;

/**
 * One flag a line, to be read as well as pasted.
 *
 * @param words the program and its own words, on the last line
 */
export function brokenRunLine(flags: readonly string[], words: readonly string[]): string[] {
  const last = words.map(shellWord).join(" ");
  const start = words[0]?.endsWith(".js") ? START_BUNDLE : START;
  if (flags.length === 0) return [`${start} ${last}`];
  return [`${start} \\`, ...flags.map((flag) => `  ${shellWord(flag)} \\`), `  ${last}`];
}

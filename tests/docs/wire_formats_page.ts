/** The examples and tables of docs/wire-formats.md, as a reader would take them out of it. */
import assert from "node:assert/strict";
import { repositoryFolder } from "../../scripts/lab.ts";

/** The page. */
export const wireFormats = await Deno.readTextFile(`${repositoryFolder}/docs/wire-formats.md`);

/** A block marked `<!-- by hand: NAME -->`, as it stands there. */
export function textByHand(name: string): string {
  const block = new RegExp(`<!-- by hand: ${name} -->\n\n\`\`\`[a-z]*\n([^\`]*)\`\`\``).exec(wireFormats)
    ?.[1];
  assert(block !== undefined, `the page has a block "${name}"`);
  return block;
}

/** The bytes of such a block: hex up to the first two spaces of a line; `00 x 3` is 000000. */
export function byHand(name: string): Uint8Array<ArrayBuffer> {
  const hex = textByHand(name).split("\n").map((line) => line.split("  ")[0] ?? "").join(" ");
  const whole = hex.replace(/\b00 x (\d+)/g, (_, times: string) => "00".repeat(Number(times)));
  return Uint8Array.fromHex(whole.replaceAll(/\s/g, ""));
}

/** Rows of the table whose first header is the given one, below a heading; cells without their quotes. */
export function table(heading: string, firstHeader: string): string[][] {
  const at = wireFormats.indexOf(`\n## ${heading}\n`);
  assert(at !== -1, `the page has a section "${heading}"`);
  const rows = new RegExp(`\n\\| ${firstHeader} +\\|[^\n]*\n\\|[-| ]*\\|\n((?:\\|[^\n]*\n)+)`)
    .exec(wireFormats.slice(at))?.[1];
  assert(rows !== undefined, `there is a table of "${firstHeader}" below "${heading}"`);
  return rows.trimEnd().split("\n").map((row) =>
    row.split("|").slice(1, -1).map((cell) => cell.trim().replaceAll("`", ""))
  );
}

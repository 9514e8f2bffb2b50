/** What setup says; and the key as a QR code: what a camera would see of a terminal, module by module. */
import assert from "node:assert/strict";
import { encode } from "uqr";
import { qrCode, stepLine } from "../../src/cli/setup_words.ts";

const KEY = "ZBnxZd7b2brbbYo9pDoHmzPwfCQxwdG/5ah4H+kgCwe3uolsq5epJA==";
const ESCAPE = "\x1b";

/** Which halves of a cell its foreground fills, upper and lower. */
const FILLED: Readonly<Record<string, readonly [boolean, boolean]>> = {
  "█": [true, true],
  "▀": [true, false],
  "▄": [false, true],
  " ": [false, false],
};

/** Rows of modules as a terminal shows them, true where dark; every line must name both of its colours. */
function shownModules(text: string): boolean[][] {
  return text.trimEnd().split("\n").flatMap((line) => {
    const [, colours = "", blocks = ""] =
      new RegExp(`^${ESCAPE}\\[([0-9;]+)m(.*)${ESCAPE}\\[0m$`).exec(line) ?? [];
    const codes = colours.split(";").map(Number);
    const isLit = codes.includes(97) && codes.includes(40);
    const isInk = codes.includes(30) && (codes.includes(47) || codes.includes(107));
    assert(isLit !== isInk, `colours of ${JSON.stringify(line)}`);
    const halves = [...blocks].map((block) => FILLED[block] ?? assert.fail(`unknown block ${block}`));
    return [0, 1].map((half) => halves.map((filled) => filled[half] === isInk));
  });
}

Deno.test("qrCode() shows dark modules on light ones, as an unaided reader needs them", async () => {
  const shown = shownModules(await qrCode(KEY));
  const { data, size } = encode(KEY, { border: 2 });
  assert.deepEqual(shown.slice(0, size), data.map((row) => [...row]));
  // The size is odd, so the last line of text has a row too many, which must not be a dark bar beside the code.
  assert.deepEqual(shown.slice(size), [new Array<boolean>(size).fill(false)]);
});

Deno.test("qrCode() keeps two light modules around the code, and its corner is a finder pattern", async () => {
  const shown = shownModules(await qrCode(KEY));
  for (const row of [shown[0], shown[1], shown.at(-1), shown.at(-2)]) assert(row?.every((isDark) => !isDark));
  assert(shown.every((row) => !row[0] && !row[1] && !row.at(-1) && !row.at(-2)));
  assert.deepEqual(shown[2]?.slice(2, 10), [true, true, true, true, true, true, true, false]);
  assert.deepEqual(shown[3]?.slice(2, 10), [true, false, false, false, false, false, true, false]);
});

Deno.test("stepLine() names up to five acts and counts the others", () => {
  const acts = ["a", "b", "c", "d", "e", "f", "g"];
  assert.equal(stepLine("keys", acts.slice(0, 1)), "keys: a");
  assert.equal(stepLine("keys", acts.slice(0, 5)), "keys: a; b; c; d; e");
  assert.equal(stepLine("keys", acts.slice(0, 6)), "keys: a; b; c; d; and 2 more");
  assert.equal(stepLine("keys", acts), "keys: a; b; c; d; and 3 more");
});

import assert from "node:assert/strict";
import { givenToken, HiddenLine, HiddenToken } from "../../src/cli/hidden_line.ts";

/** What comes of keystrokes that arrive in these pieces; stops where the line does. */
function type(...pieces: readonly string[]): [outcome: string, text: string] {
  return typeInto(new HiddenLine(), pieces);
}

function typeInto(line: HiddenLine, pieces: readonly string[]): [outcome: string, text: string] {
  let outcome = "more";
  for (const piece of pieces) {
    if (outcome === "more") outcome = line.take(new TextEncoder().encode(piece));
  }
  return [outcome, line.text];
}

const TYPED: readonly [what: string, pieces: string[], outcome: string, text: string][] = [
  ["nothing yet", ["ab"], "more", "ab"],
  ["a line in pieces", ["a", "b", "\r"], "done", "ab"],
  ["a line of a paste, without what follows it", ["ab\ncd\n"], "done", "ab"],
  ["Ctrl-D", ["ab\x04cd"], "done", "ab"],
  ["a correction", ["abx\x7f", "y\x08c\r"], "done", "abc"],
  ["more corrections than letters", ["a\x7f\x7f\x7fb\r"], "done", "b"],
  ["Ctrl-U", ["wrong\x15right\r"], "done", "right"],
  ["keys that mean nothing", ["a\x1a\x00\tb\r"], "done", "ab"],
  ["Ctrl-C", ["ab\x03"], "interrupted", "ab"],
  ["Ctrl-backslash", ["\x1c"], "interrupted", ""],
];
for (const [what, pieces, outcome, text] of TYPED) {
  Deno.test(`HiddenLine.take() understands ${what}`, () => {
    assert.deepEqual(type(...pieces), [outcome, text]);
  });
}

Deno.test("HiddenLine.take() ends a line without end", () => {
  const [outcome, text] = type(...Array<string>(100).fill("SECRET".repeat(20)));
  assert.equal(outcome, "done");
  assert(text.length < 5000);
});

const PASTED: readonly [what: string, pieces: string[], outcome: string, text: string][] = [
  ["a token that is broken into lines", ["ab\r\ncd\nef\n"], "done", "abcdef"],
  ["the Enter after a paste", ["ab\ncd", "\r"], "done", "abcd"],
  ["a paste without Enter as not ended", ["ab\ncd"], "more", "abcd"],
  ["Enter alone", ["\r"], "done", ""],
  ["Ctrl-D", ["ab\x04"], "done", "ab"],
  ["Ctrl-C within a paste", ["ab\ncd\x03\n"], "interrupted", "abcd"],
];
for (const [what, pieces, outcome, text] of PASTED) {
  Deno.test(`HiddenToken.take() understands ${what}`, () => {
    assert.deepEqual(typeInto(new HiddenToken(), pieces), [outcome, text]);
  });
}

Deno.test("givenToken() takes out the spaces and line breaks of a copy", async () => {
  assert.equal(await givenToken("  postern-join-1.ab\n cd\r\n\tef \n"), "postern-join-1.abcdef");
});

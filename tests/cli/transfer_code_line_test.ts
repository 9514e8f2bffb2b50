/** A code as it is typed: what the line holds, and what the terminal is told to show. */
import assert from "node:assert/strict";
import { CodeLine } from "../../src/cli/code_line.ts";
import { parseCode } from "../../src/protocol/transfer/code.ts";

const encoder = new TextEncoder();

interface Typed {
  text: string;
  shown: string;
  outcome: string;
  isGivenUp: boolean;
}

function typing(...texts: readonly string[]): Typed {
  let shown = "";
  const line = new CodeLine((text) => {
    shown += text;
  });
  let outcome = "more";
  for (const text of texts) outcome = line.take(encoder.encode(text));
  return { text: line.text, shown, outcome, isGivenUp: line.isGivenUp };
}

Deno.test("CodeLine shows what is typed, and takes spaces for dashes", () => {
  assert.deepEqual(typing("4829 Ocean"), {
    text: "4829-Ocean",
    shown: "4829-Ocean",
    outcome: "more",
    isGivenUp: false,
  });
  assert.deepEqual(typing("4829-a-b-c\rrest"), {
    text: "4829-a-b-c",
    shown: "4829-a-b-c",
    outcome: "done",
    isGivenUp: false,
  });
  assert.equal(typing("4829\n").outcome, "done");
  for (const end of "\x03\x04\x1c") {
    assert.deepEqual([typing(`48${end}`).outcome, typing(`48${end}`).isGivenUp], ["done", true]);
  }
  assert.equal(typing("4829-a-b-c\r").isGivenUp, false);
});

Deno.test("CodeLine takes the spaces of a paste for nothing before the code, and for one dash in it", () => {
  assert.equal(typing("  4829  ocean - rabbit velvet").text, "4829-ocean--rabbit-velvet");
  assert.equal(parseCode(typing("  4829  ocean - rabbit velvet  \r").text).text, "4829-ocean-rabbit-velvet");
});

Deno.test("CodeLine takes back by Backspace one character, and by Ctrl-U all of them", () => {
  assert.deepEqual(typing("4829\x7f\x7f5"), {
    text: "485",
    shown: "4829\b \b\b \b5",
    outcome: "more",
    isGivenUp: false,
  });
  assert.deepEqual(typing("\x7f"), { text: "", shown: "", outcome: "more", isGivenUp: false });
  assert.deepEqual(typing("48\x15"), { text: "", shown: "48\b \b\b \b", outcome: "more", isGivenUp: false });
});

Deno.test("CodeLine completes by Tab the number, a word that is the only one, and what all have in common", () => {
  assert.equal(typing("4829\t").text, "4829-");
  assert.equal(typing("4829-oce\t").text, "4829-ocean-");
  assert.equal(typing("4829 OCE\t").text, "4829-OCEan-");
  assert.equal(typing("4829-ocean-rab\t").text, "4829-ocean-rabbit-");
  assert.equal(typing("4829-ocean-rabbit-velv\t").text, "4829-ocean-rabbit-velvet");
  // Both abstract and absurd, about and above: as far as they agree.
  assert.equal(typing("4829-abs\t").text, "4829-abs");
  assert.equal(typing("4829-unh\t").text, "4829-unhappy-");
  assert.equal(typing("4829-garm\t").text, "4829-garment-");
});

Deno.test("CodeLine lists by Tab the words there are, and writes the line again", () => {
  assert.equal(typing("4829-abs\t").shown, "4829-abs\r\nabsent  absorb  abstract  absurd\r\ncode: 4829-abs");
  const { shown, text } = typing("4829-s\t");
  assert.match(shown, /\r\nsad {2}saddle {2}.* {2}\.\.\. and [0-9]+ more\r\ncode: 4829-s$/);
  assert.equal(text, "4829-s");
});

Deno.test("CodeLine rings where nothing can be completed or typed", () => {
  for (const typed of ["\t", "48\t", "4829-\t", "4829-qqq\t", "4829\x01"]) {
    assert(typing(typed).shown.endsWith("\x07"), JSON.stringify(typed));
  }
});

Deno.test("CodeLine shows nothing that could drive a terminal, and understands keys that send several characters", () => {
  const { shown, text } = typing("48\x1b[A\x1b[1;5C\x1bOP29\u202e\x9b2J");
  assert.equal(text, "48292J");
  for (const character of "\x1b\x9b\u202e") assert(!shown.includes(character));
  // A key whose sequence arrives in two parts.
  assert.equal(typing("48\x1b", "[A29").text, "4829");
});

Deno.test("CodeLine holds no more than a code has, however long a paste is", () => {
  assert.equal(typing("a".repeat(100_000)).text.length, 120);
});

import assert from "node:assert/strict";
import fc from "fast-check";
import { sha256 } from "@noble/hashes/sha2.js";
import type { RandomBytes } from "../../../src/protocol/rpc/timers.ts";
import { chooseCode, completeCode, generateCode, parseCode } from "../../../src/protocol/transfer/code.ts";
import { CODE_WORDS, nearestWords } from "../../../src/protocol/transfer/code_words.ts";
import { TransferError } from "../../../src/protocol/transfer/errors.ts";
import { holds } from "../../property.ts";

/** Random bytes that are the same each time: SHA-256 of a counter. */
function seeded(seed: string): RandomBytes {
  let drawn = 0;
  return (length) => new Uint8Array(sha256(new TextEncoder().encode(`${seed} ${drawn++}`)).slice(0, length));
}

/** Draws these numbers, four bytes each. */
function drawing(...numbers: readonly number[]): RandomBytes {
  const left = [...numbers];
  return (length) => {
    assert.equal(length, 4);
    const next = left.shift();
    assert(next !== undefined, "nothing more was to be drawn");
    const bytes = new Uint8Array(4);
    new DataView(bytes.buffer).setUint32(0, next);
    return bytes;
  };
}

/** The message of the error that reading a code ends with. */
function refused(act: () => void): string {
  try {
    act();
  } catch (error) {
    assert(error instanceof TransferError);
    assert.equal(error.code, "code");
    return error.message;
  }
  throw new Error("nothing was refused");
}

/** How far counts are from equal ones. */
function chiSquare(counts: readonly number[]): number {
  const expected = counts.reduce((sum, count) => sum + count, 0) / counts.length;
  return counts.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
}

/** Six standard deviations above the mean: the draws are always the same, and others would hardly ever exceed it. */
function bound(bins: number): number {
  return bins - 1 + 6 * Math.sqrt(2 * (bins - 1));
}

const word = fc.constantFrom(...CODE_WORDS);
const code = fc.tuple(
  fc.stringMatching(/^[0-9]{4,9}$/),
  fc.array(word, { minLength: 3, maxLength: 8 }),
);

Deno.test("CODE_WORDS are 2,048 words in order, no two with the same first four letters", () => {
  assert.equal(CODE_WORDS.length, 2048);
  assert.deepEqual([...CODE_WORDS].sort(), CODE_WORDS);
  assert.equal(new Set(CODE_WORDS.map((each) => each.slice(0, 4))).size, 2048);
  for (const each of CODE_WORDS) assert.match(each, /^[a-z]{3,8}$/);
});

Deno.test("generateCode() makes 6 digits and three words of what it draws", () => {
  const made = generateCode(drawing(481516, 0, 2047, 2048));
  assert.deepEqual(made, {
    text: "481516-abandon-zoo-abandon",
    nameplate: "481516",
    words: ["abandon", "zoo", "abandon"],
  });
  assert.equal(generateCode(drawing(7, 1, 2, 3)).nameplate, "000007");
});

Deno.test("generateCode() draws again where the last, shorter round of numbers would favour some", () => {
  const limit = 2 ** 32 - 2 ** 32 % 1_000_000;
  assert.equal(generateCode(drawing(limit - 1, 0, 0, 0)).nameplate, "999999");
  assert.equal(generateCode(drawing(limit, 2 ** 32 - 1, 5, 0, 0, 0)).nameplate, "000005");
  // 2,048 goes into 2^32 without a rest: no word is drawn again.
  assert.deepEqual(generateCode(drawing(0, 2 ** 32 - 1, 2 ** 31, 1)).words, ["zoo", "abandon", "ability"]);
});

Deno.test("generateCode() makes each digit and each word equally often", () => {
  const random = seeded("codes");
  const rounds = 20_000;
  const digits = Array.from({ length: 6 }, () => new Array<number>(10).fill(0));
  const words = Array.from({ length: 3 }, () => new Array<number>(CODE_WORDS.length).fill(0));
  for (let round = 0; round < rounds; round++) {
    const made = generateCode(random);
    for (const [at, counts] of digits.entries()) {
      const digit = Number(made.nameplate[at]);
      counts[digit] = (counts[digit] ?? 0) + 1;
    }
    for (const [at, counts] of words.entries()) {
      const number = CODE_WORDS.indexOf(made.words[at] ?? "");
      counts[number] = (counts[number] ?? 0) + 1;
    }
  }
  for (const counts of digits) assert(chiSquare(counts) < bound(10), `${chiSquare(counts)}`);
  for (const counts of words) assert(chiSquare(counts) < bound(2048), `${chiSquare(counts)}`);
  // What would be found if a word in fifty was twice as likely: the bound is worth something.
  assert(chiSquare(words[0]?.map((count, at) => at % 50 === 0 ? count * 2 : count) ?? []) > bound(2048));
});

Deno.test("parseCode() reads what generateCode() makes", () => {
  const random = seeded("round trip");
  for (let round = 0; round < 200; round++) {
    const made = generateCode(random);
    assert.deepEqual(parseCode(made.text), made);
  }
});

Deno.test("parseCode() reads a code however its parts are separated and whichever letters are capital", () => {
  const separator = fc.constantFrom(
    " ",
    "-",
    "  ",
    " - ",
    "--",
    "\t",
    "\u2013",
    "\u2014",
    "\u2011",
    "\u00a0",
    "\n",
  );
  const typed = fc.tuple(code, fc.array(separator, { minLength: 8, maxLength: 8 }), fc.boolean());
  holds(fc.property(typed, ([[nameplate, words], separators, isLoud]) => {
    const text = words.reduce((sum, each, at) => sum + (separators[at] ?? "-") + each, nameplate);
    const read = parseCode(`  ${isLoud ? text.toUpperCase() : text}\n`);
    assert.deepEqual(read, { text: [nameplate, ...words].join("-"), nameplate, words });
    assert.deepEqual(parseCode(read.text), read);
  }));
});

Deno.test("parseCode() says what is wrong with what is no code", () => {
  const number = "cannot read the code: it does not begin with a number of 4 to 9 digits";
  for (
    const text of ["", "ocean-rabbit-velvet", "123-ocean-rabbit-velvet", "1234567890-ocean-rabbit-velvet"]
  ) {
    assert.equal(refused(() => parseCode(text)), number);
  }
  for (
    const text of [
      "-4815-ocean-rabbit-velvet",
      "48 15-a-b-c",
      "4815x-a-b-c",
      "\uff14\uff18\uff11\uff15-a-b-c",
    ]
  ) {
    assert.equal(refused(() => parseCode(text)), number);
  }
  const words = (count: number): string => `cannot read the code: it has ${count} words, accepted are 3 to 8`;
  assert.equal(refused(() => parseCode("4815")), words(0));
  assert.equal(
    refused(() => parseCode("4815-ocean-")),
    "cannot read the code: it has 1 word, accepted are 3 to 8",
  );
  assert.equal(refused(() => parseCode("4815-ocean-rabbit")), words(2));
  assert.equal(refused(() => parseCode(`4815${"-ocean".repeat(9)}`)), words(9));
  assert.equal(refused(() => parseCode(`4815${"-ocean".repeat(100_000)}`)), words(100_000));
  assert.equal(
    refused(() => parseCode("4815-ocean-qqqqqq-velvet")),
    "cannot read the code: its second word is not one of the list",
  );
});

Deno.test("parseCode() names the words that were most likely meant", () => {
  const said = (typed: string): string => refused(() => parseCode(`4815-${typed}-rabbit-velvet`));
  assert.match(said("ocaen"), /first word is not one of the list \(did you mean ocean\?\)$/);
  assert.match(said("ocea"), /\(did you mean ocean\?\)$/);
  assert.match(said("oceanic"), /\(did you mean ocean\?\)$/);
  assert.match(said("able1"), /\(did you mean able\?\)$/);
  assert.match(said("bable"), /\(did you mean able or cable or table\?\)$/);
});

Deno.test("nearestWords() finds a word again after any one slip of a finger in it", () => {
  const letter = fc.constantFrom(..."abcdefghijklmnopqrstuvwxyz");
  const slip = fc.tuple(word, fc.nat(7), letter, fc.constantFrom("swap", "insert", "delete", "replace"));
  holds(fc.property(slip, ([meant, place, by, kind]) => {
    const at = place % meant.length;
    const rest = meant.slice(at + 1);
    const typed = meant.slice(0, at) + {
      swap: rest.slice(0, 1) + meant[at] + rest.slice(1),
      insert: by + meant[at] + rest,
      delete: rest,
      replace: by + rest,
    }[kind];
    fc.pre(!CODE_WORDS.includes(typed));
    const found = nearestWords(typed);
    assert(found.length >= 1 && found.length <= 3);
    const sameHead = CODE_WORDS.some((each) => typed.length >= 4 && each.startsWith(typed.slice(0, 4)));
    if (!sameHead && found.length < 3) assert(found.includes(meant));
  }));
});

Deno.test("no error about a code has anything of it in it", () => {
  const texts = [
    /^it does not begin with a number of 4 to 9 digits$/,
    /^it has \d+ words?, accepted are 3 to 8$/,
    /^its (?:first|second|third|fourth|fifth|sixth|seventh|eighth) word is not one of the list$/,
    /^it has the same word twice$/,
    /^its words follow each other in the list$/,
    /^its number is (?:the same digits again and again|counting up or down|a year)$/,
  ];
  const part = fc.oneof(
    word,
    fc.string(),
    fc.stringMatching(/^[a-z]{3,8}$/),
    fc.stringMatching(/^[0-9]{1,10}$/),
  );
  const typed = fc.oneof(
    fc.string(),
    fc.array(part, { maxLength: 10 }).map((parts) => parts.join("-")),
    fc.tuple(fc.stringMatching(/^[0-9]{4}$/), fc.array(part, { minLength: 3, maxLength: 4 }))
      .map(([nameplate, words]) => [nameplate, ...words].join("-")),
  );
  let seen = 0;
  holds(
    fc.property(typed, (text) => {
      let message: string;
      try {
        chooseCode(text);
        return;
      } catch (error) {
        assert(error instanceof TransferError);
        message = error.message;
      }
      seen++;
      const suggested = /^cannot (?:read|use) the code: (.*?)(?: \(did you mean ([a-z ]+)\?\))?$/.exec(
        message,
      );
      assert(suggested !== null, message);
      assert(texts.some((each) => each.test(suggested[1] ?? "")), message);
      const words = suggested[2]?.split(" or ") ?? [];
      for (const each of words) assert(CODE_WORDS.includes(each));
    }),
    { numRuns: 400 },
  );
  assert(seen > 100);
});

Deno.test("chooseCode() takes what is as good as drawn", () => {
  for (const text of ["4815-ocean-rabbit-velvet", "90210-legal-winner-thank-year", "1235 zoo able mesh"]) {
    assert.deepEqual(chooseCode(text), parseCode(text));
  }
});

Deno.test("chooseCode() refuses what others would think of, with the reason", () => {
  const reason = (text: string): string =>
    refused(() => chooseCode(text)).replace("cannot use the code: ", "");
  const follow = "its words follow each other in the list";
  assert.equal(reason("4815-ocean-ocean-ocean"), "it has the same word twice");
  assert.equal(reason("4815-ocean-rabbit-ocean"), "it has the same word twice");
  assert.equal(reason("4815-abandon-ability-able"), follow);
  assert.equal(reason("4815-zoo-zone-zero"), follow);
  assert.equal(reason("4815-rabbit-abandon-ability"), follow);
  assert.equal(reason("4815-rabbit-ability-abandon"), follow);
  assert.equal(reason("4815-abandon-able-above"), follow);
  assert.equal(reason("4815-ocean-rabbit"), "cannot read the code: it has 2 words, accepted are 3 to 8");
  for (const number of ["0000", "1111", "777777", "1212", "123123", "121212"]) {
    assert.equal(reason(`${number}-ocean-rabbit-velvet`), "its number is the same digits again and again");
  }
  for (const number of ["1234", "0123", "9876", "123456789", "7890", "3210"]) {
    assert.equal(reason(`${number}-ocean-rabbit-velvet`), "its number is counting up or down");
  }
  for (const number of ["1984", "2026"]) {
    assert.equal(reason(`${number}-ocean-rabbit-velvet`), "its number is a year");
  }
});

Deno.test("completeCode() gives the words that the last part can become", () => {
  assert.deepEqual(completeCode("4815-oce"), ["ocean"]);
  assert.deepEqual(completeCode("  4815 OCEAN RA"), CODE_WORDS.filter((each) => each.startsWith("ra")));
  assert.deepEqual(completeCode("4815-zo"), ["zone", "zoo"]);
  assert.deepEqual(completeCode("4815-zoo"), ["zoo"]);
  assert.deepEqual(completeCode("4815-qq"), []);
  for (const text of ["", "4815", "4815-", "4815-ocean-", "oce"]) assert.deepEqual(completeCode(text), []);
});

Deno.test("completeCode() completes every word from its first four letters", () => {
  for (const each of CODE_WORDS) {
    assert.deepEqual(completeCode(`4815-zoo-${each.slice(0, 4)}`).filter((found) => found === each), [each]);
  }
});

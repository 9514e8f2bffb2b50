import assert from "node:assert/strict";
import fc from "fast-check";
import { stringify } from "smol-toml";
import { Failure } from "../../src/system/failure.ts";
import { TomlFields } from "../../src/system/toml_fields.ts";
import { parseTomlSource } from "../../src/system/toml_file.ts";
import { holds } from "../property.ts";

const DOCUMENT = `text = "x"
texts = ["a", "b\\u0000"]
count = 1_000
flag = false
date = 2027-01-31T18:00:00Z
[table]
inner = 7
[table."odd name"]
deep = "y"
`;

function fieldsOf(text: string, options: { secret?: boolean } = {}): TomlFields {
  return new TomlFields(parseTomlSource("c.toml", text, options));
}

function refusal(read: () => unknown): string {
  try {
    read();
  } catch (error) {
    assert.ok(error instanceof Failure, String(error));
    return error.message;
  }
  return assert.fail("nothing was refused");
}

/** One read of each kind. */
const reads: Readonly<Record<string, (fields: TomlFields, name: string) => unknown>> = {
  text: (fields, name) => fields.text(name, "a word"),
  texts: (fields, name) => fields.texts(name, "a list of words"),
  count: (fields, name) => fields.count(name, { min: 1, max: 9 }),
  flag: (fields, name) => fields.flag(name),
  table: (fields, name) => fields.table(name),
};

Deno.test("TomlFields reads fields of each type", () => {
  const fields = fieldsOf(DOCUMENT);
  assert.deepEqual(fields.names(), ["text", "texts", "count", "flag", "date", "table"]);
  assert.equal(fields.text("text"), "x");
  assert.deepEqual(fields.texts("texts", "words"), ["a", "b\0"]);
  assert.equal(fields.count("count", { min: 1000, max: 1000 }), 1000);
  assert.equal(fields.flag("flag"), false);
  assert.equal(fields.table("table")?.value("inner"), 7);
  assert.equal(fields.table("table")?.table("odd name")?.text("deep"), "y");
  assert.ok(fields.value("date") instanceof Date);
});

Deno.test("TomlFields gives undefined for what is absent, also for names that every object has", () => {
  const fields = fieldsOf(DOCUMENT);
  for (const name of ["absent", "constructor", "__proto__", "toString"]) {
    assert.equal(fields.has(name), false);
    assert.equal(fields.value(name), undefined);
    for (const read of Object.values(reads)) assert.equal(read(fields, name), undefined);
  }
  assert.equal(fields.has("flag"), true);
});

Deno.test("TomlFields.fail() names file, line and the whole key", () => {
  const inner = fieldsOf(DOCUMENT).table("table")?.table("odd name");
  assert.equal(refusal(() => inner?.fail("deep", "problem")), 'c.toml:9: table."odd name".deep: problem');
  assert.equal(refusal(() => inner?.fail("absent", "problem")), 'c.toml:8: table."odd name".absent: problem');
});

Deno.test("TomlFields.text() refuses a NUL, in a secret file or not", () => {
  for (const secret of [false, true]) {
    assert.equal(
      refusal(() => fieldsOf('a = "x\\u0000y"', { secret }).text("a", "a word")),
      "c.toml:1: a: found text with a NUL, accepted is text without",
    );
  }
});

Deno.test("TomlFields.requireKnown() refuses the first unknown field, with what was probably meant", () => {
  const fields = fieldsOf('address = ""\nipz = []\nzzzzzz = 1');
  assert.doesNotThrow(() => fields.requireKnown(["zzzzzz", "ipz", "address"]));
  assert.equal(
    refusal(() => fields.requireKnown(["address", "ips"])),
    "c.toml:2: ipz: found an unknown field, accepted are address, ips (did you mean ips?)",
  );
  assert.equal(
    refusal(() => fields.requireKnown(["address", "ipz"])),
    "c.toml:3: zzzzzz: found an unknown field, accepted are address, ipz",
  );
});

const WORD = "accepted is a word";
const WORDS = "accepted is a list of words";
const COUNT = "accepted is a whole number from 1 to 9";
const FLAG = "accepted is true or false";

/** Kind of read, value in the file, what is said of it, and what of it in a secret file. */
const wrong: readonly [kind: string, value: string, open: string, secret: string][] = [
  ["text", "1", `found 1, ${WORD}`, `found a number, ${WORD}`],
  ["text", "true", `found true, ${WORD}`, `found true or false, ${WORD}`],
  ["text", "{ a = 1 }", `found a table, ${WORD}`, `found a table, ${WORD}`],
  ["text", "2027-01-31", `found a date, ${WORD}`, `found a date, ${WORD}`],
  ["texts", '"hunter2"', `found "hunter2", ${WORDS}`, `found text, ${WORDS}`],
  ["texts", '["a", 2]', `found 2 in the list, ${WORDS}`, `found a number in the list, ${WORDS}`],
  ["count", "0", `found 0, ${COUNT}`, `found a number, ${COUNT}`],
  ["count", "10", `found 10, ${COUNT}`, `found a number, ${COUNT}`],
  ["count", "1.5", `found 1.5, ${COUNT}`, `found a number, ${COUNT}`],
  ["count", "nan", `found NaN, ${COUNT}`, `found a number, ${COUNT}`],
  ["count", '"5"', `found "5", ${COUNT}`, `found text, ${COUNT}`],
  ["count", '""', `found "", ${COUNT}`, `found empty text, ${COUNT}`],
  ["flag", "1", `found 1, ${FLAG}`, `found a number, ${FLAG}`],
  ["flag", '["a", "b"]', `found a list of 2, ${FLAG}`, `found a list, ${FLAG}`],
  ["table", '"a\\nb\\u202E"', 'found "a\\nb\\u202e", accepted is a table', "found text, accepted is a table"],
  ["table", "[{}]", "found a list of 1, accepted is a table", "found a list, accepted is a table"],
  ["table", "2027-01-31", "found a date, accepted is a table", "found a date, accepted is a table"],
];

for (const [kind, value, open, secret] of wrong) {
  Deno.test(`TomlFields.${kind}() refuses ${value}, and only shows its type if the file is secret`, () => {
    const read = reads[kind] ?? assert.fail(kind);
    assert.equal(refusal(() => read(fieldsOf(`a = ${value}`), "a")), `c.toml:1: a: ${open}`);
    assert.equal(
      refusal(() => read(fieldsOf(`a = ${value}`, { secret: true }), "a")),
      `c.toml:1: a: ${secret}`,
    );
  });
}

Deno.test("TomlFields quotes no more than the start of a long text", () => {
  const message = refusal(() => fieldsOf(`a = "${"x".repeat(1000)}"`).flag("a"));
  assert.equal(message, `c.toml:1: a: found "${"x".repeat(60)}...", ${FLAG}`);
});

Deno.test("TomlFields never quotes a value of a secret file, property", () => {
  const marker = "hunter2";
  const value = fc.oneof(
    fc.string().map((text) => text + marker),
    fc.array(fc.string().map((text) => marker + text), { minLength: 1 }),
    fc.dictionary(fc.string(), fc.constant(marker), { minKeys: 1 }),
    fc.constant(7_774_441),
  );
  holds(fc.property(value, (a) => {
    const fields = fieldsOf(stringify({ a }), { secret: true });
    const messages = [
      refusal(() => fields.refuse("a", "nothing")),
      refusal(() => fields.refuseElement("a", a, "nothing")),
      refusal(() => fields.flag("a")),
      refusal(() => fields.count("a", { min: 1, max: 9 })),
    ];
    for (const message of messages) assert.ok(!message.includes(marker) && !message.includes("7774441"));
  }));
});

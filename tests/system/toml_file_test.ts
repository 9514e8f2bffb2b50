import assert from "node:assert/strict";
import fc from "fast-check";
import { stringify } from "smol-toml";
import { requireKnownTables, unknownKeyWarnings } from "../../src/system/config_keys.ts";
import { Failure } from "../../src/system/failure.ts";
import { configFailure, parseTomlSource, readTomlFile } from "../../src/system/toml_file.ts";
import { scanKeyLines } from "../../src/system/toml_lines.ts";
import { holds } from "../property.ts";

const DOCUMENT = `# comment with [table] = "x"
ips = [
  "192.0.2.1", # ] not the end
  "2001:db8::1",
]
text = """
not_a_key = 1
"""
inline = { a = 1, "b c" = 'x', nested = { d = [1, { e = 2 }] } }
a.dotted.key = 2026-01-01T00:00:00Z

[keys.laptop]
allow = ["open_ssh"]
not_after = 1979-05-27 07:32:00Z
[keys."odd name"]
'lit.eral' = """ends with quotes""""
[[list]]
x = 1
`;

function lineOf(path: string[]): number | undefined {
  return parseTomlSource("f", DOCUMENT).lineOf(path);
}

Deno.test("TomlSource.lineOf() finds keys of tables, dotted keys and inline tables", () => {
  assert.equal(lineOf(["ips"]), 2);
  assert.equal(lineOf(["text"]), 6);
  assert.equal(lineOf(["not_a_key"]), undefined);
  assert.equal(lineOf(["inline", "b c"]), 9);
  assert.equal(lineOf(["inline", "nested", "d"]), 9);
  assert.equal(lineOf(["a", "dotted", "key"]), 10);
  assert.equal(lineOf(["keys", "laptop"]), 12);
  assert.equal(lineOf(["keys", "laptop", "allow"]), 13);
  assert.equal(lineOf(["keys", "laptop", "not_after"]), 14);
  assert.equal(lineOf(["keys", "odd name", "lit.eral"]), 16);
  assert.equal(lineOf(["list", "x"]), 18);
  assert.equal(lineOf(["nothing"]), undefined);
});

Deno.test("scanKeyLines() never throws, whatever the text", () => {
  holds(fc.property(fc.string({ unit: "binary" }), (text) => {
    scanKeyLines(text);
    scanKeyLines(DOCUMENT.slice(0, text.length * 7) + text);
  }));
});

Deno.test("scanKeyLines() finds every key of any flat table that a TOML writer makes", () => {
  holds(fc.property(
    fc.dictionary(fc.string({ minLength: 1 }), fc.oneof(fc.string(), fc.integer(), fc.array(fc.string()))),
    (table) => {
      const lines = scanKeyLines(stringify({ commands: table }));
      const keys = Object.keys(table);
      keys.forEach((key, index) => assert.equal(lines.get(JSON.stringify(["commands", key])), index + 2));
    },
  ));
});

Deno.test("configFailure() reads FILE:LINE: key: problem and falls back to the table's line", () => {
  const source = parseTomlSource("/etc/c.toml", DOCUMENT);
  assert.equal(
    configFailure(source, ["keys", "laptop", "allow"], "found 1, accepted is a list").message,
    "/etc/c.toml:13: keys.laptop.allow: found 1, accepted is a list",
  );
  assert.equal(
    configFailure(source, ["keys", "odd name", "missing"], "p").message,
    '/etc/c.toml:15: keys."odd name".missing: p',
  );
  assert.equal(configFailure(source, ["address"], "p").message, "/etc/c.toml: address: p");
});

Deno.test("readTomlFile() gives line and column of a mistake and never the content", async () => {
  const path = await Deno.makeTempFile();
  try {
    await Deno.writeTextFile(path, 'ok = 1\nsecret = "hunter2\n');
    await assert.rejects(readTomlFile(path), (e: unknown) => {
      assert.ok(e instanceof Failure);
      assert.equal(e.message, `${path}:2:18: found no valid TOML (a string is not closed on its line)`);
      assert.equal(e.cause, undefined);
      return true;
    });
    await assert.rejects(readTomlFile(path, { secret: true }), (e: unknown) => {
      assert.ok(e instanceof Failure);
      assert.equal(e.message, `${path}:2:18: found no valid TOML`);
      return true;
    });
    await Deno.writeFile(path, new Uint8Array([0x61, 0x3d, 0xff]));
    await assert.rejects(readTomlFile(path), (e: unknown) => e instanceof Failure && /UTF-8/.test(e.message));
  } finally {
    await Deno.remove(path);
  }
  await assert.rejects(
    readTomlFile("/nonexistent.toml"),
    (e: unknown) =>
      e instanceof Failure && e.message === "could not read /nonexistent.toml: there is no such file",
  );
});

Deno.test("readTomlFile() and parseTomlSource() mark a source as secret only when told so", async () => {
  const path = await Deno.makeTempFile();
  try {
    assert.equal((await readTomlFile(path)).isSecret, false);
    assert.equal((await readTomlFile(path, { secret: true })).isSecret, true);
  } finally {
    await Deno.remove(path);
  }
  assert.equal(parseTomlSource("f", "").isSecret, false);
  assert.equal(parseTomlSource("f", "", { secret: true }).isSecret, true);
});

Deno.test("readTomlFile() never quotes a broken file, property", () => {
  holds(fc.property(fc.string({ unit: "binary" }), (noise) => {
    const marker = "MARKER_hunter2";
    try {
      parseTomlSource("f", `a = "${marker}"\n${noise}\nb = ${marker}\n`);
    } catch (error) {
      assert.ok(error instanceof Failure);
      assert.ok(!error.message.includes(marker) && error.cause === undefined);
      return;
    }
    assert.fail("the last line is never valid");
  }));
});

const UNKNOWN_TABLE = "found an unknown table, accepted is [keys.<file stem>]";

Deno.test("unknownKeyWarnings() suggests the key that was meant and knows the keys of both roles", () => {
  const source = parseTomlSource(
    "c",
    'ips = []\nadress = ""\nntp = "x"\nmax_leases = 1\nzzzzzz = 1\n[keys]\n',
  );
  assert.deepEqual(unknownKeyWarnings(source), [
    "c:2: adress: unknown key, ignored (did you mean address?)",
    "c:5: zzzzzz: unknown key, ignored",
  ]);
});

Deno.test("unknownKeyWarnings() tells where ruroco's old commands table went", () => {
  assert.deepEqual(unknownKeyWarnings(parseTomlSource("c", "ips = []\n[commands]\na = 'b'\n")), [
    "c:2: commands: ignored, commands belong in commands.toml",
  ]);
});

const unknownTables: readonly [text: string, message: string][] = [
  ["[key.user]\ndisabled = true", `c:1: key: ${UNKNOWN_TABLE} (did you mean keys?)`],
  ["[Keys.user]", `c:1: Keys: ${UNKNOWN_TABLE} (did you mean keys?)`],
  ['["keys ".user]', `c:1: "keys ": ${UNKNOWN_TABLE} (did you mean keys?)`],
  ["[server.keys.user]", `c:1: server: ${UNKNOWN_TABLE}`],
  ["key.user.allow = []", `c:1: key: ${UNKNOWN_TABLE} (did you mean keys?)`],
  ["kesy = { user = { allow = [] } }", `c:1: kesy: ${UNKNOWN_TABLE} (did you mean keys?)`],
  ["[[key]]\nuser = {}", `c:1: key: ${UNKNOWN_TABLE} (did you mean keys?)`],
];

for (const [text, message] of unknownTables) {
  Deno.test(`requireKnownTables() refuses ${JSON.stringify(text)}, which would leave a key open`, () => {
    assert.throws(() => requireKnownTables(parseTomlSource("c", text)), { name: "Failure", message });
  });
}

Deno.test("requireKnownTables() takes known tables, ruroco's commands, and scalars and lists of any name", () => {
  const text =
    "ips = []\nkey = 1\nkesy = [1, 'a', 2027-01-31]\nday = 2027-01-31\n[keys.user]\n[commands]\na = 'b'\n";
  requireKnownTables(parseTomlSource("c", text));
});

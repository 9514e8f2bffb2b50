import assert from "node:assert/strict";
import fc from "fast-check";
import { stringify } from "smol-toml";
import { type CommandSpec, parseCommands } from "../../../src/commander/knock/command_spec.ts";
import { commandHash } from "../../../src/protocol/knock/command_hash.ts";
import { Failure } from "../../../src/system/failure.ts";
import { parseTomlSource } from "../../../src/system/toml_file.ts";
import { holds } from "../../property.ts";

function parse(text: string, hash?: (name: string) => bigint): CommandSpec[] {
  return parseCommands(parseTomlSource("c.toml", text, { secret: true }), hash);
}

function refusal(text: string, hash?: (name: string) => bigint): string {
  try {
    parse(text, hash);
  } catch (error) {
    assert.ok(error instanceof Failure);
    return error.message;
  }
  return assert.fail(`accepted: ${text}`);
}

Deno.test("parseCommands() reads both forms, with ruroco's defaults", () => {
  assert.deepEqual(
    parse(`[commands]
default = "echo hello"
full = { cmd = "open", timeout_sec = 5, undo = "close", undo_after_sec = 60, on_renew = "run", cooldown_sec = 2, concurrency = 3 }
[commands.table]
cmd = "open"
undo = "close"
undo_after_sec = 1
`),
    [
      {
        name: "default",
        hash: commandHash("default"),
        cmd: "echo hello",
        timeoutMs: 30_000,
        cooldownMs: 0,
        concurrency: 1,
        lease: null,
      },
      {
        name: "full",
        hash: commandHash("full"),
        cmd: "open",
        timeoutMs: 5000,
        cooldownMs: 2000,
        concurrency: 3,
        lease: { undo: "close", undoAfterMs: 60_000, onRenew: "run" },
      },
      {
        name: "table",
        hash: commandHash("table"),
        cmd: "open",
        timeoutMs: 30_000,
        cooldownMs: 0,
        concurrency: 1,
        lease: { undo: "close", undoAfterMs: 1000, onRenew: "keep" },
      },
    ],
  );
});

Deno.test("parseCommands() takes any non-empty name verbatim", () => {
  holds(fc.property(fc.string({ minLength: 1, unit: "grapheme" }), (name) => {
    const [spec] = parse(stringify({ commands: { [name]: "true" } }));
    assert.equal(spec?.name, name);
    assert.equal(spec?.hash, commandHash(name));
  }));
});

Deno.test("parseCommands() refuses what it does not know, naming line, command and field only", () => {
  const secret = "hunter2";
  const bad: [string, string][] = [
    ["", "c.toml: commands: found nothing, accepted is a table of commands"],
    ["commands = 1", "c.toml:1: commands: found a number, accepted is a table of commands"],
    [
      `[commands]\n[other]\na = "${secret}"`,
      "c.toml:2: other: found an unknown table or key, accepted is the table commands",
    ],
    ["[commands]\na = 1", "c.toml:2: commands.a: found a number, accepted is shell text or a table with cmd"],
    ['[commands]\n"" = "x"', 'c.toml:2: commands."": found an empty name, accepted is any other text'],
    ['[commands]\na = " "', "c.toml:2: commands.a.cmd: found nothing, accepted is shell text"],
    ["[commands]\na = {}", "c.toml:2: commands.a.cmd: found nothing, accepted is shell text"],
    [`[commands]\na = {cmd=["${secret}"]}`, "c.toml:2: commands.a.cmd: found a list, accepted is text"],
    [
      '[commands]\na = "x\\u0000"',
      "c.toml:2: commands.a.cmd: found text with a NUL, accepted is text without",
    ],
    [
      `[commands]\na = {cmd="${secret}", timeout_sec = "${secret}"}`,
      "c.toml:2: commands.a.timeout_sec: found text, accepted is a whole number from 1 to 2000000",
    ],
    [
      `[commands]\na = {cmd="${secret}", timeout_sec = 0}`,
      "c.toml:2: commands.a.timeout_sec: found a number, accepted is a whole number from 1 to 2000000",
    ],
    [
      `[commands]\na = {cmd="${secret}", timeout_sec = 1.5}`,
      "c.toml:2: commands.a.timeout_sec: found a number, accepted is a whole number from 1 to 2000000",
    ],
    [
      `[commands]\na = {cmd="${secret}", undo = "x"}`,
      "c.toml:2: commands.a.undo_after_sec: found nothing, accepted beside undo is the number of seconds until it runs",
    ],
    [
      `[commands]\na = {cmd="${secret}", undo_after_sec = 1}`,
      "c.toml:2: commands.a.undo_after_sec: found it without undo, accepted is it together with undo",
    ],
    [
      `[commands]\na = {cmd="${secret}", on_renew = "run"}`,
      "c.toml:2: commands.a.on_renew: found it without undo, accepted is it together with undo",
    ],
    [
      `[commands]\na = {cmd="${secret}", undo="x", undo_after_sec=1, on_renew = "${secret}"}`,
      'c.toml:2: commands.a.on_renew: found other text, accepted is "keep" or "run"',
    ],
    [
      `[commands]\na = {cmd="${secret}", concurency = 2}`,
      "c.toml:2: commands.a.concurency: found an unknown field, accepted are cmd, timeout_sec, undo, undo_after_sec, " +
      "on_renew, cooldown_sec, concurrency (did you mean concurrency?)",
    ],
  ];
  for (const [text, message] of bad) {
    assert.equal(refusal(text), message);
    assert.ok(!message.includes(secret));
  }
});

Deno.test("parseCommands() quotes no value of any type in any field", () => {
  const values = [
    "86753090",
    "-86753090",
    "8675.309",
    '"86753090"',
    "[86753090]",
    "{ a = 86753090 }",
    "8675-03-09",
  ];
  const fields = ["cmd", "timeout_sec", "undo", "undo_after_sec", "on_renew", "cooldown_sec", "concurrency"];
  for (const field of fields) {
    for (const value of values) {
      const others = { cmd: '"x"', undo: '"x"', undo_after_sec: "1", [field]: value };
      const table = Object.entries(others).map(([name, text]) => `${name} = ${text}`).join(", ");
      if (field === "undo_after_sec" && value === "86753090") continue;
      if ((field === "cmd" || field === "undo") && value.startsWith('"')) continue;
      const message = refusal(`[commands]\na = { ${table} }`);
      assert.match(message, new RegExp(`^c.toml:2: commands.a.${field}: found `));
      assert.doesNotMatch(message, /8675/, value);
    }
  }
});

Deno.test("parseCommands() refuses two names with one hash and names both", () => {
  const message = refusal(
    '[commands]\nopen = "a"\nother = "b"\n"close it" = "c"',
    (name) => BigInt(name.length % 4),
  );
  assert.equal(
    message,
    'c.toml:4: commands."close it": found the hash #0000000000000000 that command open has too, ' +
      "accepted is another name for one of them",
  );
});

/** What must hold of the command table, whoever adds to it. */
import assert from "node:assert/strict";
import * as handlers from "../../src/cli/handlers.ts";
import { parse } from "../../src/cli/parse.ts";
import { COMMANDS, findCommand, GROUPS, HELP_OPTION, roleOf, ROLES } from "../../src/cli/table.ts";

const KINDS = ["read", "write", "net", "env", "sys", "run", "ffi", "import"];
const TABLES = {
  client: handlers.CLIENT_HANDLERS,
  server: handlers.SERVER_HANDLERS,
  commander: handlers.COMMANDER_HANDLERS,
  setup: handlers.SETUP_HANDLERS,
};

Deno.test("every command has code in the table of its role, and no code is without a command", () => {
  for (const role of ROLES) {
    const own = COMMANDS.filter((command) => roleOf(command) === role).map(({ path }) => path.join(" "));
    assert.deepEqual(Object.keys(TABLES[role]).toSorted(), own.toSorted(), role);
  }
  const common = COMMANDS.filter((command) => roleOf(command) === null).map(({ path }) => path.join(" "));
  assert.deepEqual(Object.keys(handlers.COMMON_HANDLERS).toSorted(), common.toSorted());
});

Deno.test("every command is found by its words, and by no others", () => {
  for (const command of COMMANDS) {
    const [first, second, third] = command.path;
    assert.equal(findCommand(first, second, third), command);
    assert.equal(second === undefined, !GROUPS.some(({ word }) => word === first), command.path.join(" "));
  }
  const lines = COMMANDS.map(({ path }) => path.join(" "));
  assert.equal(new Set(lines).size, lines.length);
});

Deno.test("the default word of a group is a command of the role it is called like", () => {
  const defaults = GROUPS.filter(({ defaultWord }) => defaultWord !== undefined);
  assert.equal(defaults.length, 2);
  for (const { word, defaultWord } of defaults) {
    const command = findCommand(word, defaultWord);
    assert(command !== undefined);
    assert.equal(roleOf(command), word);
  }
});

for (const command of COMMANDS) {
  const line = command.path.join(" ");
  const options = [...command.options, HELP_OPTION];

  Deno.test(`the options of "${line}" have distinct names and letters, and defaults their own rules accept`, async () => {
    const names = options.flatMap(({ name, short }) => short === undefined ? [name] : [name, short]);
    assert.equal(new Set(names).size, names.length);
    for (const { name, short = "x" } of options) {
      // Such a name needs no quoting in any shell or page.
      assert.match(name, /^[a-z][a-z0-9-]+$/);
      assert.match(short, /^[A-Za-z0-9]$/);
    }
    for (const { type, value, choices } of options) {
      assert.equal(type === "flag", value === undefined, "a value has a name, a flag has none");
      assert(choices === undefined || type === "text");
    }
    const required = command.options.filter((option) => option.required)
      .flatMap((option) => [`--${option.name}`, "value"]);
    const words = (command.operands ?? []).filter((operand) => operand.required)
      .map(({ choices }) => choices?.[0] ?? "word");
    await parse([...command.path, ...words, ...required]);
  });

  Deno.test(`"${line}" needs kinds of permission that there are, and no word after an optional one is required`, () => {
    for (const kind of Object.keys(command.needs)) assert(KINDS.includes(kind), kind);
    const required = (command.operands ?? []).map((operand) => operand.required === true);
    assert.deepEqual(required, required.toSorted((a, b) => Number(b) - Number(a)));
  });

  Deno.test(`the texts of "${line}" are plain, and those in a row have no full stop`, () => {
    const rows = [
      command.summary,
      ...[...options, ...(command.operands ?? [])].map(({ help }) => help),
      ...Object.values(command.needs),
    ];
    for (const text of [...rows, ...command.description, command.usage]) {
      assert.match(text, /^[\x20-\x7e]+$/);
    }
    for (const text of rows) assert.doesNotMatch(text, /\.$/);
  });

  for (const { line: example, sshHost } of command.examples) {
    Deno.test(`the example "${example}" is a call of ${line}`, async () => {
      // What ssh puts in, and what a shell takes for itself.
      const typed = sshHost === undefined
        ? example
        : example.replaceAll("%h", sshHost).replaceAll("%p", "22");
      const request = await parse(typed.replace(/ (<|>|\||&&) .*$/, "").split(" "));
      assert(request.kind === "command");
      assert.deepEqual(request.command.path, command.path);
    });
  }
}

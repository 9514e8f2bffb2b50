/** The tables of docs/transfer.md are those of the code, and what it names is there. */
import assert from "node:assert/strict";
import schema from "../../docs/transfer-events.schema.json" with { type: "json" };
import { repositoryFolder } from "../../scripts/lab.ts";
import { CHECKOUT } from "../../src/cli/build.ts";
import { parse } from "../../src/cli/parse.ts";
import { RELAY_COMMANDS } from "../../src/cli/relay_commands.ts";
import { TRANSFER_COMMANDS } from "../../src/cli/transfer_commands.ts";
import { TRANSFER_ERROR_CODES, TransferError } from "../../src/protocol/transfer/errors.ts";
import { targetPath } from "../../src/protocol/transfer/target_path.ts";
import { PAGE, page, pageTable } from "./transfer_page.ts";

Deno.test(`${PAGE} names every reason why a transfer fails, in the order of the code; so does the schema`, () => {
  assert.deepEqual(pageTable("reason").map(([reason]) => reason), TRANSFER_ERROR_CODES);
  assert.deepEqual(schema.$defs.reason.enum, TRANSFER_ERROR_CODES);
});

interface Line {
  readonly properties: Readonly<Record<string, { readonly const?: string }>>;
  readonly required: readonly string[];
}

Deno.test(`${PAGE} names every line of --json with its fields, in the order of the schema`, () => {
  const lines = schema.oneOf.map(({ $ref }) => {
    const definition: unknown = schema.$defs[$ref.split("/").at(-1) as "code"];
    const { properties, required } = definition as Line;
    assert.deepEqual(Object.keys(properties).sort(), [...required].sort(), $ref);
    const [kind = ""] = Object.keys(properties), name = properties[kind]?.const;
    const others = Object.keys(properties).filter((each) => properties[each]?.const === undefined);
    return [name === undefined ? kind : `${kind}: ${name}`, others.join(", ")];
  });
  assert.deepEqual(pageTable("line").map(([line, fields]) => [line, fields]), lines);
  const members = (of: object): string => Object.keys(of).map((name) => `\`${name}\``).join(", ");
  const flat = page.replaceAll("\n", " ");
  assert(flat.includes(`An \`offer\` has ${members(schema.$defs.offer.properties.offer.properties)}; `));
  assert(flat.includes(`an entry of it ${members(schema.$defs.entry.properties)}, `));
});

Deno.test(`${PAGE} names every limit of a relay with its default`, () => {
  const [relay] = RELAY_COMMANDS;
  const others = ["bind", "status", "log", "check", "strict-permissions"];
  const limits = (relay?.options ?? []).filter(({ name }) => !others.includes(name));
  const named = pageTable("option").flatMap(([options = "", defaults = ""]) => {
    const values = defaults.split(", ");
    return options.split(", ").map((option, at) => [option, values[at]?.replace(/:.*/, "")]);
  });
  const expected = limits.map((
    option,
  ) => [`--${option.name}`, "default" in option ? option.default : undefined]);
  assert.deepEqual(named.sort(), expected.sort());
});

Deno.test(`${PAGE} shows paths that are refused for what it says`, () => {
  const rows = pageTable("path");
  assert(rows.length >= 14);
  for (const [path = "", found = ""] of rows) {
    assert.throws(
      () => targetPath(JSON.parse(path)),
      (error) =>
        error instanceof TransferError && error.code === "path" &&
        error.message.includes(`: found ${found}, accepted`),
      path,
    );
  }
});

/** Of other programs, and of the shell. */
const FOREIGN_OPTIONS = ["--code-length", "-A"];

Deno.test(`${PAGE} speaks of options that are there, with values that they take`, async () => {
  const commands = [...TRANSFER_COMMANDS, ...RELAY_COMMANDS];
  const named = [...page.matchAll(/`(-[^`]*)`/g)].map(([, words = ""]) => words.split(" "));
  assert(named.length > 30);
  for (const [option = "", ...values] of named) {
    if (option === "-" || FOREIGN_OPTIONS.includes(option)) continue;
    const found = commands.find(({ options }) =>
      ["json", "help"].includes(option.slice(2)) ||
      options.some(({ name, short }) => option === `--${name}` || option === `-${short}`)
    );
    assert(found !== undefined, `no command has ${option}`);
    if (values.length === 0 || /^[A-Z:]+$/.test(values.join(""))) continue;
    const operands = found.path.at(-1) === "share" ? ["a"] : [];
    await parse([...found.path, ...operands, option, ...values], CHECKOUT);
  }
});

Deno.test("SECURITY.md names tests of a transfer that are there", async () => {
  const text = await Deno.readTextFile(`${repositoryFolder}/SECURITY.md`);
  const section = /\n## Transfer\n([\s\S]*?)\n## /.exec(text)?.[1] ?? "";
  const named = [...section.matchAll(/`(tests\/[a-z0-9_./]+)`/g)].map(([, path = ""]) => path);
  assert(named.length > 20);
  for (const path of named) {
    assert((await Deno.stat(`${repositoryFolder}/${path}`)).isFile === path.endsWith(".ts"));
  }
});

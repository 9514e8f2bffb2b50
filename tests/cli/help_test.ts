import assert from "node:assert/strict";
import { CHECKOUT } from "../../src/cli/build.ts";
import { hasCommand, programName } from "../../src/cli/command_words.ts";
import { helpPage } from "../../src/cli/help.ts";
import { parse } from "../../src/cli/parse.ts";
import { COMMANDS, ROLES } from "../../src/cli/table.ts";

const PATHS: readonly (readonly string[])[] = [
  [],
  ["client"],
  ["server"],
  ...COMMANDS.map(({ path }) => path),
];
const CHECKOUT_PAGES = { mainPath: "/x/main.ts", build: CHECKOUT };

Deno.test("helpPage() of a program called postern has nothing of a checkout", () => {
  for (const path of PATHS) {
    assert.doesNotMatch(helpPage(path, CHECKOUT_PAGES, true), /alias|deno run -A|main\.ts/);
  }
  assert(
    helpPage(["client", "connect"], CHECKOUT_PAGES, true).includes(
      "\n      ProxyCommand postern client connect -a %h:34020 ",
    ),
  );
});

Deno.test("helpPage() in a checkout gives a line that makes its examples work, whatever the folder is called", () => {
  const strange = "/o'brien/100%/my repo/main.ts";
  const context = { mainPath: strange, build: CHECKOUT };
  for (const path of PATHS) {
    const page = helpPage(path, context, false);
    const alias = page.split("\n").find((line) => line.startsWith("  alias "));
    const { stdout } = new Deno.Command("sh", { args: ["-c", `${alias}\nalias postern`] }).outputSync();
    const value = /^(?:alias )?postern=(.*)\n$/s.exec(new TextDecoder().decode(stdout))?.[1];
    const words = new Deno.Command("sh", { args: ["-c", `eval "set -- "${value}; printf '%s\\n' "$@"`] })
      .outputSync();
    assert.equal(new TextDecoder().decode(words.stdout), `deno\nrun\n-A\n${strange}\n`);
  }
  // ssh fills in after each "%", but for a doubled one.
  assert(helpPage(["client", "connect"], context, false).includes("100%%/my repo"));
});

Deno.test("helpPage() of every command names the exit codes", () => {
  for (
    const path of PATHS.filter(([first, word]) =>
      !["client", "server"].includes(first ?? "") || word !== undefined
    )
  ) {
    assert.match(helpPage(path, CHECKOUT_PAGES, true), /\nExit codes: 0 done, 1 failed, 2 wrong usage\n$/);
  }
});

Deno.test("helpPage() of a role's executable has its own name and commands only", () => {
  for (const role of ROLES) {
    const context = { mainPath: "/x/main.ts", build: { role } };
    const paths = [[], ...COMMANDS.filter((command) => hasCommand(role, command)).map(({ path }) => path)];
    for (const path of paths) {
      const page = helpPage(path, context, false);
      assert.doesNotMatch(page, /alias|main\.ts|(?<![\w/])postern [a-z-]/, `${role}: ${path.join(" ")}`);
      const programs = [...page.matchAll(/^(?:Usage: | {4})(postern-[a-z]+)/gm)].map(([, program]) =>
        program
      );
      assert(programs.length > 0);
      assert.deepEqual(new Set(programs), new Set([programName(role)]), path.join(" "));
    }
  }
});

Deno.test("every example on the page of a role's executable is a call of it", async () => {
  let examples = 0;
  for (const role of ROLES) {
    const paths = [[], ...COMMANDS.filter((command) => hasCommand(role, command)).map(({ path }) => path)];
    for (const path of paths) {
      const page = helpPage(path, { mainPath: "/x/main.ts", build: { role } }, false);
      for (const [, line = ""] of page.matchAll(/^ {2,6}(?:ProxyCommand )?postern-[a-z]+(?: (.*))?$/gm)) {
        const typed = line.replaceAll("%h", "host.example").replaceAll("%p", "22").replace(
          / (<|>|\||&&) .*$/,
          "",
        );
        const request = await parse(typed.split(" ").filter(Boolean), { role });
        assert.equal(request.kind, "command", line);
        examples++;
      }
    }
  }
  assert(examples > COMMANDS.length, `only ${examples} examples were found`);
});

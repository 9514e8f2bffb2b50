import assert from "node:assert/strict";
import { helpPage } from "../../src/cli/help.ts";
import { COMMANDS } from "../../src/cli/table.ts";

const PATHS: readonly (readonly string[])[] = [[], ["client"], ...COMMANDS.map(({ path }) => path)];

Deno.test("helpPage() of a program called postern has nothing of a checkout", () => {
  for (const path of PATHS) {
    assert.doesNotMatch(helpPage(path, "/x/main.ts", true), /alias|deno run|main\.ts/);
  }
  assert(
    helpPage(["client", "connect"], "/x/main.ts", true).includes(
      "\n      ProxyCommand postern client connect -a %h:34020 ",
    ),
  );
});

Deno.test("helpPage() in a checkout gives a line that makes its examples work, whatever the folder is called", () => {
  const strange = "/o'brien/100%/my repo/main.ts";
  for (const path of PATHS) {
    const page = helpPage(path, strange, false);
    const alias = page.split("\n").find((line) => line.startsWith("  alias "));
    const { stdout } = new Deno.Command("sh", { args: ["-c", `${alias}\nalias postern`] }).outputSync();
    const value = /^(?:alias )?postern=(.*)\n$/s.exec(new TextDecoder().decode(stdout))?.[1];
    const words = new Deno.Command("sh", { args: ["-c", `eval "set -- "${value}; printf '%s\\n' "$@"`] })
      .outputSync();
    assert.equal(new TextDecoder().decode(words.stdout), `deno\nrun\n-A\n${strange}\n`);
  }
  // ssh fills in after each "%", but for a doubled one.
  assert(helpPage(["client", "connect"], strange, false).includes("100%%/my repo"));
});

Deno.test("helpPage() of every command names the exit codes", () => {
  for (const path of PATHS.filter(({ length }) => length !== 1)) {
    assert.match(helpPage(path, "/x/main.ts", true), /\nExit codes: 0 done, 1 failed, 2 wrong usage\n$/);
  }
});

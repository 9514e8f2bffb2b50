import assert from "node:assert/strict";
import { commandPageName } from "../../src/cli/man_names.ts";
import { manPages } from "../../src/cli/man_page.ts";
import { escaped, manPage, prose, usageWords } from "../../src/cli/man_roff.ts";
import { COMMANDS, HELP_OPTION, ROLES } from "../../src/cli/table.ts";
import { version } from "./program_version.ts";

function hasProgram(program: string, args: readonly string[]): boolean {
  try {
    new Deno.Command(program, { args: [...args], stdout: "null", stderr: "null" }).outputSync();
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

const hasMan = hasProgram("man", ["--version"]);
const hasMandoc = hasProgram("mandoc", ["-T", "lint", "/dev/null"]);

function missing(program: string, isThere: boolean): string {
  return isThere ? "" : ` (ignored: ${program} is not on this machine)`;
}

/** Runs a program on each page, as a file of its name. */
async function eachPage(
  program: string,
  argsOf: (path: string) => readonly string[],
  look: (name: string, stdout: string, stderr: string) => void,
): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "postern-man-" });
  try {
    for (const [name, text] of manPages()) {
      const path = `${folder}/${name}`;
      await Deno.writeTextFile(path, text);
      const { stdout, stderr } = await new Deno.Command(program, {
        args: [...argsOf(path)],
        env: { LC_ALL: "C.UTF-8", MANWIDTH: "100", MAN_KEEP_FORMATTING: "", MANROFFOPT: "" },
      }).output();
      const decoder = new TextDecoder();
      look(name, decoder.decode(stdout), decoder.decode(stderr));
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test({
  name: `man(1) shows every page without a warning, each of its lines to be read${missing("man", hasMan)}`,
  ignore: !hasMan,
  timeout: 60_000,
  async fn(): Promise<void> {
    const shown = new Map<string, string>();
    await eachPage("man", (path) => ["--warnings", "-l", path], (name, stdout, stderr) => {
      assert.equal(stderr, "", name);
      shown.set(name, stdout);
    });
    for (const [name, text] of shown) {
      for (const title of ["NAME", "SYNOPSIS", "DESCRIPTION", "EXIT STATUS", "SEE ALSO"]) {
        assert(text.includes(`\n${title}\n`), `${name} has no ${title}`);
      }
      assert(text.includes(`postern ${version}`), name);
      // An escape that was not one.
      assert.doesNotMatch(text, /\\|\(aq|\(dq|^ *\.[A-Z]{2}\b/m, name);
    }
    const send = shown.get("postern-client-send.1") ?? "";
    assert.match(send, /\n +postern-client send -a ADDR \(-k KEY \| -k - \| -K FILE\) \[options\]\n/);
    assert.match(send, /\n +-K, --key-file FILE\n/);
    assert.match(send, /\n +postern-client send -a host\.example -k - -c open_ssh -6 < user\.key\n/);
  },
});

Deno.test({
  name: `mandoc finds nothing wrong in any page but the date${missing("mandoc", hasMandoc)}`,
  ignore: !hasMandoc,
  timeout: 60_000,
  fn: () =>
    eachPage("mandoc", (path) => ["-T", "lint", "-W", "warning", path], (name, stdout, stderr) => {
      // There is none on purpose: the same sources make the same pages, whenever they are built.
      const found = (stdout + stderr).split("\n").filter((line) =>
        line !== "" && !line.includes("missing date")
      );
      assert.deepEqual(found, [], name);
    }),
});

Deno.test("manPages() has a page of the program, of each executable and of each command, and no other", () => {
  const names = [...manPages().keys()];
  assert.equal(names.length, 1 + ROLES.length + COMMANDS.length);
  assert.equal(new Set(names).size, names.length);
  for (
    const name of [
      "postern.1",
      "postern-client.1",
      "postern-client-send.1",
      "postern-server-knock.1",
      "postern-setup.1",
      "postern-setup-setup.1",
      "postern-setup-server-doctor.1",
      "postern-permissions.1",
    ]
  ) assert(names.includes(name), name);
});

Deno.test("manPages() refers to pages that there are", () => {
  const pages = manPages();
  let references = 0;
  for (const [name, text] of pages) {
    for (const [, page = ""] of text.matchAll(/\\fB(postern[a-z\\-]*)\\fR\(1\)/g)) {
      assert(pages.has(`${page.replaceAll("\\-", "-")}.1`), `${name} refers to ${page}`);
      references++;
    }
  }
  assert(references > pages.size);
});

Deno.test("the page of a command has all of its options, permissions and examples", () => {
  const pages = manPages();
  for (const command of COMMANDS) {
    const text = pages.get(`${commandPageName(command)}.1`) ?? "";
    for (const { name } of [...command.options, HELP_OPTION]) {
      assert(text.includes(`\\fB${escaped(`--${name}`)}\\fR`), `${command.path.join(" ")}: ${name}`);
    }
    for (const kind of Object.keys(command.needs)) {
      assert(text.includes(`\\fB\\-\\-allow\\-${kind}\\fR`), kind);
    }
    for (const { what } of command.examples) {
      assert(text.includes(prose(`${what}:`)), what);
    }
  }
});

Deno.test("manPages() has no date, so that the same sources make the same pages", () => {
  for (const [name, text] of manPages()) {
    assert.match(text, /^\.TH "[A-Z\\-]+" 1 "" "postern [0-9.]+" "Postern"\n/, name);
    assert.doesNotMatch(text, /\b20[2-9][0-9]\b/, name);
  }
});

Deno.test("escaped() leaves nothing that roff would act on", () => {
  assert.equal(escaped("a\\b"), "a\\eb");
  assert.equal(escaped('it\'s "x" `y` ~ ^ --no'), "it\\(aqs \\(dqx\\(dq \\(gay\\(ga \\(ti \\(ha \\-\\-no");
  assert.equal(escaped("ä → b"), "\\[u00E4] \\[u2192] b");
  assert.equal(escaped("a\n.so /etc/passwd"), "a .so /etc/passwd");
});

Deno.test("prose() begins no request, whatever the text begins with", () => {
  assert.equal(prose(".so /etc/passwd"), "\\&.so /etc/passwd");
  assert.equal(prose("'br"), "\\(aqbr");
  assert.equal(prose("see `a b`, then c"), "see \\fBa b\\fR, then c");
});

Deno.test("usageWords() tells what is typed from what stands for something", () => {
  assert.equal(
    usageWords("-a ADDR (-k - | --key-file FILE) --to HOST:PORT [options]"),
    "\\fB\\-a\\fR \\fIADDR\\fR (\\fB\\-k\\fR \\- | \\fB\\-\\-key\\-file\\fR \\fIFILE\\fR) " +
      "\\fB\\-\\-to\\fR \\fIHOST:PORT\\fR [options]",
  );
});

Deno.test("manPage() names page, section and version in its first line, and no date", () => {
  assert.equal(
    manPage("postern-x", "postern 9", [{ title: "NAME", lines: ["x"] }]),
    '.TH "POSTERN\\-X" 1 "" "postern 9" "Postern"\n.nh\n.SH "NAME"\nx\n',
  );
});

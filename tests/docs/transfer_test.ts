/** docs/transfer.md does what it says: its lines are typed, and its programs run. */
import assert from "node:assert/strict";
import { exampleFileName, typescriptBlocks } from "../../scripts/doc_examples.ts";
import { repositoryFolder } from "../../scripts/lab.ts";
import { TerminalScreen } from "../cli/transfer_screen.ts";
import { succeeds, unless } from "../e2e/machine.ts";
import { textOf, until } from "../e2e/until.ts";
import { alike, eachText, PAGE, page, PAGE_CODE, pageTable, printedOnPage, Reader } from "./transfer_page.ts";

const TIMEOUT_MS = 120_000;
const REPORT_BYTES = 3_000_000;
const DISK_BYTES = 30_000_000;
const RANDOM_AT_ONCE = 65_536;

async function writeRandom(path: string, bytes: number): Promise<void> {
  using file = await Deno.create(path);
  const random = crypto.getRandomValues(new Uint8Array(RANDOM_AT_ONCE));
  for (let left = bytes; left > 0; left -= RANDOM_AT_ONCE) {
    crypto.getRandomValues(random);
    file.writeSync(random.subarray(0, Math.min(left, RANDOM_AT_ONCE)));
  }
}

/** The lines of a receiver, who waits now and then for what the sender has to do first. */
function atReceiver(lines: readonly string[]): string[] {
  return lines.filter((line) => !line.startsWith("waiting for the other side"));
}

function assertSame(a: string, b: string): void {
  assert(Deno.readFileSync(a).toHex() === Deno.readFileSync(b).toHex(), `${a} and ${b} differ`);
}

/** Types at the terminal that util-linux's `script` makes; gives what is left on the screen. */
async function atTerminal(
  reader: Reader,
  script: string,
  folder: string,
  typed: readonly [string, string][],
): Promise<string[]> {
  await Deno.mkdir(reader.path(folder), { recursive: true });
  const child = new Deno.Command("script", {
    args: ["-qfec", `stty cols 100 rows 30; ${script}`, "/dev/null"],
    cwd: reader.path(folder),
    clearEnv: true,
    env: { ...reader.environmentOf(folder), SHELL: "/bin/sh", TERM: "xterm" },
    stdin: "piped",
    stdout: "piped",
    stderr: "null",
  }).spawn();
  const keyboard = child.stdin.getWriter(), waiting = [...typed], screen = new TerminalScreen(100);
  let seen = "";
  await eachText(child.stdout, async (text) => {
    screen.write(text);
    seen += text;
    const [prompt, answer] = waiting[0] ?? [];
    if (prompt === undefined || answer === undefined || !seen.includes(prompt)) return;
    waiting.shift();
    seen = "";
    await keyboard.write(new TextEncoder().encode(answer));
  });
  const { code } = await child.status;
  await keyboard.close().catch(() => {});
  assert.equal(code, 0, screen.lines.join("\n"));
  assert.deepEqual(waiting, []);
  return alike(screen.lines.join("\n"));
}

Deno.test({
  ...unless(
    await succeeds("script", ["-qfec", "true", "/dev/null"]) ? null : "needs script of util-linux",
    `${PAGE}: three terminals, and a file has moved; both sides read what the page shows`,
  ),
  timeout: TIMEOUT_MS,
  async fn(): Promise<void> {
    await using reader = await Reader.make();
    await Deno.mkdir(reader.path("out"));
    await writeRandom(reader.path("out/report.pdf"), REPORT_BYTES);
    await reader.startRelay("relay");
    const sharing = await reader.type("share", { folder: "out" });
    await sharing.says(/^waiting for the other side/m);
    assert.deepEqual(sharing.lines, printedOnPage("share"));
    assert.deepEqual(alike(sharing.stdout), [PAGE_CODE], "standard output has the code alone");

    const receive = reader.scriptOf(reader.take("receive"), { folder: "in" });
    const code = await sharing.code();
    const shown = await atTerminal(reader, receive, "in", [["code: ", `${code}\r`], ["[y/n] ", "y\n"]]);
    assert.deepEqual(atReceiver(shown), printedOnPage("receive"));
    await sharing.succeeds();
    assert.deepEqual(sharing.lines.slice(printedOnPage("share").length), printedOnPage("shared"));
    assertSame(reader.path("out/report.pdf"), reader.path("in/report.pdf"));
    assert.deepEqual([...Deno.readDirSync(reader.path("in"))].map(({ name }) => name), ["report.pdf"]);
  },
});

Deno.test({
  name: `${PAGE}: folders, a text, standard input, several receivers, and lines of JSON`,
  timeout: TIMEOUT_MS,
  async fn(): Promise<void> {
    await using reader = await Reader.make();
    await Deno.mkdir(reader.path("out/photos/sea"), { recursive: true });
    await Deno.writeTextFile(reader.path("out/photos/beach.jpg"), "twelve bytes");
    await Deno.writeTextFile(reader.path("out/photos/sea/wave.jpg"), "8 bytes.");
    await Deno.writeTextFile(reader.path("out/notes.txt"), "notes\n");
    await writeRandom(reader.path("out/report.pdf"), 100_000);
    await reader.startRelay("relay");
    reader.exportVariable();

    const folder = await reader.type("folder", { folder: "out" });
    const code = await folder.code();
    const folderReceive = reader.take("folder-receive");
    const received = await reader.run(folderReceive, { folder: "in", code });
    await received.succeeds();
    await folder.succeeds();
    assert.deepEqual(
      atReceiver(alike(`${received.stderr}${received.stdout}`)),
      printedOnPage("folder-receive"),
    );
    assertSame(reader.path("out/photos/sea/wave.jpg"), reader.path("in/inbox/photos/sea/wave.jpg"));

    const text = await reader.type("text", { folder: "out" });
    const printed = await reader.type("text-receive", { folder: "in", code: await text.code() });
    await printed.succeeds();
    assert.equal(printed.stdout, "the gate is open from nine");

    const stdin = await reader.type("stdin", { folder: "out" });
    const tar = await reader.run(folderReceive, { folder: "tar", code: await stdin.code() });
    await tar.succeeds();
    assert.equal(tar.stdout, "inbox/photos.tar\n");
    const listing = await new Deno.Command("tar", { args: ["-tf", reader.path("tar/inbox/photos.tar")] })
      .output();
    assert(new TextDecoder().decode(listing.stdout).includes("photos/sea/wave.jpg"));

    const several = await reader.type("several", { folder: "out" });
    const codeOfSeveral = await several.code();
    for (const name of ["one", "two"]) {
      await (await reader.run(folderReceive, { folder: name, code: codeOfSeveral })).succeeds();
    }
    await several.succeeds();

    const [, line = ""] = /^`(postern client share notes\.txt --json)`, /m.exec(page) ?? [];
    const json = await reader.run(line, { folder: "out" });
    const [, jsonCode = ""] = await json.says(/"code":"([0-9a-z-]+)"/);
    await json.says(/"waiting"/);
    await (await reader.run(folderReceive, { folder: "json", code: jsonCode })).succeeds();
    await json.succeeds();
    const shown = printedOnPage("json");
    const entries = (each: string): string => each.replace(/"entries":\[[^\]]*\]/, '"entries":[...]');
    const said = alike(entries(json.stdout));
    assert.deepEqual(said.filter((each) => !each.includes('"progress"') || shown.includes(each)), shown);
  },
});

Deno.test({
  name: `${PAGE}: both sides are killed, go on by the same commands, and forget what is kept`,
  timeout: TIMEOUT_MS,
  async fn(): Promise<void> {
    await using reader = await Reader.make();
    await Deno.mkdir(reader.path("out"));
    await writeRandom(reader.path("out/disk.img"), DISK_BYTES);
    await reader.startRelay("own-relay");
    reader.exportVariable();
    const share = reader.take("resume-share"), receive = reader.take("resume-receive");

    const first = await reader.run(share, { folder: "out" });
    const code = await first.code();
    const begun = await reader.run(receive, { folder: "in", code });
    await begun.says(/^[6-9][0-9] %: /m);
    await begun.kill("SIGKILL");
    await first.kill("SIGKILL");
    assert.deepEqual(namesIn(reader.path("in")).map((name) => name.slice(0, 9)), [".postern-"]);

    const second = await reader.run(share, { folder: "out" });
    const resumed = await reader.run(receive, { folder: "in", code });
    await resumed.succeeds();
    await second.succeeds();
    const shown = printedOnPage("resume-receive");
    assert.deepEqual(atReceiver(alike(resumed.stderr)).slice(0, shown.length), shown);
    assert.equal(second.stdout, "", "there is no new code");
    assertSame(reader.path("out/disk.img"), reader.path("in/disk.img"));

    await assertStatusFields(reader.path("relay/relay.json"));
    await forget(reader, share, receive);
  },
});

/** Another transfer, of which nothing is wanted any more once both sides were killed. */
async function forget(reader: Reader, share: string, receive: string): Promise<void> {
  await Deno.remove(reader.path("in/disk.img"));
  const sharing = await reader.run(share, { folder: "out" });
  const code = await sharing.code();
  const receiving = await reader.run(receive, { folder: "in", code });
  await receiving.says(/^[1-9][0-9] %: /m);
  await receiving.kill("SIGKILL");
  await sharing.kill("SIGKILL");

  const fresh = await reader.type("forget-share", { folder: "out" });
  assert.notEqual(await fresh.code(), code);
  await fresh.kill("SIGKILL");
  await (await reader.type("forget-received", { folder: "in" })).succeeds();
  assert.deepEqual(namesIn(reader.path("in")), []);
  const forgetAll = reader.take("forget-all");
  for (const folder of ["out", "in"]) {
    const state = reader.path(`home-${folder}/.local/state/postern`);
    assert.deepEqual(namesIn(state), ["transfers"]);
    await (await reader.run(forgetAll, { folder })).succeeds();
    assert.deepEqual(namesIn(state), []);
  }
}

function namesIn(path: string): string[] {
  return [...Deno.readDirSync(path)].map(({ name }) => name).sort();
}

/** The fields of the table are those of the file, in its order. */
async function assertStatusFields(path: string): Promise<void> {
  const status: Record<string, unknown> = await until(
    "there is a status file",
    async () => {
      const text = await textOf(path);
      return text !== undefined && JSON.parse(text);
    },
  );
  const named = pageTable("field").flatMap(([fields = ""]) => fields.split(", "));
  assert.deepEqual(named, Object.keys(status));
}

Deno.test({
  name: `${PAGE} has no line that no test types`,
  async fn(): Promise<void> {
    await using reader = await Reader.make();
    reader.exportVariable();
    reader.skip("relay", "share", "receive");
    reader.skip("folder", "folder-receive", "text", "text-receive", "stdin", "several");
    reader.skip(
      "own-relay",
      "resume-share",
      "resume-receive",
      "forget-share",
      "forget-received",
      "forget-all",
    );
    reader.requireAllTaken();
  },
});

/** The sessions of the page: its name, and each command with what it prints. */
function sessions(): Map<string, { readonly line: string; readonly output: string }[]> {
  const blocks = page.matchAll(/<!-- session: (.*) -->\n\n```console\n([\s\S]*?)```/g);
  return new Map([...blocks].map(([, name = "", block = ""]) => [
    name,
    block.split(/^\$ /m).slice(1).map((part) => {
      const [line = "", ...output] = part.split("\n");
      return { line: line.replace(/ &$/, ""), output: output.join("\n") };
    }),
  ]));
}

/** A folder with the programs of the page, and its deno.json. */
async function writePrograms(reader: Reader, folder: string): Promise<void> {
  await Deno.mkdir(reader.path(`${folder}/photos`), { recursive: true });
  await Deno.writeTextFile(reader.path(`${folder}/photos/beach.jpg`), "sand\n");
  const config = /^```json\n([\s\S]*?)^```$/m.exec(page)?.[1] ?? assert.fail("the page has a deno.json");
  const here = config.replace("/path/to/postern/", repositoryFolder.replace(/\/?$/, "/"));
  await Deno.writeTextFile(reader.path(`${folder}/deno.json`), here);
  for (const block of typescriptBlocks(PAGE, page)) {
    const name = exampleFileName(block);
    assert(name !== null, `this block does not say which file it is:\n${block}`);
    await Deno.writeTextFile(reader.path(`${folder}/${name}`), reader.here(block));
  }
}

Deno.test({
  name: `${PAGE}: its programs print what the page says, with the permissions it names`,
  timeout: TIMEOUT_MS,
  async fn(): Promise<void> {
    await using reader = await Reader.make();
    await reader.startRelay("relay");
    const [sending, taking] = sessions().get("relay") ?? [];
    assert(sending !== undefined && taking !== undefined);
    await writePrograms(reader, "programs");
    const sender = await reader.run(sending.line, { folder: "programs" });
    const code = await sender.code();
    assert.deepEqual(alike(sender.stdout), alike(sending.output));
    const taker = await reader.run(taking.line, { folder: "programs", code });
    await taker.succeeds();
    assert.equal(taker.stdout, taking.output);
    await sender.succeeds();
    assertSame(reader.path("programs/photos/beach.jpg"), reader.path("programs/inbox/photos/beach.jpg"));

    const again = await reader.run(taking.line, { folder: "programs", code: `${code.slice(0, 6)}-able-zoo` });
    await again.says(/^code: cannot read the code: /m);

    const [direct] = sessions().get("direct") ?? [];
    assert(direct !== undefined);
    const alone = await reader.run(direct.line, { folder: "programs" });
    await alone.succeeds();
    assert.equal(alone.stdout, direct.output);
  },
});

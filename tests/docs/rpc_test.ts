/** docs/rpc.md does what it says: its programs run with the flags it names, and its tables are those of the code. */
import assert from "node:assert/strict";
import * as library from "../../mod.ts";
import { repositoryFolder } from "../../scripts/lab.ts";
import { PageFolder, pagePrograms } from "./page_programs.ts";

const PAGE = "docs/rpc.md";
const page = await Deno.readTextFile(`${repositoryFolder}/${PAGE}`);
const programs = await pagePrograms(PAGE);
/** Wants a page around it: run below, with one that stands in for it. */
const BROWSER_FILE = "page.ts";

for (const session of programs.sessions) {
  const program = session.at(-1)?.line.split(" ").at(-1);
  Deno.test({
    name: `docs/rpc.md: ${program} prints what the page says, with the permissions it names`,
    timeout: 120_000,
    async fn(): Promise<void> {
      await using folder = await PageFolder.make(programs);
      await folder.run(session);
    },
  });
}

Deno.test({
  name: `docs/rpc.md: ${BROWSER_FILE} calls its server and is called by it`,
  timeout: 60_000,
  async fn(): Promise<void> {
    const { call, contract, Node, webSocket } = library;
    const desk = contract({ greet: call<string, string>() });
    const shown = contract({ title: call<void, string>() });
    await using server = await new Node()
      .serve(desk, webSocket("ws://127.0.0.1:0/"), {
        greet: async (name, { client }) => `${name} "${await client.title()}"`,
      }, { calls: shown })
      .start();
    await using folder = await PageFolder.make(programs);
    await Deno.writeTextFile(
      `${folder.path}/stand_in.ts`,
      `import { begin } from "./${BROWSER_FILE}";
       console.log(await begin("${server.addresses[0]}", () => "a title"));
       Deno.exit();`,
    );
    await folder.run([
      { line: "deno run --allow-net=127.0.0.1 stand_in.ts", runsOn: false, output: 'page "a title"\n' },
    ]);
  },
});

Deno.test("README.md shows the first program of docs/rpc.md, and what it prints", async () => {
  const readme = await Deno.readTextFile(`${repositoryFolder}/README.md`);
  const [first] = programs.sessions.flat();
  assert(first !== undefined);
  const hello = programs.files.get("hello.ts");
  assert(readme.includes(`\`\`\`ts\n${hello}\`\`\`\n`));
  assert(readme.includes(`$ npx -y deno@2.9 ${first.line.replace(/^deno /, "")}\n${first.output}\`\`\``));
});

Deno.test("docs/rpc.md: a transport of one's own, which passes the suite above, takes thirty lines", () => {
  const lines = programs.files.get("fifo.ts")?.split("\n").map((line) => line.trim()) ?? [];
  const counted = lines.filter((line) => line !== "" && !/^(\/\/|\/\*\*)/.test(line)).length;
  assert(counted >= 20 && counted <= 30, `it has ${counted}`);
});

Deno.test("docs/rpc.md runs every file that it shows", () => {
  const reached = new Set([BROWSER_FILE]);
  const commands = programs.sessions.flat().map(({ line }) => line.split(" ").at(-1) ?? "");
  for (const queue = [...commands]; queue.length > 0;) {
    const name = queue.shift() ?? "";
    if (reached.has(name)) continue;
    reached.add(name);
    const text = programs.files.get(name);
    assert(text !== undefined, `a command runs ${name}, which the page does not show`);
    for (const [, imported = ""] of text.matchAll(/"(?:\.\/)?([a-z_]+\.ts)"/g)) queue.push(imported);
  }
  assert.deepEqual([...programs.files.keys()].filter((name) => !reached.has(name)), []);
});

Deno.test("docs/rpc.md names every code of a failed call, in the order of the code", () => {
  assert.deepEqual(firstCells("code"), Object.keys(library.CALL_ERROR_NUMBERS));
});

Deno.test("docs/rpc.md names every reason of a closed connection, in the order of the code", () => {
  const reasons: library.CloseReason[] = [
    ...Object.keys(library.CLOSE_REASON_NUMBERS) as (keyof typeof library.CLOSE_REASON_NUMBERS)[],
    "lost",
    "aborted",
  ];
  assert.deepEqual(firstCells("reason"), reasons);
});

Deno.test("docs/rpc.md names every limit with its default", () => {
  assert.deepEqual(
    tableRows("limit").map(([name, value]) => [name, Number(value)]),
    Object.entries(library.DEFAULT_LIMITS),
  );
});

Deno.test("docs/rpc.md names every transport and handshake that the library exports", () => {
  const transports = tableRows("transport").map(([name = ""]) => name.replace(/\(.*/, ""));
  const handshakes = tableRows("handshake").flatMap(([cell = ""]) => cell.match(/\w+(?=\()/g) ?? []);
  // Functions that give these types, by the documentation of the library itself.
  const exported = Object.entries(library).filter(([, value]) => typeof value === "function");
  for (const name of [...transports, ...handshakes]) assert(exported.some(([each]) => each === name), name);
  assert.deepEqual(handshakes.sort(), [
    "asSignedProcess",
    "hmac",
    "noHandshake",
    "signedProcess",
    "versionOnly",
  ]);
  assert.deepEqual(transports.sort(), [
    "childStdio",
    "memory",
    "messagePort",
    "mmapRing",
    "tcp",
    "tls",
    "unix",
    "vsock",
    "webSocket",
    "workerRing",
  ]);
});

/** The rows of the one table whose first header is the given one; cells without quotes. */
function tableRows(firstHeader: string): string[][] {
  const tables = [
    ...page.matchAll(new RegExp(`^\\| ${firstHeader} +\\|.*\\n\\|[-| ]*\\|\\n((?:\\|.*\\n)+)`, "gm")),
  ];
  const [rows, ...others] = tables.map(([, rows = ""]) => rows);
  assert(rows !== undefined && others.length === 0, `there is one table of "${firstHeader}"`);
  return rows.trimEnd().split("\n").map((row) =>
    row.split("|").slice(1, -1).map((cell) => cell.trim().replaceAll("`", ""))
  );
}

function firstCells(firstHeader: string): string[] {
  return tableRows(firstHeader).map(([first = ""]) => first);
}

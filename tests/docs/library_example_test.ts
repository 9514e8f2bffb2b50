/** The library example of the documentation, run as a reader would run it: against a real server and commander. */
import assert from "node:assert/strict";
import { formatKey } from "../../src/protocol/knock/key.ts";
import { Lab, repositoryFolder } from "../../scripts/lab.ts";
import { textOf, until } from "../e2e/until.ts";

const PAGES = ["docs/knock.md", "README.md"];
const MAX_CODE_LINES = 5;

/** The one TypeScript block of a page that sends a knock. */
async function example(page: string): Promise<string> {
  const text = await Deno.readTextFile(`${repositoryFolder}/${page}`);
  const blocks = [...text.matchAll(/^```ts\n([\s\S]*?)^```$/gm)].map((match) => match[1] ?? "");
  const sending = blocks.filter((block) => block.includes("sendKnock("));
  assert.equal(sending.length, 1, `${page} has one example that sends a knock`);
  return sending[0] ?? "";
}

for (const page of PAGES) {
  Deno.test(`the example in ${page} knocks in ${MAX_CODE_LINES} lines`, async () => {
    await using lab = await Lab.start({
      commands: (folder) => `[commands]\nopen_ssh = 'echo "$POSTERN_IP" > ${folder}/opened'\n`,
    });
    const code = await example(page);
    assert.ok(code.split("\n").filter((line) => line.trim() !== "").length <= MAX_CODE_LINES);
    const here = code.replace(/address: "[^"]*"/, `address: "127.0.0.1:${lab.port}"`);
    assert.notEqual(here, code, "the example names an address");

    const folder = `${lab.files.folder}/reader`;
    await Deno.mkdir(folder);
    await Deno.writeTextFile(`${folder}/user.key`, formatKey(lab.files.key));
    await Deno.writeTextFile(`${folder}/knock.ts`, here);
    const output = await new Deno.Command(Deno.execPath(), {
      args: [
        "run",
        "--no-prompt",
        "--config",
        `${repositoryFolder}/deno.json`,
        "--allow-net",
        "--allow-read=user.key",
        "knock.ts",
      ],
      cwd: folder,
    }).output();
    assert.equal(output.code, 0, new TextDecoder().decode(output.stderr));
    const opened = `${lab.files.folder}/opened`;
    await until("the command ran for the knocker", async () => await textOf(opened) === "127.0.0.1\n");
  });
}

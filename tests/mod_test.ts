/** The library as its documentation shows it: each example is run as written, on loopback. */
import assert from "node:assert/strict";
import * as library from "../mod.ts";
import { typescriptBlocks } from "../scripts/doc_examples.ts";
import { DatagramCatcher } from "./e2e/datagram_catcher.ts";
import { openRurocoPacket, rurocoCommandHash } from "./reference/ruroco.ts";

const root = new URL("..", import.meta.url);

/** Runs an example as a program of its own, in a folder with a `user.key`. */
async function runExample(example: string, key: string): Promise<string> {
  const folder = await Deno.makeTempDir({ prefix: "postern-example-" });
  try {
    await Deno.writeTextFile(`${folder}/user.key`, key, { mode: 0o600 });
    await Deno.writeTextFile(`${folder}/example.ts`, example);
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: [
        ...["run", "--no-prompt", `--config=${new URL("deno.json", root).pathname}`],
        ...["--allow-net", "--allow-read=user.key", "example.ts"],
      ],
      cwd: folder,
    }).output();
    assert.equal(code, 0, new TextDecoder().decode(stderr));
    return new TextDecoder().decode(stdout);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

for (const path of ["docs/knock.md", "README.md", "mod.ts"]) {
  Deno.test({
    name: `the library example of ${path} sends a knock in five lines`,
    timeout: 30_000,
    async fn(): Promise<void> {
      const blocks = typescriptBlocks(path, await Deno.readTextFile(new URL(path, root)));
      const [example, ...more] = blocks.filter((block) => block.includes("sendKnock"));
      assert(example !== undefined && more.length === 0, "expected one example with sendKnock");
      const lines = example.split("\n").filter((line) => line.trim() !== "");
      assert(lines.length <= 5, `${lines.length} lines`);

      using catcher = new DatagramCatcher("127.0.0.1");
      const local = example.replace(/address: "[^"]*"/, `address: "127.0.0.1:${catcher.port}"`);
      assert.notEqual(local, example);
      const key = library.formatKey(library.generateKey());
      await runExample(local, key);
      const [packet, ...others] = (await catcher.takeAll()).map((datagram) =>
        openRurocoPacket(key, datagram)
      );
      assert.deepEqual(others, []);
      assert.equal(packet?.commandHash, rurocoCommandHash("open_ssh"));
    },
  });
}

Deno.test({
  name: "the packet example of mod.ts prints what it says",
  timeout: 30_000,
  async fn(): Promise<void> {
    const blocks = typescriptBlocks("mod.ts", await Deno.readTextFile(new URL("mod.ts", root)));
    const [example] = blocks.filter((block) => block.includes("encodePacket"));
    const [, promised] = /console\.log\(.*\); \/\/ (.*)/.exec(example ?? "") ?? [];
    assert(example !== undefined && promised !== undefined);
    assert.equal(await runExample(example, ""), `${promised}\n`);
  },
});

Deno.test("mod.ts exports what the documentation names", () => {
  const exported = Object.keys(library);
  for (
    const name of [
      "generateKey",
      "parseKey",
      "formatKey",
      "commandHash",
      "encodePacket",
      "decodePacket",
      "sendKnock",
    ]
  ) assert(exported.includes(name), name);
});

/** The library as its documentation shows it: each example is run as written, on loopback. */
import assert from "node:assert/strict";
import * as library from "../mod.ts";
import * as browser from "../src/protocol/rpc/browser.ts";
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

for (
  const [name, word] of [
    ["packet", "encodePacket"],
    ["calls", "countTo"],
    ["discovery", "waitFor"],
  ] as const
) {
  Deno.test({
    name: `the ${name} example of mod.ts prints what it says`,
    timeout: 30_000,
    async fn(): Promise<void> {
      const blocks = typescriptBlocks("mod.ts", await Deno.readTextFile(new URL("mod.ts", root)));
      const [example, ...others] = blocks.filter((block) => block.includes(word));
      const [, promised] = /console\.log\(.*\); \/\/ (.*)/.exec(example ?? "") ?? [];
      assert(example !== undefined && promised !== undefined && others.length === 0);
      assert.equal(await runExample(example, ""), `${promised}\n`);
    },
  });
}

Deno.test({
  name: "the example of ./browser calls a server and can be called by it",
  timeout: 30_000,
  async fn(): Promise<void> {
    const path = "src/protocol/rpc/browser.ts";
    const [example, ...others] = typescriptBlocks(path, await Deno.readTextFile(new URL(path, root)));
    assert(example !== undefined && others.length === 0);
    const math = library.contract({ add: library.call<{ a: number; b: number }, number>() });
    const page = library.contract({ title: library.call<null, string>() });
    const titles: string[] = [];
    await using server = await new library.Node()
      .serve(math, library.webSocket("ws://127.0.0.1:0/"), {
        add: async ({ a, b }, { client }) => {
          titles.push(await client.title(null));
          return a + b;
        },
      }, { calls: page })
      .start();
    const local = example.replace("ws://127.0.0.1:1337/", server.addresses[0] ?? "");
    assert.notEqual(local, example);
    assert.equal(await runExample(`${local}await client[Symbol.asyncDispose]();\n`, ""), "3\n");
    assert.deepEqual(titles, ["a page"]);
  },
});

Deno.test("./browser gives nothing that the library itself does not", () => {
  for (const [name, value] of Object.entries(browser)) {
    assert.equal((library as Record<string, unknown>)[name], value, name);
  }
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
      "contract",
      "Node",
      "hmac",
      "tcp",
      "webSocket",
      "transportConformance",
      "folderDiscovery",
    ]
  ) assert(exported.includes(name), name);
});

/** The gate's own rules: what they are there to find is found. */
import assert from "node:assert/strict";
import { exampleFileName, typescriptBlocks } from "../../scripts/doc_examples.ts";
import {
  forbiddenImports,
  hotPathProblems,
  type Import,
  isRuled,
  loadedAtOnce,
  readImports,
} from "../../scripts/import_rules.ts";
import { denoUses, fileNameProblem, reservedUses } from "../../scripts/source_rules.ts";

/** Writes a small repository and gives its imports as the runtime sees them. */
async function importsOf(files: Readonly<Record<string, string>>): Promise<Import[]> {
  const root = await Deno.makeTempDir({ prefix: "postern-rules-" });
  try {
    await Deno.writeTextFile(`${root}/deno.json`, '{ "version": "1.2.3", "unstable": ["net"] }');
    for (const [path, text] of Object.entries(files)) {
      await Deno.mkdir(`${root}/${path}`.replace(/\/[^/]*$/, ""), { recursive: true });
      await Deno.writeTextFile(`${root}/${path}`, text);
    }
    return await readImports(root, Object.keys(files).filter(isRuled));
  } finally {
    await Deno.remove(root, { recursive: true });
  }
}

const LEAF = "export const leaf = 1;\nexport type Leaf = number;\n";

Deno.test("a forbidden import is found, whether of code, of types, re-exported or dynamic", async () => {
  const ways = [
    'import { leaf } from "../../server/knock/a.ts";\nexport const own = leaf;\n',
    'import type { Leaf } from "../../server/knock/a.ts";\nexport const own: Leaf = 1;\n',
    'export { leaf } from "../../server/knock/a.ts";\n',
    'export * from "../../server/knock/a.ts";\n',
    'export const own = await import("../../server/knock/a.ts");\n',
    'import "../../server/knock/a.ts";\n',
    'export type Own = import("../../server/knock/a.ts").Leaf;\n',
  ];
  for (const text of ways) {
    const imports = await importsOf({ "src/client/knock/b.ts": text, "src/server/knock/a.ts": LEAF });
    assert.deepEqual(forbiddenImports(imports), [
      "src/client/knock/b.ts imports src/server/knock/a.ts: client may import client, protocol, system",
    ], text);
  }
});

Deno.test("readImports() does not take a comment or a string for an import", async () => {
  const text = '// import "../../server/knock/a.ts";\nexport const s = `import "../../server/knock/a.ts"`;\n';
  assert.deepEqual(await importsOf({ "src/client/knock/b.ts": text, "src/server/knock/a.ts": LEAF }), []);
});

Deno.test("readImports() fails on an import that cannot be resolved, and on a file that cannot be parsed", async () => {
  await assert.rejects(importsOf({ "src/cli/a.ts": 'import "nowhere";\n' }));
  await assert.rejects(importsOf({ "src/cli/a.ts": "import { from" }));
});

const ALLOWED: readonly [from: string, to: string][] = [
  ["src/protocol/transport/pinned_tls.ts", "node:tls"],
  ["main.ts", "src/cli/run.ts"],
  ["mod.ts", "src/client/knock/send.ts"],
  ["mod.ts", "src/protocol/knock/key.ts"],
  ["mod.ts", "src/rpc/node.ts"],
  ["src/rpc/node.ts", "src/rpc/discovery_folder.ts"],
  ["src/rpc/node.ts", "src/protocol/rpc/node.ts"],
  ["src/rpc/node.ts", "src/system/lock.ts"],
  ["src/cli/run.ts", "src/server/knock/run.ts"],
  ["src/cli/run.ts", "src/protocol/knock/key.ts"],
  ["src/cli/run.ts", "deno.json"],
  ["src/client/knock/send.ts", "src/protocol/knock/key.ts"],
  ["src/server/knock/run.ts", "src/system/log.ts"],
  ["src/server/knock/run.ts", "npm:smol-toml@^1"],
  ["src/server/knock/run.ts", "node:path"],
  ["src/protocol/knock/packet.ts", "npm:@noble/ciphers@^2.4.0/aes.js"],
  ["src/protocol/knock/packet.ts", "npm:/@noble/ciphers@2.4.0/aes.js"],
  ["tests/cli/a_test.ts", "src/server/knock/run.ts"],
];
const FORBIDDEN: readonly [from: string, to: string][] = [
  ["src/protocol/transport/pinned_tls.ts", "node:net"],
  ["src/protocol/transport/tls.ts", "node:tls"],
  ["main.ts", "src/server/knock/run.ts"],
  ["main.ts", "src/system/log.ts"],
  ["mod.ts", "src/server/knock/run.ts"],
  ["mod.ts", "src/cli/run.ts"],
  ["src/rpc/node.ts", "src/client/knock/send.ts"],
  ["src/rpc/node.ts", "src/server/knock/run.ts"],
  ["src/rpc/node.ts", "mod.ts"],
  ["src/client/knock/send.ts", "src/rpc/node.ts"],
  ["src/protocol/rpc/node.ts", "src/rpc/node.ts"],
  ["src/protocol/rpc/node.ts", "npm:@msgpack/msgpack@^3"],
  ["src/protocol/rpc/node.ts", "npm:birpc@^4"],
  ["src/system/lock.ts", "src/rpc/node.ts"],
  ["src/client/knock/send.ts", "src/commander/knock/run.ts"],
  ["src/server/knock/run.ts", "src/client/knock/send.ts"],
  ["src/server/knock/run.ts", "src/commander/knock/run.ts"],
  ["src/commander/knock/run.ts", "src/server/knock/run.ts"],
  ["src/client/knock/send.ts", "src/cli/terminal.ts"],
  ["src/protocol/knock/key.ts", "src/system/log.ts"],
  ["src/protocol/knock/key.ts", "src/client/knock/send.ts"],
  ["src/protocol/knock/key.ts", "node:crypto"],
  ["src/protocol/knock/key.ts", "npm:valibot@^1"],
  ["src/protocol/knock/key.ts", "npm:@nobler/ciphers@^1"],
  ["src/system/log.ts", "src/protocol/knock/key.ts"],
  ["src/system/log.ts", "src/cli/terminal.ts"],
  ["src/system/log.ts", "node:fs"],
  ["src/system/log.ts", "node:fs/promises"],
  ["src/system/log.ts", "https://example.com/a.ts"],
  ["src/system/log.ts", "jsr:@std/toml"],
  ["src/system/log.ts", "tests/property.ts"],
  ["src/client/knock/send.ts", "deno.json"],
  ["src/cli/run.ts", "main.ts"],
  ["src/cli/run.ts", "scripts/check.ts"],
];

Deno.test("forbiddenImports() allows what the diagram shows and nothing else", () => {
  for (const [from, to] of ALLOWED) {
    assert.deepEqual(forbiddenImports([{ from, to, isDynamic: false }]), [], `${from} -> ${to}`);
  }
  for (const [from, to] of FORBIDDEN) {
    for (const isDynamic of [false, true]) {
      assert.equal(forbiddenImports([{ from, to, isDynamic }]).length, 1, `${from} -> ${to}`);
    }
  }
});

Deno.test("hotPathProblems() finds node and npm imports at any depth, but not behind a dynamic import", async () => {
  const files = {
    "main.ts": 'import "./src/cli/run.ts";\n',
    "src/cli/run.ts": 'import "./parse.ts";\nexport const later = (): unknown => import("./send.ts");\n',
    "src/cli/parse.ts": 'export const later = (): unknown => import("node:util");\n',
    "src/cli/send.ts": 'import "../client/knock/send.ts";\n',
    "src/client/knock/send.ts": 'import { lookup } from "node:dns";\nexport const l = lookup;\n',
  };
  const imports = await importsOf(files);
  assert.deepEqual(hotPathProblems(imports, ["main.ts"]), []);
  assert.deepEqual(hotPathProblems(imports, ["main.ts", "src/cli/send.ts"]), [
    "src/client/knock/send.ts imports node:dns at once, and client send would pay for it",
  ]);
});

Deno.test("hotPathProblems() allows the ciphers, and refuses an entry that is not there", () => {
  const imports = [{ from: "main.ts", to: "npm:@noble/hashes@^2/blake2.js", isDynamic: false }];
  assert.deepEqual(hotPathProblems(imports, ["main.ts"]), []);
  assert.equal(hotPathProblems(imports, ["main.ts", "src/cli/moved.ts"]).length, 1);
  assert.equal(
    hotPathProblems([{ from: "main.ts", to: "npm:valibot@^1", isDynamic: false }], ["main.ts"]).length,
    1,
  );
});

Deno.test("fileNameProblem() refuses names without a concept and other spellings", () => {
  for (
    const path of [
      "src/cli/utils.ts",
      "src/helper.ts",
      "tests/misc.ts",
      "src/a/common.ts",
      "src/cli/RunIt.ts",
    ]
  ) {
    assert.notEqual(fileNameProblem(path), null, path);
  }
  for (const path of ["src/cli/run.ts", "src/client/knock/key_source.ts", "tests/cli/parse_test.ts"]) {
    assert.equal(fileNameProblem(path), null, path);
  }
});

Deno.test("reservedUses() finds output and exit outside of their place, with the line", () => {
  const elsewhere = "src/client/knock/send.ts";
  for (
    const code of [
      'console.log("x");',
      "Deno.exit(1);",
      "Deno.exitCode = 1;",
      "Deno.stdout.writeSync(x);",
      "Deno.stderr.writeSync(x);",
      "Deno.stdin.read(x);",
      "await import(path);",
      "await import(`./${name}.ts`);",
    ]
  ) {
    assert.equal(reservedUses(elsewhere, `/** One. */\n\n${code}\n`).length, 1, code);
    assert.match(
      reservedUses(elsewhere, `/** One. */\n\n${code}\n`)[0] ?? "",
      /^src\/client\/knock\/send\.ts:3: /,
    );
  }
  for (
    const code of ["// Deno.exit(1)", "/**\n * console.log(1)\n */", 'await import("./a.ts");', "a.console"]
  ) {
    assert.deepEqual(reservedUses(elsewhere, `${code}\n`), [], code);
  }
  assert.deepEqual(reservedUses("src/cli/terminal.ts", "Deno.exit(Deno.stdout.writeSync(x));\n"), []);
  assert.deepEqual(reservedUses("src/system/log.ts", "Deno.stderr.writeSync(x);\n"), []);
  assert.equal(reservedUses("src/cli/terminal.ts", "console.log(1);\n").length, 1);
  // A path in a string must not look like the beginning of a comment that hides what follows.
  assert.equal(reservedUses(elsewhere, "const p = `${d}/*.key`;\nDeno.exit(1);\n/** End. */\n").length, 1);
});

Deno.test("the protocols name Deno nowhere but in transports, and what browsers load nowhere at all", () => {
  const code = "/** For Deno. */\n// Deno.uid()\nexport const uid = Deno.uid();\n";
  for (
    const path of ["src/protocol/rpc/peer.ts", "src/protocol/record/record.ts", "src/protocol/knock/key.ts"]
  ) {
    assert.deepEqual(reservedUses(path, code), [`${path}:3: Deno is not for this file`]);
  }
  for (
    const path of ["src/protocol/transport/tcp.ts", "src/rpc/node.ts", "src/client/knock/send.ts", "mod.ts"]
  ) {
    assert.deepEqual(reservedUses(path, code), [], path);
  }
  const path = "src/protocol/transport/memory.ts";
  assert.deepEqual(denoUses(path, code), [`${path}:3: Deno is not for what a browser loads`]);
  assert.deepEqual(denoUses(path, "export const Denoted = 1; // nothing\n"), []);
});

Deno.test("standard streams are for what prints and for the transport over a child's pipes", () => {
  for (const code of ["Deno.stdin.read(x);\n", "Deno.stdout.write(x);\n"]) {
    assert.deepEqual(reservedUses("src/protocol/transport/stdio.ts", code), []);
    assert.equal(reservedUses("src/protocol/transport/tcp.ts", code).length, 1);
    assert.equal(reservedUses("src/rpc/node.ts", code).length, 1);
  }
});

Deno.test("loadedAtOnce() follows imports of code and types, and no dynamic ones", async () => {
  const imports = await importsOf({
    "src/protocol/rpc/browser.ts":
      'export { a } from "./a.ts";\nimport type { Leaf } from "./b.ts";\nexport type L = Leaf;\n',
    "src/protocol/rpc/a.ts": 'export const a = (): unknown => import("./later.ts");\n',
    "src/protocol/rpc/b.ts": LEAF,
    "src/protocol/rpc/later.ts": LEAF,
    "src/protocol/rpc/other.ts": LEAF,
  });
  assert.deepEqual(loadedAtOnce(imports, ["src/protocol/rpc/browser.ts"]).sort(), [
    "src/protocol/rpc/a.ts",
    "src/protocol/rpc/b.ts",
    "src/protocol/rpc/browser.ts",
  ]);
});

Deno.test("typescriptBlocks() finds the blocks of documents and of doc comments", () => {
  const markdown = "# A\n\n```ts\nconst a = 1;\n```\n\n```sh\nls\n```\n\n```ts\nconst b = 2;\n```\n";
  assert.deepEqual(typescriptBlocks("docs/a.md", markdown), ["const a = 1;\n", "const b = 2;\n"]);
  const source = "/**\n * A.\n *\n * ```ts\n * const a = {\n *   b: 1,\n * };\n * ```\n */\nconst x = 1;\n";
  assert.deepEqual(typescriptBlocks("mod.ts", source), ["const a = {\n  b: 1,\n};\n"]);
});

Deno.test("exampleFileName() is what the first line of a block says, if it is a file", () => {
  assert.equal(exampleFileName("// server_2.ts\nconst a = 1;\n"), "server_2.ts");
  for (
    const block of ["const a = 1;\n// server.ts\n", "// see server.ts\n", "// ../server.ts\n", "// server.ts"]
  ) {
    assert.equal(exampleFileName(block), null, block);
  }
});

import assert from "node:assert/strict";
import { brokenRunLine } from "../../src/cli/deno_line.ts";

Deno.test("brokenRunLine() gives one flag a line, quoted for a shell", () => {
  assert.deepEqual(
    brokenRunLine(["--allow-net=[::]:80", "--allow-read=/etc/postern"], [
      "/opt/main.ts",
      "server",
      "-c",
      "a b'c",
    ]),
    [
      "deno run --no-prompt --cached-only \\",
      "  '--allow-net=[::]:80' \\",
      "  --allow-read=/etc/postern \\",
      "  /opt/main.ts server -c 'a b'\\''c'",
    ],
  );
  // A bundle has no deno.json beside it that says that it needs UDP.
  assert.deepEqual(brokenRunLine([], ["/opt/postern.js", "client", "gen"]), [
    "deno run --no-prompt --cached-only --no-config --unstable-net /opt/postern.js client gen",
  ]);
  assert.deepEqual(brokenRunLine([], ["main.ts", "client", "gen"]), [
    "deno run --no-prompt --cached-only main.ts client gen",
  ]);
});

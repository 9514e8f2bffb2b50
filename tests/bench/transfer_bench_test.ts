import assert from "node:assert/strict";
import type { Row } from "../../bench/row.ts";

const MAIN = new URL("../../bench/main.ts", import.meta.url).pathname;
const TIMEOUT_MS = 120_000;

async function bench(...args: string[]): Promise<readonly Row[]> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--quiet", MAIN, "transfer", "--quick", "--json", ...args],
    env: { NO_COLOR: "1" },
    signal: AbortSignal.timeout(TIMEOUT_MS),
  }).output();
  const decoder = new TextDecoder();
  assert.equal(code, 0, decoder.decode(stderr));
  return JSON.parse(decoder.decode(stdout)).rows;
}

Deno.test("bench transfer measures us beside every peer, or says why not, when it is run quickly", async () => {
  const rows = await bench("--only", "transfer-floor", "--only", "transfer-small");
  assert.deepEqual(rows.map(({ group, goal }) => [group, goal]), [
    ["transfer-floor", null],
    ["transfer-small", "ratio <= 0.5"],
  ]);
  for (const { figure, ours } of rows) assert.ok(ours !== null && ours > 0, figure);
  const peers = rows.flatMap(({ beside }) => beside);
  assert.deepEqual(peers.map(({ name }) => name), ["magic-wormhole", "wormhole-william", "croc"]);
  for (const { name, value, missing } of peers) {
    assert.ok(value === null ? missing !== undefined : value > 0, name);
  }
});

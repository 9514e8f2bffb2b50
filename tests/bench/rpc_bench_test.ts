import assert from "node:assert/strict";
import type { Row } from "../../bench/row.ts";

const MAIN = new URL("../../bench/main.ts", import.meta.url).pathname;
const TIMEOUT_MS = 120_000;

interface Output {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

async function bench(...args: string[]): Promise<Output> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--quiet", MAIN, ...args],
    env: { NO_COLOR: "1" },
    signal: AbortSignal.timeout(TIMEOUT_MS),
  }).output();
  const decoder = new TextDecoder();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}

Deno.test("bench rpc measures us and every peer in every way when it is run quickly", async () => {
  const { code, stdout, stderr } = await bench("rpc", "--quick", "--json");
  assert.equal(code, 0, stderr);
  const rows: readonly Row[] = JSON.parse(stdout).rows;
  assert.deepEqual(Object.keys(Object.groupBy(rows, ({ group }) => group)), [
    "tcp",
    "unix",
    "worker",
    "in-process",
  ]);
  for (const { figure, ours, beside } of rows) {
    assert.ok(ours !== null && ours > 0, figure);
    assert.ok(beside.length > 0 && beside.every(({ value }) => value !== null && value > 0), figure);
  }
  const goals = rows.filter(({ goal }) => goal !== null);
  assert.deepEqual(goals.map(({ goal }) => goal), [
    "ratio <= 0.5",
    "ratio >= 5.0",
    "ratio >= 1.5",
    "ratio >= 0.7",
    "ratio >= 0.7",
    "ratio <= 0.5",
    "ratio >= 2.0",
  ]);
  assert.ok(goals.every(({ ratio, met }) => ratio !== null && met !== null));
});

for (
  const [args, problem] of [
    [["ping"], 'unknown job "ping"'],
    [["rpc", "--only", "flood"], 'unknown group "flood"'],
    [["--only", "constructor"], 'unknown group "constructor"'],
    [["constructor"], 'unknown job "constructor"'],
  ] as const
) {
  Deno.test(`bench ends with its usage when it is asked for ${args.join(" ")}`, async () => {
    const { code, stderr } = await bench(...args);
    assert.equal(code, 2);
    assert.ok(stderr.startsWith(problem), stderr);
    assert.match(stderr, /usage: deno task bench/);
  });
}

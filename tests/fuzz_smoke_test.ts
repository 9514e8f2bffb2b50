import assert from "node:assert/strict";
import { fuzzTargets } from "../scripts/fuzz_targets.ts";

interface FuzzRun {
  readonly code: number;
  readonly output: string;
}

async function fuzz(...args: string[]): Promise<FuzzRun> {
  const script = new URL("../scripts/fuzz.ts", import.meta.url).pathname;
  const { code, stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-prompt", script, ...args],
    cwd: new URL("..", import.meta.url).pathname,
  }).output();
  return { code, output: new TextDecoder().decode(stdout) };
}

Deno.test("the fuzzer runs every target on both sides of refusal, and prints its seed", async () => {
  const { code, output } = await fuzz("--seconds", "5", "--seed", "20261121");
  assert.equal(code, 0, output);
  assert.match(output, /^seed 20261121: no failure$/m);
  assert(fuzzTargets.length >= 8);
  for (const { name } of fuzzTargets) {
    const [, cases, accepted] = new RegExp(`^${name} +(\\d+) cases +(\\d+) accepted$`, "m").exec(output) ??
      [];
    assert(Number(cases) > Number(accepted), `${name}: ${cases} cases, ${accepted} accepted`);
    assert(Number(accepted) > 0, `${name}: nothing accepted of ${cases} cases`);
  }
});

Deno.test("the fuzzer takes a single input again", async () => {
  const { code, output } = await fuzz("--target", "address", "--input", "3139322e302e322e37");
  assert.equal(code, 0);
  assert.equal(output, "address: accepted\n");
});

Deno.test("the fuzzer refuses what it does not understand", async () => {
  for (
    const args of [["--secnds", "1"], ["--seconds", "soon"], ["--target", "nothing"], ["--input", "xyz"], [
      "1",
    ]]
  ) {
    const { code, output } = await fuzz(...args);
    assert.equal(code, 2, args.join(" "));
    assert.match(output, /^usage: /);
  }
});

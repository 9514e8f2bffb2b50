import assert from "node:assert/strict";
import { StandbyEnder } from "../../../../src/commander/agent/sessions/standby_ender.ts";
import { startScript } from "../../../../src/commander/agent/sessions/session_process.ts";
import { until } from "../../../e2e/until.ts";
import { isGone } from "./session_stage.ts";

async function started(script: string): Promise<{ pid: number; inside: number; over: Promise<unknown> }> {
  const { child, exitCode } = startScript(script, []);
  const reader = child.stdout.getReader();
  const { value } = await reader.read();
  await Promise.all([reader.cancel(), child.stderr.cancel(), child.stdin.close()]);
  return { pid: child.pid, inside: Number(new TextDecoder().decode(value)), over: exitCode };
}

Deno.test("StandbyEnder ends all processes of the sessions, also those that multiply, and no other one", async () => {
  await using ender = StandbyEnder.start();
  // Each of its processes starts another one before it goes: none of them is there twice when it is looked for.
  const bomb = await started(
    'trap "" HUP TERM; echo $$; next() { sleep 0.01; next & }; next & next & sleep 300',
  );
  const quiet = await started("sleep 300 & echo $!; wait");
  const other = await started("sleep 300 & echo $!; wait");
  assert.equal(await ender.end([bomb.pid, quiet.pid]), true);
  await Promise.all([bomb.over, quiet.over]);
  for (const pid of [bomb.inside, quiet.inside]) await until(`${pid} is gone`, () => isGone(pid));
  assert.equal(await isGone(other.inside), false);
  assert.equal(await ender.end([other.pid]), true);
  await other.over;
  assert.equal(await ender.end([other.pid]), true);
});

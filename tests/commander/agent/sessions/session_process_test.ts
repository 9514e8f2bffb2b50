import assert from "node:assert/strict";
import { SHELL } from "../../../../src/commander/knock/shell_path.ts";
import { endSessions, startScript } from "../../../../src/commander/agent/sessions/session_process.ts";
import { until } from "../../../e2e/until.ts";
import { isGone } from "./session_stage.ts";

const program = new URL("permission_program.ts", import.meta.url).pathname;

Deno.test("SHELL is all that may be run for shells and programs, resize and kill included", async () => {
  const record = Deno.makeTempDirSync({ prefix: "postern-session-" });
  const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "--no-prompt",
      `--allow-run=${SHELL}`,
      `--allow-write=${record}`,
      program,
      record,
    ],
  }).output();
  Deno.removeSync(record, { recursive: true });
  const text = new TextDecoder().decode(stdout);
  assert.ok(text.startsWith("{"), new TextDecoder().decode(stderr));
  const { pid, ...result } = JSON.parse(text);
  assert.deepEqual(result, { ending: "revoked", stdout: "here\n", exitCode: 0 });
  await until(`${pid} is gone`, () => isGone(pid));
});

Deno.test("endSessions() ends all processes of the sessions, and no other one", async () => {
  const hostile = 'exec -a ") S 1 1 77 x" sleep 300';
  const scripts = [
    "trap '' HUP TERM INT; nohup sleep 300 >/dev/null 2>&1 & echo $! $$; while :; do sleep 0.1; done",
    "sleep 300 & echo $! $$; kill -s STOP $!; wait",
    `if command -v bash >/dev/null; then bash -c '${hostile}' & else sleep 300 & fi; echo $! $$; wait`,
  ];
  const started = [...scripts, "echo $$ $$; exec sleep 300"].map((script) => startScript(script, []));
  const pids = await Promise.all(started.map(async ({ child }) => {
    const reader = child.stdout.getReader();
    const { value } = await reader.read();
    await Promise.all([reader.cancel(), child.stderr.cancel(), child.stdin.close()]);
    return new TextDecoder().decode(value).trim().split(" ");
  }));
  const [other, ...ended] = started.reverse(), [others = [], ...mine] = pids.reverse();
  assert.ok(other !== undefined);
  assert.equal(await endSessions(ended), true);
  for (const pid of mine.flat()) await until(`${pid} is gone`, () => isGone(pid));
  assert.deepEqual(await Promise.all(others.map(isGone)), [false, false]);
  assert.equal(await endSessions([], [other.child.pid]), true);
  await Promise.all(started.map(({ exitCode }) => exitCode));
});

Deno.test("endSessions() hangs up before it kills, also what is stopped", async () => {
  const process = startScript(
    "trap 'echo hung up; exit' HUP; kill -s STOP $$; while :; do sleep 0.01; done",
    [],
  );
  const { child } = process;
  await Promise.all([child.stderr.cancel(), child.stdin.close()]);
  await until("it is stopped", async () => (await stateOf(child.pid)) === "T");
  assert.equal(await endSessions([process]), true);
  assert.equal(await new Response(child.stdout).text(), "hung up\n");
});

Deno.test("endSessions() has nothing to do where all have ended", async () => {
  const process = startScript("exit 0", []), { child, exitCode } = process;
  await Promise.all([child.stdout.cancel(), child.stderr.cancel(), child.stdin.close(), exitCode]);
  assert.equal(await endSessions([process]), true);
});

/** State of a process, see proc_pid_stat(5). */
async function stateOf(pid: number): Promise<string | undefined> {
  return /\) ([A-Z]) /.exec(await Deno.readTextFile(`/proc/${pid}/stat`))?.[1];
}

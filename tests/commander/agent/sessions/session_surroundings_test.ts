/** What a session inherits of the agent that it should not: see deploy/systemd/postern-agent.service. */
import assert from "node:assert/strict";
import { succeeds, unless } from "../../../e2e/machine.ts";
import { until } from "../../../e2e/until.ts";
import { isGone } from "./session_stage.ts";

function pathOf(program: string): string {
  return new URL(program, import.meta.url).pathname;
}

/** What a shell prints that has done something to itself before it became another program. */
async function after(act: string, ...program: string[]): Promise<string> {
  const args = ["-c", `${act} && exec "$@"`, "sh", ...program];
  const { stdout, stderr } = await new Deno.Command("/bin/sh", { args }).output();
  assert.equal(new TextDecoder().decode(stderr), "");
  return new TextDecoder().decode(stdout);
}

/** What a program and a shell find around them whose agent was started so. */
async function surroundings(act: string): Promise<{ umask: string; score: string; files: string[] }[]> {
  const text = await after(act, Deno.execPath(), "run", "-A", pathOf("surroundings_program.ts"));
  const { exec, shell } = JSON.parse(text);
  return [exec, shell].map((each) => {
    const [, umask = "", score = "", files = ""] = /umask ([0-9]+) score (\S+) files (.*) end/.exec(each) ??
      [];
    return { umask, score, files: files.split(" ") };
  });
}

Deno.test("hostExec() and hostShell() give programs the usual umask and none of the agent's files", async () => {
  const found = await surroundings("umask 077");
  assert.deepEqual(found.map(({ umask }) => umask), ["0022", "0022"]);
  // What the agent itself was started with it hands on; and ls reads a folder.
  const before = new Set((await after("true", "ls", "/proc/self/fd")).trim().split("\n"));
  for (const { files } of found) {
    assert.ok(files.length >= 4);
    assert.deepEqual(files.filter((file) => !before.has(file)), []);
  }
});

const PROTECT = "echo -7 >/proc/self/oom_score_adj";
const obstacle = await succeeds("sh", ["-c", PROTECT]) ? null : "may not lower oom_score_adj";

Deno.test({
  ...unless(obstacle, "hostExec() and hostShell() spare no program when memory runs out"),
  async fn(): Promise<void> {
    assert.deepEqual((await surroundings(PROTECT)).map(({ score }) => score), ["0", "0"]);
  },
});

Deno.test("hostShell() leaves no shell behind when the agent is killed", async () => {
  const args = ["run", "-A", pathOf("shell_program.ts")];
  const child = new Deno.Command(Deno.execPath(), { args, stdout: "piped" }).spawn();
  const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  while (!text.includes("\n")) {
    const { value } = await reader.read();
    assert.ok(value !== undefined, text);
    text += value;
  }
  const { pid, folder } = JSON.parse(text);
  child.kill("SIGKILL");
  await child.status;
  await reader.cancel();
  try {
    await until(`${pid} is gone`, () => isGone(pid));
  } finally {
    await succeeds("kill", ["-KILL", String(pid)]);
    await Deno.remove(folder, { recursive: true });
  }
});

import assert from "node:assert/strict";
import fc from "fast-check";
import { execute, type ExecutionResult } from "../../../src/commander/knock/execute.ts";
import { type ReadyShell, ReadyShells } from "../../../src/commander/knock/ready_shell.ts";
import { parseIp } from "../../../src/protocol/knock/address.ts";
import { until } from "../commander_lab.ts";

const ip = parseIp("198.41.0.4");

/** What `/bin/sh -c TEXT` itself makes of a text: the meaning that ours must have. */
async function plainShell(text: string): Promise<Pick<ExecutionResult, "status" | "stdout">> {
  const output = await new Deno.Command("/bin/sh", {
    args: ["-c", text],
    clearEnv: true,
    env: { RUROCO_IP: ip, PATH: "/usr/bin:/bin" },
    stdin: "null",
  }).output();
  return { status: output.code, stdout: new TextDecoder().decode(output.stdout).replace(/\n+$/, "") };
}

/** A pool whose first shell already waits. */
async function readyPool(): Promise<ReadyShells> {
  const shells = new ReadyShells("/");
  await until(() => Promise.resolve(shells.isReady), "a shell to be ready");
  return shells;
}

const TEXTS = [
  "true",
  "exit 3",
  "false; echo after",
  "kill -s KILL $$",
  "if",
  "echo 'it'\\''s'; echo \"$RUROCO_IP\"",
  "cat; echo end",
  "cat <<X\nhere $RUROCO_IP\nX\nexit 4",
  "echo a \\\nb # comment",
  "# only a comment",
  "exec echo replaced",
  "read -r line; echo status $?",
  "nonexistent-program",
  "set -eu; echo $1",
  "(exit 5)",
  "echo one; exit 6; echo two",
];

for (const text of TEXTS) {
  Deno.test(`a ready shell means by ${JSON.stringify(text)} what sh -c means`, async () => {
    await using shells = await readyPool();
    const { status, stdout } = await execute({ text, ip, timeoutMs: 10_000 }, shells);
    assert.deepEqual({ status, stdout }, await plainShell(text));
  });
}

Deno.test("a ready shell hands on every byte of a text", async () => {
  await using shells = new ReadyShells("/");
  const printable = fc.string({ unit: "binary", maxLength: 200 }).filter((text) => !/[\0\n\r]/.test(text));
  await fc.assert(
    fc.asyncProperty(printable, async (value) => {
      const quoted = `'${value.replaceAll("'", `'\\''`)}'`;
      const { stdout } = await execute({ text: `printf '%s|' ${quoted}`, ip, timeoutMs: 10_000 }, shells);
      assert.equal(stdout, `${value}|`);
    }),
    { numRuns: 50 },
  );
});

Deno.test("a text longer than a pipe runs whole", async () => {
  await using shells = new ReadyShells("/");
  const text = `: '${"x".repeat(200_000)}'; echo done`;
  assert.equal((await execute({ text, ip, timeoutMs: 10_000 }, shells)).stdout, "done");
});

Deno.test("ReadyShells gives a command a new shell when the waiting one was killed", async () => {
  await using shells = await readyPool();
  const runId = shells.reserve();
  const killed = await processOf(runId);
  Deno.kill(killed, "SIGKILL");
  await until(async () => (await findProcess(runId)) === undefined, "the waiting shell to be gone");
  const { stdout } = await execute({ text: 'echo "$POSTERN_RUN_ID"', ip, timeoutMs: 10_000, runId }, shells);
  assert.equal(stdout, runId);
});

Deno.test("ReadyShells keeps a reserved shell for its run", async () => {
  await using shells = await readyPool();
  const runId = shells.reserve();
  const other: ReadyShell = shells.take();
  assert.notEqual(other.runId, runId);
  await other.discard();
  const mine = shells.take(runId);
  assert.equal(mine.runId, runId);
  await mine.discard();
});

Deno.test("ReadyShells lets go of run ids whose runs never begin", async () => {
  await using shells = await readyPool();
  const first = shells.reserve();
  for (let i = 0; i < 8; i++) {
    await until(() => Promise.resolve(shells.isReady), "the next shell to be ready");
    shells.reserve();
  }
  await until(async () => (await findProcess(first)) === undefined, "the oldest reserved shell to be gone");
});

async function findProcess(runId: string): Promise<number | undefined> {
  for await (const { name } of Deno.readDir("/proc")) {
    if (!/^[0-9]+$/.test(name)) continue;
    const environment = await Deno.readTextFile(`/proc/${name}/environ`).catch(() => "");
    if (environment.includes(`POSTERN_RUN_ID=${runId}`)) return Number(name);
  }
  return undefined;
}

async function processOf(runId: string): Promise<number> {
  const pid = await findProcess(runId);
  assert.ok(pid !== undefined, "the shell shows its run id");
  return pid;
}

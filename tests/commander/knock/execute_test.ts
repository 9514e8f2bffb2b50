import assert from "node:assert/strict";
import { CAPTURE_BYTES } from "../../../src/commander/knock/capture.ts";
import { Abandoned, execute, type ExecutionResult } from "../../../src/commander/knock/execute.ts";
import { ReadyShells } from "../../../src/commander/knock/ready_shell.ts";
import { parseIp } from "../../../src/protocol/knock/address.ts";
import { isAlive, until } from "../commander_lab.ts";

const ip = parseIp("198.41.0.4");

async function run(text: string, timeoutMs = 10_000): Promise<ExecutionResult> {
  await using shells = new ReadyShells("/root");
  return await execute({ text, ip, timeoutMs }, shells);
}

async function withFolder(test: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "postern-execute-" });
  try {
    await test(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function readPid(path: string): Promise<number> {
  await until(async () => (await Deno.readTextFile(path).catch(() => "")).endsWith("\n"), path);
  return Number(await Deno.readTextFile(path));
}

Deno.test("execute() gives status and both outputs", async () => {
  const result = await run("echo out; echo err >&2; exit 3");
  assert.equal(result.status, 3);
  assert.equal(result.stdout, "out");
  assert.equal(result.stderr, "err");
  assert.equal(result.timedOut, false);
  assert.equal(result.droppedBytes, 0);
});

Deno.test("execute() gives the text a clean environment, an empty stdin and a session of its own", async () => {
  Deno.env.set("POSTERN_TEST_LEAK", "1");
  const result = await run('env | sort; cat; echo "$$ $(ps -o sid= -p $$)"');
  Deno.env.delete("POSTERN_TEST_LEAK");
  const lines = result.stdout.split("\n");
  const [pid, sid] = (lines.pop() ?? "").split(/ +/);
  assert.equal(pid, sid);
  const set = lines.filter((line) => !/^(PWD|SHLVL|_|OLDPWD)=/.test(line));
  assert.deepEqual(set.map((line) => line.replace(/^(POSTERN_RUN_ID)=[0-9a-f]{32}$/, "$1")), [
    "HOME=/root",
    "LANG=C.UTF-8",
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "POSTERN_IP=198.41.0.4",
    "POSTERN_RUN_ID",
    "RUROCO_IP=198.41.0.4",
  ]);
});

Deno.test("execute() marks the text and all it starts with the run id", async () => {
  const runId = "ab".repeat(16);
  await using shells = new ReadyShells("/");
  const result = await execute({
    text: 'echo "$POSTERN_RUN_ID"; sh -c \'tr "\\0" "\\n" < /proc/$$/environ\' | grep POSTERN_RUN_ID',
    ip,
    timeoutMs: 10_000,
    runId,
  }, shells);
  assert.equal(result.stdout, `${runId}\nPOSTERN_RUN_ID=${runId}`);
});

Deno.test("execute() ends the whole group at the time limit, grandchildren included", async () => {
  await withFolder(async (folder) => {
    const result = await run(`(sleep 60 & echo $! > ${folder}/grandchild; wait) & wait`, 300);
    assert.equal(result.timedOut, true);
    assert.equal(result.status, 143);
    const grandchild = await readPid(`${folder}/grandchild`);
    await until(async () => !(await isAlive(grandchild)), "the grandchild to be gone");
  });
});

Deno.test("execute() kills what ignores SIGTERM, two seconds later", async () => {
  await withFolder(async (folder) => {
    const result = await run(
      `trap '' TERM; (trap '' TERM; echo $(exec sh -c 'echo $PPID') > ${folder}/grandchild; while :; do sleep 0.1; done) & ` +
        "while :; do sleep 0.1; done",
      300,
    );
    assert.equal(result.timedOut, true);
    assert.equal(result.status, 137);
    assert.ok(result.durationMs >= 2000 && result.durationMs < 5000, `${result.durationMs} ms`);
    const grandchild = await readPid(`${folder}/grandchild`);
    await until(async () => !(await isAlive(grandchild)), "the grandchild to be gone");
  });
});

Deno.test("execute() leaves no part of the group when only a grandchild ignores SIGTERM", async () => {
  await withFolder(async (folder) => {
    const script = `trap "" TERM; echo $$ > ${folder}/grandchild; while :; do sleep 0.1; done`;
    const result = await run(`sh -c '${script}' & sleep 60`, 300);
    assert.equal(result.timedOut, true);
    const grandchild = await readPid(`${folder}/grandchild`);
    assert.equal(await isAlive(grandchild), false, "the result comes after the end of the group");
  });
});

Deno.test("execute() caps a flood and lets the flooder run on", async () => {
  const result = await run("yes | head -c 50000000; yes | head -c 50000000 >&2; echo end >&2");
  assert.equal(result.stdout.length, CAPTURE_BYTES - 1, "the last kept byte is a newline");
  assert.equal(result.status, 0);
  assert.equal(result.droppedBytes, 2 * (50_000_000 - CAPTURE_BYTES) + "end\n".length);
  assert.equal(result.timedOut, false);
});

Deno.test("execute() ends an endless flood at the time limit", async () => {
  const result = await run("yes", 300);
  assert.equal(result.timedOut, true);
  assert.equal(result.stdout.length, CAPTURE_BYTES - 1);
});

Deno.test("execute() replaces what is not UTF-8", async () => {
  assert.equal((await run("printf 'a\\377\\376b\\033[2J'")).stdout, "a\ufffd\ufffdb\x1b[2J");
});

Deno.test("execute() does not wait for a background process that keeps the output open", async () => {
  await withFolder(async (folder) => {
    const result = await run(`sleep 60 & echo $! > ${folder}/background; echo done`);
    assert.equal(result.stdout, "done");
    assert.ok(result.durationMs < 5000, `${result.durationMs} ms`);
    const background = await readPid(`${folder}/background`);
    assert.equal(await isAlive(background), true, "it was not told to end");
    Deno.kill(background, "SIGKILL");
  });
});

async function abandonsChild(when: (pidPath: string) => Promise<unknown>): Promise<void> {
  await withFolder(async (folder) => {
    const pidPath = `${folder}/child`;
    const abandon = new AbortController();
    await using shells = new ReadyShells("/");
    const running = execute({
      text: `echo $$ > ${pidPath}; sleep 60`,
      ip,
      timeoutMs: 60_000,
      abandon: abandon.signal,
    }, shells);
    await when(pidPath);
    abandon.abort();
    await assert.rejects(running, Abandoned);
    const child = await readPid(pidPath);
    assert.equal(await isAlive(child), true);
    Deno.kill(-child, "SIGKILL");
    await until(async () => !(await isAlive(child)), "the child to be gone");
  });
}

Deno.test("execute() lets go of a running child when it is abandoned", async () => {
  await abandonsChild(readPid);
});

Deno.test("execute() lets go of a child also when it is abandoned while the child starts", async () => {
  // The shell is being handed its text: nobody listens to the signal yet.
  await abandonsChild(() => Promise.resolve());
});

Deno.test({
  name: "execute() needs permission for the shell alone",
  permissions: { run: ["/bin/sh"] },
  async fn(): Promise<void> {
    const result = await run("sleep 60 & sleep 60", 200);
    assert.equal(result.timedOut, true);
    assert.equal(result.status, 143);
  },
});

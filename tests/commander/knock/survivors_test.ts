import assert from "node:assert/strict";
import { endRun, randomRunId } from "../../../src/commander/knock/survivors.ts";
import { isAlive, until } from "../commander_lab.ts";

/** Processes of one run, in sessions of their own as the commander starts them; ended when the test is over. */
class Run implements AsyncDisposable {
  readonly runId = randomRunId();
  readonly #children: Deno.ChildProcess[] = [];

  /** Starts a shell text and waits until it has said that it is ready for signals. */
  async start(text: string, runId = this.runId): Promise<number> {
    const child = new Deno.Command("/bin/sh", {
      args: ["-c", text],
      env: { POSTERN_RUN_ID: runId },
      stdin: "null",
      stdout: "piped",
      stderr: "null",
      detached: true,
    }).spawn();
    this.#children.push(child);
    const reader = child.stdout.getReader();
    assert.equal(new TextDecoder().decode((await reader.read()).value), "ready\n");
    await reader.cancel();
    return child.pid;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#children) {
      try {
        Deno.kill(-child.pid, "SIGKILL");
      } catch {
        // Ended by the test.
      }
      await child.status;
    }
  }
}

async function isSearching(runId: string): Promise<boolean> {
  for (const { name } of Deno.readDirSync("/proc")) {
    const words = await Deno.readTextFile(`/proc/${name}/cmdline`).catch(() => "");
    if (words.split("\0").includes(runId)) return true;
  }
  return false;
}

const WAIT = "sleep 66";

Deno.test("randomRunId() is 32 hexadecimal digits, another one each time", () => {
  assert.match(randomRunId(), /^[0-9a-f]{32}$/);
  assert.notEqual(randomRunId(), randomRunId());
});

Deno.test("endRun() is done when there is nothing to end", async () => {
  assert.equal(await endRun(randomRunId()), "gone");
});

Deno.test("endRun() ends every process of the run, in whatever session, and no other", async () => {
  await using run = new Run();
  await using stranger = new Run();
  const folder = await Deno.makeTempDir({ prefix: "postern-survivors-" });
  const script =
    `setsid sh -c 'echo $$ > ${folder}/far; ${WAIT}' & echo ready; ${WAIT}; echo late > ${folder}/late`;
  const near = await run.start(script);
  const other = await stranger.start(`echo ready; ${WAIT}`);
  await until(
    async () => (await Deno.readTextFile(`${folder}/far`).catch(() => "")).endsWith("\n"),
    "setsid",
  );
  const far = Number(await Deno.readTextFile(`${folder}/far`));
  assert.equal(await endRun(run.runId), "gone");
  assert.deepEqual([await isAlive(near), await isAlive(far)], [false, false]);
  assert.equal(await isAlive(other), true);
  await assert.rejects(Deno.stat(`${folder}/late`), Deno.errors.NotFound);
  await Deno.remove(folder, { recursive: true });
});

Deno.test("endRun() lets a process end in its own way, and kills it after 2 s", async () => {
  await using run = new Run();
  const folder = await Deno.makeTempDir({ prefix: "postern-survivors-" });
  await run.start(
    `trap 'sleep 0.3; echo done > ${folder}/tidy; exit' TERM; echo ready; while :; do sleep 0.1; done`,
  );
  const deaf = await run.start("trap '' TERM; echo ready; while :; do sleep 0.1; done");
  const startedMs = performance.now();
  assert.equal(await endRun(run.runId), "gone");
  const tookMs = performance.now() - startedMs;
  assert.equal(await isAlive(deaf), false);
  assert.equal(await Deno.readTextFile(`${folder}/tidy`), "done\n");
  assert.ok(tookMs >= 2000 && tookMs < 7000, `${tookMs} ms`);
  await Deno.remove(folder, { recursive: true });
});

Deno.test("endRun() lets the caller go when it is abandoned, and carries on by itself", async () => {
  await using run = new Run();
  const deaf = await run.start("trap '' TERM; echo ready; while :; do sleep 0.1; done");
  const abandon = new AbortController();
  const ending = endRun(run.runId, abandon.signal);
  abandon.abort();
  assert.equal(await ending, null);
  assert.equal(await endRun(run.runId, abandon.signal), null);
  assert.equal(await isAlive(deaf), true);
  await until(async () => !(await isAlive(deaf)), "the abandoned search to kill it");
  await until(async () => !(await isSearching(run.runId)), "the abandoned search to end");
});

Deno.test({
  name: "endRun() says that it cannot look where there is no /proc (needs root to hide it)",
  ignore: Deno.uid() !== 0,
  async fn(): Promise<void> {
    const module = new URL("../../../src/commander/knock/survivors.ts", import.meta.url).href;
    const script = `import { endRun } from ${
      JSON.stringify(module)
    }; console.log(await endRun("ab".repeat(16)));`;
    const output = await new Deno.Command("unshare", {
      args: [
        ...["--mount", "sh", "-c", 'mount -t tmpfs none /proc && exec "$@"', "sh"],
        ...[
          Deno.execPath(),
          "run",
          "--allow-run=/bin/sh",
          `data:text/javascript,${encodeURIComponent(script)}`,
        ],
      ],
    }).output();
    assert.equal(
      new TextDecoder().decode(output.stdout),
      "cannot look\n",
      new TextDecoder().decode(output.stderr),
    );
  },
});

Deno.test({
  name: "endRun() needs permission for the shell alone",
  permissions: { run: ["/bin/sh"] },
  async fn(): Promise<void> {
    assert.equal(await endRun(randomRunId()), "gone");
  },
});

import assert from "node:assert/strict";
import { Failure } from "../../src/system/failure.ts";
import { acquireLock } from "../../src/system/lock.ts";
import { CopyForEverybody } from "../everybody.ts";

async function spawnHolder(path: string): Promise<Deno.ChildProcess> {
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "--no-prompt",
      `--allow-read=${path}`,
      `--allow-write=${path}`,
      import.meta.resolve("./lock_holder.ts"),
      path,
    ],
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const reader = child.stdout.getReader();
  const first = await reader.read();
  assert.equal(new TextDecoder().decode(first.value), "held\n");
  await reader.cancel();
  return child;
}

async function withLockPath(test: (path: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "postern-lock-" });
  try {
    await test(`${folder}/client.lock`);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("acquireLock() excludes another process until that one is killed with -9", async () => {
  await withLockPath(async (path) => {
    const holder = await spawnHolder(path);
    await assert.rejects(
      acquireLock(path, { timeoutMs: 50, hint: "stop the other one" }),
      (e: unknown) => e instanceof Failure && e.message.includes(path) && e.hint === "stop the other one",
    );
    const waiting = acquireLock(path, { timeoutMs: 10_000 });
    holder.kill("SIGKILL");
    await holder.status;
    using _lock = await waiting;
  });
});

Deno.test("acquireLock() conflicts within one process, frees on dispose and leaves a private file", async () => {
  await withLockPath(async (path) => {
    {
      using _first = await acquireLock(path, { timeoutMs: 0 });
      await assert.rejects(acquireLock(path, { timeoutMs: 0 }), Failure);
    }
    using _second = await acquireLock(path, { timeoutMs: 0 });
    assert.equal(((await Deno.stat(path)).mode ?? 0) & 0o777, 0o600);
  });
});

Deno.test("acquireLock() hands the lock through a crowd of waiters, one holder at a time", async () => {
  await withLockPath(async (path) => {
    let holders = 0;
    let turns = 0;
    await Promise.all(Array.from({ length: 20 }, async () => {
      using _lock = await acquireLock(path, { timeoutMs: 30_000 });
      assert.equal(++holders, 1);
      await Promise.resolve();
      turns++;
      holders--;
    }));
    assert.equal(turns, 20);
  });
});

Deno.test("acquireLock() names a path that cannot be opened", async () => {
  await withLockPath(async (path) => {
    const inNoFolder = path.replace(/[^/]+$/, "missing/$&");
    await assert.rejects(
      acquireLock(inNoFolder, { timeoutMs: 0 }),
      (e: unknown) => e instanceof Failure && e.message.includes(inNoFolder),
    );
  });
});

Deno.test("acquireLock() stops waiting at once when told so, and leaves the lock to its holder", async () => {
  await withLockPath(async (path) => {
    using _first = await acquireLock(path, { timeoutMs: 0 });
    const abort = new AbortController();
    const started = performance.now();
    const waiting = acquireLock(path, { timeoutMs: 60_000, signal: abort.signal });
    const reason = new Error("the process was told to stop");
    abort.abort(reason);
    await assert.rejects(waiting, (error) => error === reason);
    assert.ok(performance.now() - started < 5000);
    await assert.rejects(
      acquireLock(path, { timeoutMs: 0, signal: abort.signal }),
      (error) => error === reason,
    );
  });
});

const isRoot = Deno.uid() === 0;

Deno.test({
  name: `acquireLock() tells that the lock file of a former run as root is the problem${
    isRoot ? "" : " (ignored: needs root)"
  }`,
  ignore: !isRoot,
  async fn(): Promise<void> {
    await withLockPath(async (path) => {
      await Deno.writeFile(path, new Uint8Array(), { mode: 0o600 });
      const folder = path.slice(0, path.lastIndexOf("/"));
      const nobody = 65_534;
      await Deno.chown(folder, nobody, nobody);
      using copy = CopyForEverybody.make();
      const holder = `${copy.repositoryFolder}tests/system/lock_holder.ts`;
      const { stderr } = await new Deno.Command(copy.denoPath, {
        args: ["run", "--no-prompt", "--allow-read", "--allow-write", holder, path],
        uid: nobody,
        gid: nobody,
        cwd: "/",
        env: { DENO_DIR: copy.cacheFolder },
      }).output();
      const said = new TextDecoder().decode(stderr);
      assert.match(said, /could not open the lock file/);
      assert.match(
        said,
        /hint: it belongs to another user \(uid 0\), perhaps since a run as root: chown USER /,
      );
    });
  },
});

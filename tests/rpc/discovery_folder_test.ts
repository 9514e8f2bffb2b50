import assert from "node:assert/strict";
import { DiscoveryError } from "../../src/protocol/rpc/discovery/record_store.ts";
import { folderDiscovery } from "../../src/rpc/discovery_folder.ts";

const MATH = { name: "MATH", transport: "tcp", codec: "json", addresses: ["127.0.0.1:1337"] };
const MODE_BITS = 0o7777;
const PUBLISHER = new URL("folder_publisher.ts", import.meta.url).pathname;

async function withFolder(test: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "postern-services-" });
  try {
    await test(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

function names(folder: string): string[] {
  return [...Deno.readDirSync(folder)].map(({ name }) => name).sort();
}

function modeOf(path: string): number {
  return (Deno.lstatSync(path).mode ?? 0) & MODE_BITS;
}

/** A publisher in a process of its own; what it was given is its instance. */
async function startPublisher(folder: string): Promise<{ child: Deno.ChildProcess; instance: string }> {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-prompt", PUBLISHER, folder],
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  const { value = "" } = await reader.read();
  await reader.cancel();
  return { child, instance: value.trim() };
}

async function kill({ child }: { child: Deno.ChildProcess }): Promise<void> {
  child.kill("SIGKILL");
  await child.status;
}

Deno.test("folderDiscovery() keeps each instance in a 0600 file of its own in a 0700 folder", async () => {
  await withFolder(async (parent) => {
    const folder = `${parent}/postern/services`;
    const registration = await folderDiscovery({ folder }).publish(MATH);
    const { instance } = registration.record;
    assert.deepEqual(names(folder), [`MATH@${instance}.alive`, `MATH@${instance}.json`]);
    assert.deepEqual([modeOf(`${parent}/postern`), modeOf(folder)], [0o700, 0o700]);
    for (const name of names(folder)) assert.equal(modeOf(`${folder}/${name}`), 0o600, name);
    assert.equal(registration.record.pid, Deno.pid);
    assert.deepEqual(await folderDiscovery({ folder }).resolve("MATH"), [registration.record]);
    await registration[Symbol.asyncDispose]();
    assert.deepEqual(names(folder), []);
  });
});

Deno.test({
  name:
    "hole: stale discovery records after a crash: a killed publisher is not found, and its files are removed",
  timeout: 30_000,
  async fn(): Promise<void> {
    await withFolder(async (folder) => {
      const discovery = folderDiscovery({ folder });
      const publisher = await startPublisher(folder);
      assert.deepEqual((await discovery.resolve("MATH")).map((each) => each.instance), [publisher.instance]);
      assert.equal((await discovery.resolve("MATH"))[0]?.pid, publisher.child.pid);
      await kill(publisher);
      // Its lease of 10 s has hardly begun: what tells is the lock that died with it.
      assert.deepEqual(await discovery.resolve("MATH"), []);
      assert.deepEqual(names(folder), []);
    });
  },
});

Deno.test({
  name: "watch() hears of a crash without waiting for the lease",
  timeout: 30_000,
  async fn(): Promise<void> {
    await withFolder(async (folder) => {
      const publisher = await startPublisher(folder);
      const changes = folderDiscovery({ folder }).watch("MATH");
      assert.equal((await changes.next()).value?.length, 1);
      const startMs = performance.now();
      await kill(publisher);
      assert.deepEqual((await changes.next()).value, []);
      assert(performance.now() - startMs < 5_000, `${performance.now() - startMs} ms`);
      await changes.return?.();
    });
  },
});

Deno.test({
  name: "two publishers of one name, one of them killed: the other is found",
  timeout: 30_000,
  async fn(): Promise<void> {
    await withFolder(async (folder) => {
      const discovery = folderDiscovery({ folder });
      const [first, second] = await Promise.all([startPublisher(folder), startPublisher(folder)]);
      const both = (await discovery.resolve("MATH")).map((each) => each.instance).sort();
      assert.deepEqual(both, [first.instance, second.instance].sort());
      await kill(first);
      assert.deepEqual((await discovery.resolve("MATH")).map((each) => each.instance), [second.instance]);
      await kill(second);
    });
  },
});

Deno.test("what a crash between two steps leaves is swept, what is not ours is left alone", async () => {
  await withFolder(async (folder) => {
    const instance = "0123456789abcdef".repeat(2);
    const discovery = folderDiscovery({ folder });
    const registration = await discovery.publish(MATH);
    const own = names(folder);
    const foreign = ["README", "MATH@short.json", "OTHER@" + instance + ".json", "MATH@.json"];
    const leftovers = [`MATH@${instance}.alive`, `.MATH@${instance}.json.00ff.tmp`];
    for (const name of [...foreign, ...leftovers]) await Deno.writeTextFile(`${folder}/${name}`, "");
    assert.deepEqual(await discovery.resolve("MATH"), [registration.record]);
    assert.deepEqual(names(folder), [...own, ...foreign].sort());
    await registration[Symbol.asyncDispose]();
  });
});

Deno.test({
  name: "readers who try the lock at the same time do not take each other for the owner",
  timeout: 30_000,
  async fn(): Promise<void> {
    await withFolder(async (folder) => {
      const publisher = await startPublisher(folder);
      const files = new Map(names(folder).map((name) => [name, Deno.readFileSync(`${folder}/${name}`)]));
      await kill(publisher);
      for (let round = 0; round < 20; round++) {
        for (const [name, bytes] of files) await Deno.writeFile(`${folder}/${name}`, bytes);
        const found = await Promise.all(
          Array.from({ length: 10 }, () => folderDiscovery({ folder }).resolve("MATH")),
        );
        assert.deepEqual(found.flat(), []);
      }
    });
  },
});

Deno.test("a record under a name or instance that is not its own is not given", async () => {
  await withFolder(async (folder) => {
    const discovery = folderDiscovery({ folder });
    const registration = await discovery.publish(MATH);
    const { instance } = registration.record;
    for (const other of [`OTHER@${instance}`, `MATH@${"0".repeat(32)}`]) {
      await Deno.copyFile(`${folder}/MATH@${instance}.json`, `${folder}/${other}.json`);
      await Deno.copyFile(`${folder}/MATH@${instance}.alive`, `${folder}/${other}.alive`);
    }
    assert.deepEqual(await discovery.resolve("OTHER"), []);
    assert.deepEqual(await discovery.resolve("MATH"), [registration.record]);
    await registration[Symbol.asyncDispose]();
  });
});

async function refusesFolder(folder: string, words: RegExp): Promise<void> {
  const discovery = folderDiscovery({ folder });
  const acts = [
    () => discovery.publish(MATH),
    () => discovery.resolve("MATH"),
    () => discovery.waitFor("MATH"),
  ];
  for (const act of acts) {
    await assert.rejects(act, (error: unknown) => {
      assert(error instanceof DiscoveryError, String(error));
      assert.equal(error.code, "store");
      assert.match(error.message, words);
      return true;
    });
  }
}

Deno.test("a folder that others may enter is refused and its mode not mended", async () => {
  await withFolder(async (parent) => {
    const folder = `${parent}/services`;
    await Deno.mkdir(folder);
    for (const mode of [0o755, 0o770, 0o707, 0o1777, 0o701]) {
      await Deno.chmod(folder, mode);
      await refusesFolder(folder, /its mode is 1?\d+, which lets others in; 0700 is accepted$/);
      assert.equal(modeOf(folder), mode);
      assert.deepEqual(names(folder), []);
    }
  });
});

Deno.test({
  name: "a folder of another user is refused (needs root, to make one)",
  ignore: Deno.uid() !== 0,
  async fn(): Promise<void> {
    await withFolder(async (parent) => {
      const folder = `${parent}/services`;
      await Deno.mkdir(folder, { mode: 0o700 });
      await Deno.chown(folder, 65_534, 65_534);
      await refusesFolder(folder, /belongs to user id 65534, not to 0$/);
      assert.deepEqual(names(folder), []);
    });
  },
});

Deno.test("a link in place of the folder, or a file, is refused", async () => {
  await withFolder(async (parent) => {
    await Deno.mkdir(`${parent}/real`, { mode: 0o700 });
    await Deno.symlink(`${parent}/real`, `${parent}/link`);
    await refusesFolder(`${parent}/link`, /it is a symbolic link$/);
    await Deno.writeTextFile(`${parent}/file`, "");
    await refusesFolder(`${parent}/file`, /cannot keep services in/);
    assert.deepEqual(names(`${parent}/real`), []);
  });
});

Deno.test({
  name: "100 watchers, each with a watch of its own, all hear of a service that comes and goes",
  timeout: 60_000,
  async fn(): Promise<void> {
    await withFolder(async (folder) => {
      // More of them than the system may have watches for: the rest looks every second.
      const watchers = Array.from({ length: 100 }, () => folderDiscovery({ folder }).watch("MATH"));
      for (const changes of watchers) assert.deepEqual((await changes.next()).value, []);
      const registration = await folderDiscovery({ folder }).publish(MATH);
      for (const found of await Promise.all(watchers.map((changes) => changes.next()))) {
        assert.deepEqual(found.value, [registration.record]);
      }
      await registration[Symbol.asyncDispose]();
      for (const found of await Promise.all(watchers.map((changes) => changes.next()))) {
        assert.deepEqual(found.value, []);
      }
      await Promise.all(watchers.map((changes) => changes.return?.()));
    });
  },
});

Deno.test("a publication survives that its folder is removed: the next renewal makes it anew", async () => {
  await withFolder(async (parent) => {
    const folder = `${parent}/services`;
    const discovery = folderDiscovery({ folder, leaseMs: 100 });
    const registration = await discovery.publish(MATH);
    await Deno.remove(folder, { recursive: true });
    const found = await discovery.waitFor("MATH", { timeoutMs: 10_000 });
    assert.deepEqual(found, [registration.record]);
    assert.equal((await folderDiscovery({ folder }).resolve("MATH")).length, 1, "its lock was made anew too");
    await registration[Symbol.asyncDispose]();
  });
});

Deno.test("without a folder the environment names it, and what it names in between must be private too", async () => {
  await withFolder(async (parent) => {
    const script = `import { folderDiscovery } from "${new URL(
      "../../src/rpc/discovery_folder.ts",
      import.meta.url,
    )}";
      try { await using r = await folderDiscovery().publish(${JSON.stringify(MATH)});
        for await (const { name } of Deno.readDir(Deno.args[0])) if (name.endsWith(".json")) console.log(name); }
      catch (error) { console.log(error.code, error.message); }`;
    const run = async (env: Record<string, string>, folder: string): Promise<string> => {
      const { stdout } = await new Deno.Command(Deno.execPath(), {
        args: ["run", "-A", "--no-prompt", `--config=${new URL("../../deno.json", import.meta.url).pathname}`]
          .concat(`${parent}/script.ts`, folder),
        clearEnv: true,
        env: { DENO_DIR: Deno.env.get("DENO_DIR") ?? `${Deno.env.get("HOME")}/.cache/deno`, ...env },
      }).output();
      return new TextDecoder().decode(stdout);
    };
    await Deno.writeTextFile(`${parent}/script.ts`, script);
    const [runtime, home] = [`${parent}/run`, `${parent}/home`];
    assert.match(
      await run({ XDG_RUNTIME_DIR: runtime, HOME: home }, `${runtime}/postern/services`),
      /^MATH@[0-9a-f]{32}\.json\n$/,
    );
    assert.match(
      await run({ HOME: home }, `${home}/.local/state/postern/services`),
      /^MATH@[0-9a-f]{32}\.json\n$/,
    );
    assert.match(
      await run({ XDG_RUNTIME_DIR: "", HOME: home }, `${home}/.local/state/postern/services`),
      /^MATH@[0-9a-f]{32}\.json\n$/,
    );
    assert.match(await run({}, ""), /^store cannot keep services: neither XDG_RUNTIME_DIR nor HOME is set/);
    await Deno.chmod(`${runtime}/postern`, 0o777);
    assert.match(
      await run({ XDG_RUNTIME_DIR: runtime }, ""),
      /^store cannot keep services in .*\/run\/postern: its mode is 0777/,
    );
  });
});

Deno.test({
  name: "a publisher is not taken for a leftover by readers who look while it publishes",
  timeout: 60_000,
  async fn(): Promise<void> {
    await withFolder(async (folder) => {
      const discovery = folderDiscovery({ folder });
      await discovery.resolve("MATH");
      const ending = new AbortController();
      // Each new file in the folder wakes them, and each looks at once.
      const readers = Array.from({ length: 4 }, async () => {
        const reader = folderDiscovery({ folder });
        for await (const _records of reader.watch("MATH", { signal: ending.signal })) {
          await reader.resolve("MATH");
        }
      });
      for (let round = 0; round < 50; round++) {
        await using registration = await discovery.publish(MATH);
        const looked = new Set(names(folder).filter((name) => name.includes(registration.record.instance)));
        assert.equal(looked.size, 2, `round ${round}: ${[...looked]}`);
        assert.deepEqual(await discovery.resolve("MATH"), [registration.record]);
      }
      ending.abort();
      await Promise.all(readers);
      assert.deepEqual(names(folder), []);
    });
  },
});

Deno.test("a publication that fails half-way leaves neither files nor a lock", async () => {
  await withFolder(async (folder) => {
    const randomBytes = (length: number): Uint8Array<ArrayBuffer> => new Uint8Array(length).fill(0xab);
    const record = `MATH@${"ab".repeat(16)}.json`;
    // A folder in the place of the record: the lock is taken by then, and the record cannot be put.
    await Deno.mkdir(`${folder}/${record}`);
    const discovery = folderDiscovery({ folder, randomBytes });
    await assert.rejects(discovery.publish(MATH), DiscoveryError);
    assert.deepEqual(names(folder), []);
    await using registration = await discovery.publish(MATH);
    assert.deepEqual(await discovery.resolve("MATH"), [registration.record]);
  });
});

Deno.test({
  name: "folderDiscovery() names the flag when it may not read where the folder is",
  permissions: "none",
  fn(): void {
    assert.throws(() => folderDiscovery(), {
      name: "DiscoveryError",
      message: /^cannot keep services: .* run it with --allow-env=(XDG_RUNTIME_DIR|LOCALAPPDATA)$/,
    });
  },
});

Deno.test({
  name: "folderDiscovery() names all flags of its folder at once when one is missing",
  permissions: { sys: ["uid"] },
  async fn(): Promise<void> {
    await assert.rejects(folderDiscovery({ folder: "/run/p" }).resolve("MATH"), {
      code: "store",
      message: /run it with --allow-read=\/run\/p --allow-write=\/run\/p --allow-sys=uid$/,
    });
  },
});

import assert from "node:assert/strict";
import type { AgentConfig } from "../../../src/commander/agent/agent_config.ts";
import { ConfigWatch, POLL_MS } from "../../../src/commander/agent/config_watch.ts";
import { readAgentConfig } from "../../../src/commander/agent/agent_config.ts";
import { Log } from "../../../src/system/log.ts";
import { FakeTimers } from "../../protocol/rpc/fake_timers.ts";
import { until } from "../../e2e/until.ts";
import { PASSWD, wholeToml } from "./agent_under_test.ts";

/** A watch over a file, and what it tells; `reads` counts how often the file was read. */
async function withWatch(
  act: (
    at: {
      /** While it is not null, reading fails with it. */
      fault: { now: Error | null };
      path: string;
      watch: ConfigWatch;
      timers: FakeTimers;
      told: (AgentConfig | null)[];
      lines: string[];
      reads: () => number;
    },
  ) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir(), path = `${folder}/agent.toml`, timers = new FakeTimers();
  await Deno.writeTextFile(path, wholeToml("exec = true\n"));
  const ground = { passwd: PASSWD, ownUid: 0 };
  const told: (AgentConfig | null)[] = [], lines: string[] = [];
  const fault: { now: Error | null } = { now: null };
  let reads = 0;
  const watch = new ConfigWatch({
    path,
    first: await readAgentConfig(path, ground),
    onChange: (config) => void told.push(config),
    timers,
    log: new Log({ role: "agent", format: "text", write: (line) => void lines.push(line) }),
    read: () => {
      reads++;
      if (fault.now !== null) return Promise.reject(fault.now);
      return readAgentConfig(path, ground);
    },
  });
  try {
    await act({ fault, path, watch, timers, told, lines, reads: () => reads });
  } finally {
    watch[Symbol.dispose]();
    await Deno.remove(folder, { recursive: true });
  }
}

/** Another file in its place, as an editor leaves it. */
async function replace(path: string, text: string): Promise<void> {
  await Deno.writeTextFile(`${path}.new`, wholeToml(text));
  await Deno.rename(`${path}.new`, path);
}

Deno.test("ConfigWatch tells of another configuration, and of no other change of the file", async () => {
  await withWatch(async ({ path, watch, told, lines }) => {
    await watch.look();
    await replace(path, "# the same in other words\nexec = true\n");
    await watch.look();
    assert.deepEqual([told, lines], [[], []]);
    await replace(path, "exec = false\n");
    await watch.look();
    assert.deepEqual(told.map((config) => config?.exec), [false]);
    assert.equal(watch.current?.exec, false);
    assert.equal(lines.length, 1);
    assert.match(lines[0] ?? "", /INFO agent: agent\.toml read again\n$/);
  });
});

Deno.test("ConfigWatch has nothing to say while a broken file stays as it is, and forgets what was before", async () => {
  await withWatch(async ({ path, watch, told, lines, reads }) => {
    await replace(path, "exec = maybe\n");
    for (let look = 0; look < 3; look++) await watch.look();
    assert.deepEqual(told.map((config) => config === null), [true]);
    assert.equal(reads(), 3);
    assert.equal(lines.length, 1);
    assert.match(lines[0] ?? "", /ERROR agent: agent\.toml cannot be read: no session may begin/);
    await Deno.remove(path);
    await watch.look();
    assert.ok(watch.current === null);
    await replace(path, "exec = true\n");
    await watch.look();
    assert.deepEqual(told.map((config) => config === null), [true, false]);
  });
});

Deno.test("ConfigWatch looks twice a second until it is disposed of", async () => {
  await withWatch(async ({ path, watch, timers, told, reads }) => {
    await timers.pass(POLL_MS);
    await replace(path, "exec = false\n");
    await timers.pass(POLL_MS);
    // The file system answers in its own time.
    await until("it is told", async () => {
      await timers.pass(POLL_MS);
      return told.length > 0;
    });
    const before = reads();
    watch[Symbol.dispose]();
    await replace(path, "exec = true\n");
    await timers.pass(10 * POLL_MS);
    assert.equal(reads(), before);
    assert.equal(timers.pending, 0);
  });
});

Deno.test("ConfigWatch lets nothing begin while agent.toml is empty, as an editor or a full disk leaves it", async () => {
  await withWatch(async ({ path, watch, told, lines }) => {
    await Deno.writeTextFile(path, "");
    await watch.look();
    assert.deepEqual(told, [null]);
    assert.match(
      lines[0] ?? "",
      /no session may begin error="could not read .*: it does not say shell, exec, .*/,
    );
  });
});

Deno.test("ConfigWatch reads a file again that could not be read, though nobody has written it since", async () => {
  await withWatch(async ({ fault, watch, told, lines }) => {
    fault.now = new Error("Too many open files (os error 24)");
    for (let look = 0; look < 3; look++) await watch.look();
    assert.deepEqual([told, lines.length], [[null], 1]);
    fault.now = null;
    await watch.look();
    assert.deepEqual(told.map((config) => config?.exec), [undefined, true]);
  });
});

/** The node with the machine's own discovery, in processes of its own. */
import assert from "node:assert/strict";
import { Node } from "../../src/rpc/node.ts";
import { call, contract } from "../../src/protocol/rpc/contract.ts";
import type { NodeEvent } from "../../src/protocol/rpc/node_event.ts";
import { memory } from "../../src/protocol/transport/memory.ts";
import { FakeTimers } from "../protocol/rpc/fake_timers.ts";

const PROGRAM = new URL("host_or_guest.ts", import.meta.url).pathname;

async function run(role: string, folder: string): Promise<string> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      ...["run", "--no-prompt", "--unstable-net", "--allow-sys=uid", "--allow-env=XDG_RUNTIME_DIR"],
      ...[`--allow-read=${folder}`, `--allow-write=${folder}`, "--allow-net", PROGRAM, role, folder],
    ],
    env: { XDG_RUNTIME_DIR: folder },
  }).output();
  assert.equal(code, 0, new TextDecoder().decode(stderr));
  return new TextDecoder().decode(stdout);
}

for (const order of [["host", "guest"], ["guest", "host"]] as const) {
  Deno.test({
    name: `host and guest find each other when ${order[0]} is first, with the permissions the page names`,
    timeout: 60_000,
    async fn(): Promise<void> {
      const folder = await Deno.makeTempDir({ prefix: "postern-nodes-" });
      try {
        const services = `${folder}/postern/services`;
        const first = run(order[0], folder);
        // The first has published itself before the second begins.
        for (let tries = 0; tries < 200 && await countOf(services) === 0; tries++) {
          await new Promise((resolve) => setTimeout(resolve, 50));
        }
        assert.equal(await countOf(services), 1);
        const second = run(order[1], folder);
        const answers = [await first, await second].sort();
        assert.deepEqual(answers, ["hello guest, I am guest\n", "hello host, I am host\n"]);
        assert.equal(await countOf(services), 0, "both withdrew");
      } finally {
        await Deno.remove(folder, { recursive: true });
      }
    },
  });
}

async function countOf(folder: string): Promise<number> {
  try {
    const names = await Array.fromAsync(Deno.readDir(folder), ({ name }) => name);
    return names.filter((name) => name.endsWith(".json")).length;
  } catch {
    return 0;
  }
}

Deno.test({
  name: "a node that neither publishes nor waits asks for no permission of the discovery",
  permissions: "none",
  async fn(): Promise<void> {
    const echo = contract({ echo: call<string, string>() });
    const transport = memory();
    await using client = await new Node()
      .serve(echo, transport, { echo: (text) => text }).connect(echo, transport).start();
    assert.equal(await client.echo("x"), "x");
  },
});

Deno.test("a node whose record cannot be renewed reports it as a problem", async () => {
  const folder = await Deno.makeTempDir({ prefix: "postern-nodes-" });
  const before = Deno.env.get("XDG_RUNTIME_DIR");
  Deno.env.set("XDG_RUNTIME_DIR", folder);
  try {
    const timers = new FakeTimers(), problems: unknown[] = [];
    const { promise: reported, resolve } = Promise.withResolvers<void>();
    const echo = contract({ echo: call<string, string>() });
    const onEvent = (event: NodeEvent): void => {
      if (event.kind !== "problem") return;
      problems.push(event.error);
      resolve();
    };
    await using _node = await new Node({ timers, onEvent }).serve(echo, memory(), { echo: (text) => text })
      .publish("ECHO").start();
    await Deno.chmod(`${folder}/postern`, 0o777);
    await timers.pass(5_000);
    await reported;
    await Deno.chmod(`${folder}/postern`, 0o700);
    assert.match(String(problems[0]), /its mode is 0777/);
  } finally {
    if (before === undefined) Deno.env.delete("XDG_RUNTIME_DIR");
    else Deno.env.set("XDG_RUNTIME_DIR", before);
    await Deno.remove(folder, { recursive: true });
  }
});

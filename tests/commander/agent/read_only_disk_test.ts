/** A host whose disk the kernel has made read-only after an error: just then somebody must be able to come in. */
import assert from "node:assert/strict";
import { SigningKey } from "../../../src/protocol/manage/signing_key.ts";
import { systemRandomBytes } from "../../../src/protocol/rpc/timers.ts";
import { mountObstacle, succeeds, unless } from "../../e2e/machine.ts";
import { until } from "../../e2e/until.ts";
import { joinedFolder, startAgent } from "./agent_under_test.ts";
import { StandInServer } from "./stand_in_server.ts";

const alice = await SigningKey.generate(systemRandomBytes);

Deno.test({
  ...unless(await mountObstacle(), "Agent starts and lets sessions begin on a disk that is read-only"),
  async fn(): Promise<void> {
    const server = await StandInServer.create();
    const folder = await joinedFolder(server), { path } = folder;
    await using undo = new AsyncDisposableStack();
    undo.defer(() => Deno.remove(path, { recursive: true }));
    (await folder.lock())[Symbol.dispose]();
    assert.ok(await succeeds("mount", ["--bind", path, path]));
    undo.defer(async () => assert.ok(await succeeds("umount", ["-l", path])));
    assert.ok(await succeeds("mount", ["-o", "remount,bind,ro", path]));
    await folder.create();
    using _lock = await folder.lock();
    await assert.rejects(folder.lock(), { hint: /another agent uses/ });
    const { agent, starters } = await startAgent(server, { folder });
    undo.defer(() => agent.stop());
    const { session } = await server.open(await server.linked(), alice, { action: "exec" });
    starters.begun[0]?.finish("done", 7);
    await until("its row is told", () => server.ended[0]?.session === session);
  },
});

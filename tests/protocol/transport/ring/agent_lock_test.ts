import assert from "node:assert/strict";
import { joinAgentLock, whenAgentGone } from "../../../../src/protocol/transport/ring/agent_lock.ts";
import { pairBytes, ringsIn } from "../../../../src/protocol/transport/ring/ring.ts";
import { SharedLink } from "../../../../src/protocol/transport/ring/shared_link.ts";

interface Locks {
  query(): Promise<{ held: { name: string }[]; pending: { name: string }[] }>;
}

/** How many locks of that agent are held and waited for. */
async function counts(agent: string): Promise<[number, number]> {
  const { held, pending } = await (navigator as unknown as { locks: Locks }).locks.query();
  const of = (list: { name: string }[]): number => list.filter(({ name }) => name.endsWith(agent)).length;
  return [of(held), of(pending)];
}

async function until(agent: string, expected: [number, number]): Promise<void> {
  for (let turn = 0; turn < 200; turn++) {
    const found = await counts(agent);
    if (found[0] === expected[0] && found[1] === expected[1]) return;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  assert.deepEqual(await counts(agent), expected);
}

Deno.test("joinAgentLock() holds one lock until the last part is given up, each only once", async () => {
  const [first, second] = await Promise.all([joinAgentLock(), joinAgentLock()]);
  assert.equal(first.agent, second.agent);
  assert.deepEqual(await counts(first.agent), [1, 0]);
  first.leave();
  first.leave();
  assert.deepEqual(await counts(first.agent), [1, 0]);
  second.leave();
  await until(first.agent, [0, 0]);
  const third = await joinAgentLock();
  assert.notEqual(third.agent, first.agent);
  third.leave();
  await until(third.agent, [0, 0]);
});

Deno.test("whenAgentGone() waits once for all, tells each who still wants to know, and stops with the last", async () => {
  const lock = await joinAgentLock();
  const told: string[] = [];
  const gone = Promise.withResolvers<void>();
  const stop = whenAgentGone(lock.agent, () => told.push("first"));
  whenAgentGone(lock.agent, () => {
    told.push("second");
    gone.resolve();
  });
  await until(lock.agent, [1, 1]);
  stop();
  assert.deepEqual(await counts(lock.agent), [1, 1]);
  lock.leave();
  await gone.promise;
  assert.deepEqual(told, ["second"]);

  const other = await joinAgentLock();
  const stopOther = whenAgentGone(other.agent, () => told.push("never"));
  await until(other.agent, [1, 1]);
  stopOther();
  await until(other.agent, [1, 0]);
  other.leave();
  await until(other.agent, [0, 0]);
  assert.deepEqual(told, ["second"]);
});

Deno.test("SharedLink.close() waits for the other side no more, and wakes who sleeps", async () => {
  const [incoming, outgoing] = ringsIn(new SharedArrayBuffer(pairBytes(4096)), 0, 4096);
  const other = await joinAgentLock();
  let left = 0;
  const lock = { agent: "", leave: (): void => void left++ };
  const link = new SharedLink({ incoming, outgoing, lock, otherAgent: other.agent });
  await until(other.agent, [1, 1]);
  link.close();
  assert.equal(left, 1);
  await until(other.agent, [1, 0]);
  assert.equal(link.gone, false);
  other.leave();
  await until(other.agent, [0, 0]);
});

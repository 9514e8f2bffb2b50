import assert from "node:assert/strict";
import type { HostLink, HostLinks } from "../../../src/server/manage/host_links.ts";
import { LatencyRounds } from "../../../src/server/manage/latency_rounds.ts";
import { FakeTimers } from "../../protocol/rpc/fake_timers.ts";

/** Hosts that count their pings. */
function hosts(
  count: number,
): { links: HostLinks; each: { host: HostLink; pings: number; isOnline: boolean }[] } {
  const each = Array.from({ length: count }, (_, number) => {
    const one = {
      pings: 0,
      isOnline: true,
      host: {
        keyHex: String(number),
        get isOnline(): boolean {
          return one.isOnline;
        },
        measure: () => Promise.resolve(one.pings++ === 0),
      } as unknown as HostLink,
    };
    return one;
  });
  const links = { get: (keyHex: string) => each[Number(keyHex)]?.host } as HostLinks;
  return { links, each };
}

Deno.test("LatencyRounds measures a newcomer soon, then not more than once a round", async () => {
  const timers = new FakeTimers();
  const { links, each } = hosts(50);
  let told = 0;
  const rounds = new LatencyRounds(links, timers, 20_000, () => told++);
  rounds.start();
  for (const { host } of each) rounds.add(host);
  assert.ok(each.every(({ pings }) => pings === 0));
  await timers.pass(2_000);
  assert.ok(each.every(({ pings }) => pings === 1));
  assert.equal(told, 50);
  await timers.pass(18_000);
  assert.ok(each.every(({ pings }) => pings === 1));
  await timers.pass(3_000);
  assert.ok(each.every(({ pings }) => pings === 2));
  await timers.pass(40_000);
  assert.ok(each.every(({ pings }) => pings >= 3 && pings <= 4));
  assert.equal(told, 50);
  rounds.stop();
  assert.equal(timers.pending, 0);
});

Deno.test("LatencyRounds forgets a host that is offline when its turn comes", async () => {
  const timers = new FakeTimers();
  const { links, each } = hosts(1);
  const [one] = each;
  assert.ok(one !== undefined);
  const rounds = new LatencyRounds(links, timers, 10_000, () => {});
  rounds.start();
  rounds.add(one.host);
  one.isOnline = false;
  await timers.pass(5_000);
  one.isOnline = true;
  await timers.pass(100_000);
  assert.equal(one.pings, 0);
  rounds.stop();
});

import assert from "node:assert/strict";
import fc from "fast-check";
import { Deadlines, type Expiring } from "../../../src/protocol/rpc/deadlines.ts";
import type { Timers } from "../../../src/protocol/rpc/timers.ts";
import { holds } from "../../property.ts";

/** One alarm at a time, let off by hand. */
class OneAlarm implements Timers {
  nowMs = 0;
  alarms: { readonly atMs: number; readonly act: () => void }[] = [];

  monotonicMs(): number {
    return this.nowMs;
  }

  after(delayMs: number, act: () => void): () => void {
    const alarm = { atMs: this.nowMs + delayMs, act };
    this.alarms.push(alarm);
    assert(this.alarms.length <= 1, "more than one timer is set");
    return () => {
      this.alarms = this.alarms.filter((other) => other !== alarm);
    };
  }

  pass(ms: number): void {
    const endMs = this.nowMs + ms;
    for (let alarm = this.alarms[0]; alarm !== undefined && alarm.atMs <= endMs; alarm = this.alarms[0]) {
      this.alarms.shift();
      this.nowMs = Math.max(this.nowMs, alarm.atMs);
      alarm.act();
    }
    this.nowMs = endMs;
  }
}

Deno.test("Deadlines expire in time and in order, and only those that were not taken out", () => {
  const step = fc.oneof(
    fc.record({ what: fc.constant("add" as const), n: fc.nat(100) }),
    fc.record({ what: fc.constant("remove" as const), n: fc.nat(50) }),
    fc.record({ what: fc.constant("pass" as const), n: fc.nat(30) }),
  );
  holds(fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
    const timers = new OneAlarm(), deadlines = new Deadlines(timers);
    const all: (Expiring & { expiredMs: number | null; removed: boolean })[] = [];
    let latestMs = 0;
    for (const { what, n } of steps) {
      if (what === "add") {
        const entry = {
          expiresMs: timers.nowMs + n,
          place: -1,
          expiredMs: null as number | null,
          removed: false,
          expire(): void {
            assert(this.expiresMs >= latestMs, "out of order");
            latestMs = this.expiresMs;
            this.expiredMs = timers.nowMs;
          },
        };
        all.push(entry);
        latestMs = Math.min(latestMs, entry.expiresMs);
        deadlines.add(entry);
      } else if (what === "remove") {
        const entry = all[n];
        if (entry !== undefined) {
          entry.removed ||= entry.expiredMs === null;
          deadlines.remove(entry);
        }
      } else {
        timers.pass(n);
      }
      const open = all.filter(({ removed, expiredMs }) => !removed && expiredMs === null);
      assert.equal(deadlines.size, open.length);
    }
    timers.pass(1000);
    for (const { expiresMs, expiredMs, removed } of all) assert.equal(expiredMs, removed ? null : expiresMs);
    assert.equal(timers.alarms.length, 0);
  }));
});

Deno.test("Deadlines set no new timer for a later deadline, and none stays after clear()", () => {
  const timers = new OneAlarm(), deadlines = new Deadlines(timers);
  const entry = (expiresMs: number): Expiring => ({ expiresMs, place: -1, expire: () => {} });
  const first = entry(10);
  deadlines.add(first);
  const [alarm] = timers.alarms;
  deadlines.remove(first);
  deadlines.add(entry(20));
  assert.equal(timers.alarms[0], alarm);
  deadlines.clear();
  assert.deepEqual([timers.alarms.length, deadlines.size], [0, 0]);
});

Deno.test("Deadlines keep their order whichever are taken out", () => {
  const times = fc.array(fc.nat(1000), { minLength: 20, maxLength: 60 });
  holds(fc.property(times, fc.array(fc.nat(59), { maxLength: 15 }), (delays, removals) => {
    const timers = new OneAlarm(), deadlines = new Deadlines(timers), order: number[] = [];
    const all = delays.map((expiresMs) => {
      const entry: Expiring = { expiresMs, place: -1, expire: () => order.push(expiresMs) };
      deadlines.add(entry);
      return entry;
    });
    const removed = new Set(removals.flatMap((index) => all[index] ?? []));
    for (const entry of removed) deadlines.remove(entry);
    timers.pass(2000);
    const left = all.filter((entry) => !removed.has(entry)).map(({ expiresMs }) => expiresMs);
    assert.deepEqual(order, left.sort((a, b) => a - b));
    assert(all.every(({ place }) => place === -1));
  }));
});

import assert from "node:assert/strict";
import fc from "fast-check";
import type { CommandSpec, LeaseTerms } from "../../../src/commander/knock/command_spec.ts";
import {
  isDueByDate,
  type Lease,
  leaseKey,
  Leases,
  LeasesFull,
  type Moment,
  newLease,
  renewedLease,
  repeatedLease,
  undoRetryMs,
} from "../../../src/commander/knock/leases.ts";
import { type IpAddress, parseIp } from "../../../src/protocol/knock/address.ts";
import { holds } from "../../property.ts";

const ip = parseIp("198.41.0.4");
const other = parseIp("2606:4700::1");
const MINUTE = 60_000;
const YEAR = 365 * 24 * 60 * MINUTE;
const RUN_ID = "ab".repeat(16);
const T0 = Date.UTC(2026, 10, 21);
const terms: LeaseTerms = { undo: "close", undoAfterMs: MINUTE, onRenew: "keep" };
const spec: CommandSpec = {
  name: "open",
  hash: 1n,
  cmd: "open",
  timeoutMs: 5000,
  cooldownMs: 0,
  concurrency: 1,
  lease: terms,
};

function lease(at: number = T0, who: IpAddress = ip): Lease {
  return newLease(spec, terms, who, at, RUN_ID);
}

/** Leases of the command `open` alone, loaded at T0. */
function leasesOf(maxLeases: number, initial: Lease[] = []): Leases {
  return new Leases({ maxLeases, commands: ["open"], now: at(T0) }, initial);
}

/** Some time of the wall clock, with a monotonic clock that stands still unless told otherwise. */
function at(wallMs: number, monotonicMs = 0): Moment {
  return { wallMs, monotonicMs };
}

Deno.test("newLease() holds all that its undo needs", () => {
  assert.deepEqual(lease(), {
    command: "open",
    ip,
    undo: "close",
    undoTimeoutMs: 5000,
    undoAfterMs: MINUTE,
    dueAtMs: T0 + MINUTE,
    applied: false,
    undoFailures: 0,
    runId: RUN_ID,
  });
});

Deno.test("isDueByDate() follows the date, and closes when the clock was set back behind the start", () => {
  const script: [string, number, boolean][] = [
    ["at once", T0, false],
    ["just before", T0 + MINUTE - 1, false],
    ["on the date", T0 + MINUTE, true],
    ["after suspend", T0 + YEAR, true],
    ["clock one tick before the start", T0 - 1, true],
    ["clock back an hour", T0 - 60 * MINUTE, true],
    ["boot in 1970", 0, true],
  ];
  for (const [what, wallMs, expected] of script) assert.equal(isDueByDate(lease(), wallMs), expected, what);
});

Deno.test("isDueByDate() never lets a lease last longer than undo_after_sec by any clock that only goes on", () => {
  holds(
    fc.property(fc.integer({ min: 0, max: 2 * T0 }), fc.integer({ min: 0, max: T0 }), (startMs, laterMs) => {
      assert.equal(
        isDueByDate(lease(T0), startMs) || isDueByDate(lease(T0), startMs + MINUTE + laterMs),
        true,
      );
    }),
  );
});

Deno.test("Leases.isRenewable() is for a lease whose command succeeded and that is not due", () => {
  const applied = { ...lease(), applied: true };
  const leases = leasesOf(10, [applied]);
  assert.equal(leases.isRenewable(undefined, at(T0)), false);
  assert.equal(leases.isRenewable(lease(), at(T0)), false, "its command may never have run");
  assert.equal(leases.isRenewable(applied, at(T0)), true);
  assert.equal(leases.isRenewable(applied, at(T0 + MINUTE)), false, "its undo may already be running");
  assert.equal(leases.isRenewable(applied, at(0)), false);
  assert.equal(leases.isRenewable(applied, at(T0, MINUTE)), false);
});

Deno.test("renewedLease() moves the date and keeps the undo of what really ran", () => {
  const old: Lease = { ...lease(), applied: true, undoFailures: 3 };
  for (const onRenew of ["keep", "run"] as const) {
    const changed: LeaseTerms = { undo: "close differently", undoAfterMs: 2 * MINUTE, onRenew };
    assert.deepEqual(renewedLease(old, changed, T0 + 1000), {
      ...old,
      undoAfterMs: 2 * MINUTE,
      dueAtMs: T0 + 1000 + 2 * MINUTE,
      undoFailures: 0,
    });
  }
});

Deno.test("repeatedLease() is due after the time limit, also when that is longer than the lease was", () => {
  const repeated = repeatedLease({ ...lease(), applied: true, undoTimeoutMs: 3 * MINUTE }, T0);
  assert.equal(isDueByDate(repeated, T0), false);
  assert.equal(isDueByDate(repeated, T0 + 3 * MINUTE - 1), false);
  assert.equal(isDueByDate(repeated, T0 + 3 * MINUTE), true);
  assert.equal(repeated.applied, false, "a knock must run the command");
  assert.equal(repeated.runId, null);
});

Deno.test("Leases.due() gives what is due", () => {
  const leases = leasesOf(10, [lease(T0 - 1000), lease(T0, other)]);
  assert.deepEqual(leases.due(at(T0 + MINUTE - 1001)), []);
  assert.deepEqual(leases.due(at(T0 + MINUTE - 1000)).map((due) => due.ip), [ip]);
  assert.deepEqual(leases.due(at(T0 + MINUTE)).map((due) => due.ip), [ip, other]);
  assert.deepEqual(leases.due(at(0)).map((due) => due.ip), [ip, other]);
  assert.deepEqual(leasesOf(10, [lease(T0 + 1000)]).due(at(T0)).length, 1, "loaded after a step back");
});

Deno.test("Leases.due() ends a lease by whichever clock says so first", () => {
  holds(fc.property(
    fc.array(
      fc.record({ passMs: fc.nat(MINUTE / 2), stepMs: fc.integer({ min: -2 * MINUTE, max: MINUTE }) }),
    ),
    (steps) => {
      const leases = leasesOf(10);
      leases.start(lease(), 0);
      let [wallMs, monotonicMs] = [T0, 0];
      for (const { passMs, stepMs } of steps) {
        wallMs += passMs + stepMs;
        monotonicMs += passMs;
        const isOver = monotonicMs >= MINUTE || isDueByDate(lease(), wallMs);
        assert.equal(leases.due(at(wallMs, monotonicMs)).length === 1, isOver);
        assert.equal(leases.nextDueInMs(at(wallMs, monotonicMs), new Set()) === 0, isOver);
      }
    },
  ));
});

Deno.test("Leases.start() gives a renewed lease a new deadline, and a loaded one has what its date leaves", () => {
  const leases = leasesOf(10, [lease(T0 - MINUTE / 2)]);
  const late = at(T0, MINUTE / 2 - 1);
  assert.deepEqual(leases.due(late), []);
  assert.equal(leases.nextDueInMs(late, new Set()), 1);
  assert.equal(leases.due(at(T0, MINUTE / 2)).length, 1);
  leases.start(lease(T0), MINUTE / 2);
  assert.equal(leases.nextDueInMs(at(T0, MINUTE / 2), new Set()), MINUTE);
});

Deno.test("Leases.undoFailed() waits longer each time, by the monotonic clock, and a renewal forgets it", () => {
  const leases = leasesOf(10, [lease()]);
  let monotonicMs = 0;
  const waits: number[] = [];
  for (let i = 0; i < 12; i++) {
    const current = leases.find(lease());
    assert.ok(current !== undefined);
    const retryInMs = leases.undoFailed(current, monotonicMs);
    waits.push(retryInMs);
    assert.deepEqual(leases.due(at(T0 + YEAR, monotonicMs + retryInMs - 1)), [], "a wall clock far ahead");
    monotonicMs += retryInMs;
    assert.equal(leases.due(at(T0 + YEAR, monotonicMs))[0]?.undoFailures, i + 1);
  }
  assert.deepEqual(waits.slice(0, 4), [1000, 2000, 4000, 8000]);
  assert.equal(waits.at(-1), 10 * MINUTE);
  leases.undoFailed(lease(), monotonicMs);
  leases.start(lease(T0 + MINUTE), monotonicMs);
  assert.equal(
    leases.due(at(T0 + YEAR, monotonicMs)).length,
    1,
    "a fresh lease does not wait for an old retry",
  );
});

Deno.test("undoRetryMs() stays finite after very many failures", () => {
  assert.equal(undoRetryMs(100_000), 10 * MINUTE);
});

Deno.test("Leases.nextDueInMs() is the time to the next undo, leaving out those at work", () => {
  const leases = leasesOf(10);
  assert.equal(leases.nextDueInMs(at(T0), new Set()), null);
  leases.start(lease(), 0);
  leases.start(lease(T0 + 1000, other), 1000);
  assert.equal(leases.nextDueInMs(at(T0 + 1000, 1000), new Set()), MINUTE - 1000);
  assert.equal(leases.nextDueInMs(at(T0 + 1000, 1000), new Set([leaseKey(lease())])), MINUTE);
  assert.equal(leases.nextDueInMs(at(0, 1000), new Set()), 0);
  leases.undoFailed(lease(), 0);
  assert.equal(leases.nextDueInMs(at(T0 + MINUTE), new Set([leaseKey(lease(T0, other))])), 1000);
});

Deno.test("Leases.start() counts pairs of command and address, and takes over more than the limit", () => {
  const leases = leasesOf(1);
  leases.start(lease(), 0);
  leases.start(lease(T0 + 5), 0);
  assert.equal(leases.size, 1);
  assert.throws(() => leases.start(lease(T0, other), 0), LeasesFull);
  assert.equal(leases.size, 1);
  leases.delete(lease());
  leases.start(lease(T0, other), 0);
  assert.equal(leasesOf(1, [lease(), lease(T0, other)]).size, 2);
});

Deno.test("Leases.hasRoomFor() keeps a share for each command whatever the others do, within the limit", () => {
  const commands = ["a", "b", "c"];
  const step = fc.record({
    command: fc.constantFrom(...commands),
    n: fc.nat(30),
    isEnd: fc.boolean(),
  });
  holds(fc.property(fc.nat(20), fc.array(step, { maxLength: 200 }), (maxLeases, steps) => {
    const leases = new Leases({ maxLeases, commands, now: at(T0) });
    const share = Math.floor(maxLeases / commands.length);
    for (const { command, n, isEnd } of steps) {
      const each = { ...lease(T0, parseIp(`198.41.0.${n}`)), command };
      const used = leases.all().filter((held) => held.command === command).length;
      if (isEnd) leases.delete(each);
      else if (leases.hasRoomFor(each)) leases.start(each, 0);
      else assert.ok(used >= share, `${command} holds ${used} of ${share}`);
      assert.ok(leases.size <= maxLeases);
    }
  }));
});

Deno.test("Leases.hasRoomFor() lets one command have all that is nobody's share", () => {
  const leases = new Leases({ maxLeases: 7, commands: ["open", "b", "c"], now: at(T0) });
  let count = 0;
  for (; leases.hasRoomFor({ command: "open", ip: parseIp(`198.41.0.${count}`) }); count++) {
    leases.start(lease(T0, parseIp(`198.41.0.${count}`)), 0);
  }
  assert.equal(count, 3, "its own two, and the seventh");
});

Deno.test("Leases.hasRoomFor() keeps the shares though leases of commands that are gone fill the room", () => {
  const gone = Array.from({ length: 4 }, (_, n): Lease => ({
    ...lease(T0, parseIp(`198.41.1.${n}`)),
    command: "gone",
  }));
  const leases = new Leases({ maxLeases: 4, commands: ["open", "b"], now: at(T0) }, gone);
  leases.start(lease(), 0);
  leases.start(lease(T0, other), 0);
  assert.equal(leases.hasRoomFor(lease(T0, parseIp("198.41.0.9"))), false);
  assert.equal(leases.hasRoomFor({ command: "gone", ip: parseIp("198.41.0.9") }), false);
});

Deno.test("leaseKey() never gives two pairs one name", () => {
  holds(fc.property(fc.string(), fc.string(), fc.boolean(), (a, b, sameIp) => {
    const second = sameIp ? ip : other;
    assert.equal(
      leaseKey({ command: a, ip }) === leaseKey({ command: b, ip: second }),
      a === b && sameIp,
    );
  }));
});

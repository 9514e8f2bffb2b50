import assert from "node:assert/strict";
import fc from "fast-check";
import type { CommandSpec, LeaseTerms } from "../../../src/commander/knock/command_spec.ts";
import {
  isDue,
  isRenewable,
  type Lease,
  leaseKey,
  Leases,
  LeasesFull,
  newLease,
  renewedLease,
  undoRetryMs,
} from "../../../src/commander/knock/leases.ts";
import { type IpAddress, parseIp } from "../../../src/protocol/knock/address.ts";
import { holds } from "../../property.ts";

const ip = parseIp("198.41.0.4");
const other = parseIp("2606:4700::1");
const MINUTE = 60_000;
const YEAR = 365 * 24 * 60 * MINUTE;
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
  return newLease(spec, terms, who, at);
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
  });
});

Deno.test("isDue() follows the date, and closes when the clock was set back behind the start", () => {
  const script: [string, number, boolean][] = [
    ["at once", T0, false],
    ["just before", T0 + MINUTE - 1, false],
    ["on the date", T0 + MINUTE, true],
    ["after suspend", T0 + YEAR, true],
    ["clock one tick before the start", T0 - 1, true],
    ["clock back an hour", T0 - 60 * MINUTE, true],
    ["boot in 1970", 0, true],
  ];
  for (const [what, wallMs, expected] of script) assert.equal(isDue(lease(), wallMs), expected, what);
});

Deno.test("isDue() never lets a lease last longer than undo_after_sec by any clock that only goes on", () => {
  holds(
    fc.property(fc.integer({ min: 0, max: 2 * T0 }), fc.integer({ min: 0, max: T0 }), (startMs, laterMs) => {
      assert.equal(isDue(lease(T0), startMs) || isDue(lease(T0), startMs + MINUTE + laterMs), true);
    }),
  );
});

Deno.test("isRenewable() is for a lease whose command succeeded and that is not due", () => {
  const applied = { ...lease(), applied: true };
  assert.equal(isRenewable(undefined, T0), false);
  assert.equal(isRenewable(lease(), T0), false, "its command may never have run");
  assert.equal(isRenewable(applied, T0), true);
  assert.equal(isRenewable(applied, T0 + MINUTE), false, "its undo may already be running");
  assert.equal(isRenewable(applied, 0), false);
});

Deno.test("renewedLease() moves the date and keeps the undo of what really ran", () => {
  const changed: LeaseTerms = { undo: "close differently", undoAfterMs: 2 * MINUTE, onRenew: "keep" };
  const old: Lease = { ...lease(), applied: true, undoFailures: 3 };
  const renewed = renewedLease(old, changed, T0 + 1000);
  assert.deepEqual(renewed, {
    ...old,
    undoAfterMs: 2 * MINUTE,
    dueAtMs: T0 + 1000 + 2 * MINUTE,
    undoFailures: 0,
  });
  assert.equal(renewedLease(old, { ...changed, onRenew: "run" }, T0).undo, "close differently");
});

Deno.test("Leases.due() gives what is due and not waiting for a retry", () => {
  const leases = new Leases(10, [lease(), lease(T0 + 1000, other)]);
  assert.deepEqual(leases.due(T0 + MINUTE - 1, 0), []);
  assert.deepEqual(leases.due(T0 + MINUTE, 0).map((due) => due.ip), [ip]);
  assert.deepEqual(leases.due(T0 + MINUTE + 1000, 0).map((due) => due.ip), [ip, other]);
  assert.deepEqual(leases.due(0, 0).map((due) => due.ip), [ip, other]);
});

Deno.test("Leases.undoFailed() waits longer each time, by the monotonic clock, and a renewal forgets it", () => {
  const leases = new Leases(10, [lease()]);
  let monotonicMs = 0;
  const waits: number[] = [];
  for (let i = 0; i < 12; i++) {
    const current = leases.find(lease());
    assert.ok(current !== undefined);
    const failed = leases.undoFailed(current, monotonicMs);
    leases.put(failed.lease);
    waits.push(failed.retryInMs);
    assert.deepEqual(leases.due(T0 + YEAR, monotonicMs + failed.retryInMs - 1), [], "a wall clock far ahead");
    monotonicMs += failed.retryInMs;
    assert.equal(leases.due(T0 + YEAR, monotonicMs).length, 1);
    assert.equal(leases.due(T0 + MINUTE, monotonicMs)[0]?.undoFailures, i + 1);
  }
  assert.deepEqual(waits.slice(0, 4), [1000, 2000, 4000, 8000]);
  assert.equal(waits.at(-1), 10 * MINUTE);
  leases.undoFailed(lease(), monotonicMs);
  leases.put(lease(T0 + MINUTE));
  assert.equal(leases.due(T0 + YEAR, monotonicMs).length, 1, "a fresh lease does not wait for an old retry");
});

Deno.test("undoRetryMs() stays finite after very many failures", () => {
  assert.equal(undoRetryMs(100_000), 10 * MINUTE);
});

Deno.test("Leases.nextDueInMs() is the time to the next undo, leaving out those at work", () => {
  const leases = new Leases(10);
  assert.equal(leases.nextDueInMs(T0, 0, new Set()), null);
  leases.put(lease());
  leases.put(lease(T0 + 1000, other));
  assert.equal(leases.nextDueInMs(T0 + 1000, 0, new Set()), MINUTE - 1000);
  assert.equal(leases.nextDueInMs(T0 + 1000, 0, new Set([leaseKey(lease())])), MINUTE);
  assert.equal(leases.nextDueInMs(0, 0, new Set()), 0);
  leases.undoFailed(lease(), 0);
  assert.equal(leases.nextDueInMs(T0 + MINUTE, 0, new Set([leaseKey(lease(T0, other))])), 1000);
});

Deno.test("Leases.put() counts pairs of command and address, and takes over more than the limit", () => {
  const leases = new Leases(1);
  leases.put(lease());
  leases.put(lease(T0 + 5));
  assert.equal(leases.size, 1);
  assert.throws(() => leases.put(lease(T0, other)), LeasesFull);
  assert.equal(leases.size, 1);
  leases.delete(lease());
  leases.put(lease(T0, other));
  assert.equal(new Leases(1, [lease(), lease(T0, other)]).size, 2);
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

import assert from "node:assert/strict";
import fc from "fast-check";
import {
  ClockCounter,
  formatCounterTime,
  MAX_COUNTER,
  nextCounter,
} from "../../../src/client/knock/counter.ts";
import { Failure } from "../../../src/system/failure.ts";
import { holds } from "../../property.ts";

const NOW = 1_795_254_818_000_000_000n;
const HOUR = 3_600_000_000_000n;

Deno.test("nextCounter() is now if there is none yet, or the stored one lies in the past", () => {
  assert.deepEqual(nextCounter(null, NOW), { counter: NOW, warning: null });
  assert.deepEqual(nextCounter(NOW - 1n, NOW), { counter: NOW, warning: null });
  assert.deepEqual(nextCounter(0n, NOW), { counter: NOW, warning: null });
});

Deno.test("nextCounter() is one more than the stored one when the clock stands still or went back", () => {
  assert.deepEqual(nextCounter(NOW, NOW), { counter: NOW + 1n, warning: null });
  assert.deepEqual(nextCounter(NOW + 60n, NOW), { counter: NOW + 61n, warning: null });
});

Deno.test("nextCounter() warns of a counter more than an hour ahead, with both times and the way out", () => {
  assert.equal(nextCounter(NOW + HOUR, NOW).warning, null);
  const { counter, warning } = nextCounter(NOW + HOUR + 1n, NOW);
  assert.equal(counter, NOW + HOUR + 2n);
  assert(warning !== null);
  for (const part of ["2026-11-21T10:53:38Z", "2026-11-21T09:53:38Z", "postern client reseed"]) {
    assert(warning.includes(part), warning);
  }
});

Deno.test("nextCounter() refuses to go beyond the largest counter", () => {
  assert.equal(nextCounter(MAX_COUNTER - 1n, NOW).counter, MAX_COUNTER);
  assert.throws(
    () => nextCounter(MAX_COUNTER, NOW),
    (error) => error instanceof Failure && error.hint?.includes("postern client reseed") === true,
  );
});

Deno.test("nextCounter() is always above the stored one and never behind the clock", () => {
  holds(fc.property(fc.bigInt(0n, MAX_COUNTER - 1n), fc.bigInt(0n, 2n ** 64n), (stored, now) => {
    const { counter } = nextCounter(stored, now);
    assert(counter > stored && counter >= now && (counter === stored + 1n || counter === now));
  }));
});

Deno.test("formatCounterTime() gives the bare number beyond what a date can hold", () => {
  assert.equal(formatCounterTime(0n), "1970-01-01T00:00:00Z");
  assert.equal(formatCounterTime(MAX_COUNTER), String(MAX_COUNTER));
});

Deno.test("ClockCounter.next() rises strictly while the clock stands still and goes back", async () => {
  let now = NOW;
  const counter = new ClockCounter({ wallNs: () => now, wallMs: () => 0, monotonicMs: () => 0 });
  const given: bigint[] = [];
  for (const step of [0n, 0n, 5n, -100n, 0n, 1000n]) {
    now += step;
    given.push((await counter.next()).counter);
  }
  assert.deepEqual(given, [NOW, NOW + 1n, NOW + 5n, NOW + 6n, NOW + 7n, NOW + 905n]);
});

Deno.test("ClockCounter.peek() uses nothing up", async () => {
  const counter = new ClockCounter({ wallNs: () => NOW, wallMs: () => 0, monotonicMs: () => 0 });
  assert.equal((await counter.peek()).counter, NOW);
  assert.equal((await counter.next()).counter, NOW);
  assert.equal((await counter.peek()).counter, NOW + 1n);
});

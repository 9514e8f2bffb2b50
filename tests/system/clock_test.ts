import assert from "node:assert/strict";
import { systemClock } from "../../src/system/clock.ts";

Deno.test("systemClock.wallNs() lies within the millisecond that wallMs() shows", () => {
  const beforeMs = systemClock.wallMs();
  const ns = systemClock.wallNs();
  const afterMs = systemClock.wallMs();
  const ms = Number(ns / 1_000_000n);
  assert.ok(beforeMs <= ms && ms <= afterMs, `${beforeMs} <= ${ms} <= ${afterMs}`);
});

Deno.test("systemClock.monotonicMs() never goes back", () => {
  let last = systemClock.monotonicMs();
  for (let i = 0; i < 1000; i++) {
    const now = systemClock.monotonicMs();
    assert.ok(now >= last);
    last = now;
  }
});

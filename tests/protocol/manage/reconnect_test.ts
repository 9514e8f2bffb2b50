import assert from "node:assert/strict";
import fc from "fast-check";
import { nextAttemptDelayMs } from "../../../src/protocol/manage/reconnect.ts";
import { holds } from "../../property.ts";

const MINUTE_MS = 60_000;
const fraction = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });

Deno.test("nextAttemptDelayMs() is nothing for the first attempt, whatever time it is", () => {
  for (const outageMs of [0, 5, 60 * MINUTE_MS]) {
    assert.equal(nextAttemptDelayMs({ attempt: 0, outageMs, random: () => 0.999 }), 0);
  }
});

Deno.test("nextAttemptDelayMs() has full jitter up to 10 s in the first ten minutes, then up to 60 s", () => {
  const at = (outageMs: number, random: number): number =>
    nextAttemptDelayMs({ attempt: 1, outageMs, random: () => random });
  assert.deepEqual([at(0, 0), at(0, 0.5), at(10 * MINUTE_MS - 1, 0.5)], [0, 5_000, 5_000]);
  assert.deepEqual([at(10 * MINUTE_MS, 0), at(10 * MINUTE_MS, 0.5), at(1e12, 0.5)], [0, 30_000, 30_000]);
  holds(fc.property(fc.integer({ min: 1, max: 1e6 }), fc.nat(), fraction, (attempt, outageMs, random) => {
    const delayMs = nextAttemptDelayMs({ attempt, outageMs, random: () => random });
    assert(delayMs >= 0 && delayMs < (outageMs < 10 * MINUTE_MS ? 10_000 : 60_000));
  }));
});

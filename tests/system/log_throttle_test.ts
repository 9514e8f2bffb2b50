import assert from "node:assert/strict";
import { LogThrottle } from "../../src/system/log.ts";

const PER_KEY = { burst: 5, perMs: 10_000 };

Deno.test("LogThrottle.take() lets a burst through, then one line per period with the number it kept back", () => {
  const throttle = new LogThrottle({ perKey: PER_KEY, maxKeys: 10 });
  const first = Array.from({ length: 8 }, () => throttle.take("replayed", 0));
  assert.deepEqual(first.map((taken) => taken.log), [true, true, true, true, true, false, false, false]);
  assert.deepEqual(throttle.take("replayed", 9_999), { log: false, suppressed: 4 });
  assert.deepEqual(throttle.take("replayed", 10_000), { log: true, suppressed: 4 });
  assert.deepEqual(throttle.take("replayed", 10_001), { log: false, suppressed: 1 });
  assert.deepEqual(throttle.take("length", 10_001), { log: true, suppressed: 0 });
});

Deno.test("LogThrottle.take() gives ever new keys one shared allowance, not a new burst each", () => {
  const throttle = new LogThrottle({ perKey: PER_KEY, maxKeys: 100 });
  let lines = 0;
  for (let i = 0; i < 100_000; i++) {
    if (throttle.take(`key ${i}`, i / 1000).log) lines++;
  }
  assert.equal(lines, 100 + PER_KEY.burst);
});

Deno.test("LogThrottle.take() forgets a key once its allowance is full again", () => {
  const throttle = new LogThrottle({ perKey: PER_KEY, maxKeys: 1 });
  assert.equal(throttle.take("a", 0).log, true);
  assert.equal(throttle.take("b", 10_000).log, true);
  for (let i = 0; i < 4; i++) assert.equal(throttle.take("b", 10_000).log, true);
  assert.equal(throttle.take("b", 10_000).log, false);
});

Deno.test("LogThrottle.take() does not refill when the clock goes back", () => {
  const throttle = new LogThrottle({ perKey: { burst: 1, perMs: 10 }, maxKeys: 1 });
  assert.equal(throttle.take("a", 1000).log, true);
  assert.equal(throttle.take("a", 0).log, false);
  assert.equal(throttle.take("a", 1009).log, false);
  assert.equal(throttle.take("a", 1010).log, true);
});

import assert from "node:assert/strict";
import { ByteRate } from "../../../src/server/relay/byte_rate.ts";
import { FakeTimers, settled } from "../../protocol/rpc/fake_timers.ts";

/** Reads whatever it may, always, and counts. */
async function readOn(rate: ByteRate, isDone: () => boolean, count: (bytes: number) => void): Promise<void> {
  while (!isDone()) {
    const bytes = await rate.room();
    if (isDone()) return;
    rate.spend(bytes);
    count(bytes);
  }
}

for (const bytesPerSecond of [1, 3, 1000, 10_000_000]) {
  Deno.test(`room() lets ${bytesPerSecond} bytes a second go, and a quarter of a second's at once`, async () => {
    const timers = new FakeTimers();
    const rate = new ByteRate(bytesPerSecond, timers);
    let isDone = false;
    let sum = 0;
    const reading = readOn(rate, () => isDone, (bytes) => sum += bytes);
    await settled();
    assert.equal(sum, Math.max(1, Math.floor(bytesPerSecond / 4)));
    await timers.pass(4000);
    const expected = 4 * bytesPerSecond;
    assert(sum >= 0.98 * expected && sum <= expected + bytesPerSecond / 4 + 1, `${sum} bytes`);
    isDone = true;
    rate.close();
    await reading;
    assert.equal(timers.pending, 0);
  });
}

Deno.test("room() makes what was too much be waited for", async () => {
  const timers = new FakeTimers();
  const rate = new ByteRate(1000, timers);
  // Two directions read at the same time.
  assert.deepEqual(await Promise.all([rate.room(), rate.room()]), [250, 250]);
  rate.spend(250);
  rate.spend(250);
  let went = 0;
  void rate.room().then((bytes) => went = bytes);
  await timers.pass(299);
  assert.equal(went, 0);
  await timers.pass(1);
  assert.equal(went, 50);
});

Deno.test("room() saves up no more than a quarter of a second's bytes", async () => {
  const timers = new FakeTimers();
  const rate = new ByteRate(1000, timers);
  await timers.pass(3_600_000);
  assert.equal(await rate.room(), 250);
});

Deno.test("close() ends every wait", async () => {
  const timers = new FakeTimers();
  const rate = new ByteRate(1, timers);
  rate.spend(1_000_000);
  const waiting = Promise.all([rate.room(), rate.room()]);
  await settled();
  rate.close();
  await waiting;
  await rate.room();
  assert.equal(timers.pending, 0);
});

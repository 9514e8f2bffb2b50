import assert from "node:assert/strict";
import { Challenges, MAX_CHALLENGES } from "../../../src/commander/agent/open_check.ts";
import { systemRandomBytes } from "../../../src/protocol/rpc/timers.ts";

/** Challenges on a clock that the test sets. */
function challenges(): { store: Challenges; at(ms: number): void } {
  let nowMs = 0;
  const store = new Challenges({ monotonicMs: () => nowMs }, systemRandomBytes);
  return { store, at: (ms) => void (nowMs = ms) };
}

Deno.test("Challenges are good once", () => {
  const { store } = challenges();
  const challenge = store.give();
  assert.equal(challenge.length, 16);
  assert.equal(store.take(challenge, 30_000), null);
  assert.equal(store.take(challenge, 30_000), "unknown");
});

Deno.test("Challenges of another link, or made up, are not known", () => {
  const here = challenges().store, there = challenges().store;
  assert.equal(here.take(there.give(), 30_000), "unknown");
  assert.equal(here.take(new Uint8Array(16), 30_000), "unknown");
});

Deno.test("Challenges are good for 30 s, or for less where the open says so, and never for more", () => {
  for (
    const [expiresMs, ageMs, fault] of [
      [30_000, 30_000, null],
      [30_000, 30_001, "late"],
      [1_000, 1_000, null],
      [1_000, 1_001, "late"],
      [4_000_000_000, 30_001, "late"],
    ] as const
  ) {
    const { store, at } = challenges();
    const challenge = store.give();
    at(ageMs);
    assert.equal(store.take(challenge, expiresMs), fault, `${expiresMs} ${ageMs}`);
    assert.equal(store.take(challenge, expiresMs), "unknown");
  }
});

Deno.test("Challenges are bounded: one too many takes the place of the oldest, old ones go by themselves", () => {
  const { store, at } = challenges();
  const first = store.give(), second = store.give();
  for (let given = 2; given <= MAX_CHALLENGES; given++) store.give();
  assert.equal(store.count, MAX_CHALLENGES);
  assert.equal(store.take(first, 30_000), "unknown");
  assert.equal(store.take(second, 30_000), null);
  at(30_001);
  store.give();
  assert.equal(store.count, 1);
});

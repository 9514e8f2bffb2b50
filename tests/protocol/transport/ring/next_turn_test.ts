import assert from "node:assert/strict";
import { nextTurn } from "../../../../src/protocol/transport/ring/next_turn.ts";

/** Takes turns until a timer of 5 ms has fired, or for too long. */
async function turnsUntilTimer(turn: () => Promise<unknown>): Promise<boolean> {
  let isOver = false;
  // Repeated, because a turn without setImmediate does not keep the program alive.
  const timer = setInterval(() => {
    isOver = true;
  }, 5);
  const endMs = performance.now() + 5_000;
  while (!isOver && performance.now() < endMs) await turn();
  clearInterval(timer);
  return isOver;
}

Deno.test("nextTurn() lets timers have their turn, and is no microtask", async () => {
  let microtasks = 0;
  let isCounting = true;
  const count = (): void => {
    microtasks++;
    if (microtasks < 1_000) queueMicrotask(count);
    else isCounting = false;
  };
  queueMicrotask(count);
  await nextTurn();
  assert.equal(isCounting, false);
  assert.equal(await turnsUntilTimer(nextTurn), true);
});

Deno.test("nextTurn() does so without setImmediate too, as in a browser", async () => {
  const kept = Object.getOwnPropertyDescriptor(globalThis, "setImmediate");
  assert.ok(kept !== undefined);
  Reflect.deleteProperty(globalThis, "setImmediate");
  try {
    const path = "../../../../src/protocol/transport/ring/next_turn.ts?without-setImmediate";
    const inBrowser: typeof import("../../../../src/protocol/transport/ring/next_turn.ts") = await import(
      path
    );
    assert.notEqual(inBrowser.nextTurn, nextTurn);
    assert.equal(await turnsUntilTimer(inBrowser.nextTurn), true);
  } finally {
    Object.defineProperty(globalThis, "setImmediate", kept);
  }
});

import assert from "node:assert/strict";
import { CallIds } from "../../../src/protocol/rpc/call_ids.ts";

const NONE = new Set<number>();

Deno.test("CallIds counts the dialler's odd and the listener's even", () => {
  const dialler = new CallIds("dialler"), listener = new CallIds("listener");
  assert.deepEqual([dialler.next(NONE), dialler.next(NONE), dialler.next(NONE)], [1, 3, 5]);
  assert.deepEqual([listener.next(NONE), listener.next(NONE), listener.next(NONE)], [2, 4, 6]);
});

Deno.test("CallIds begins again after 2^32, without 0 and without ids that are still open", () => {
  const dialler = new CallIds("dialler", 0xffff_fffd), listener = new CallIds("listener", 0xffff_fffc);
  assert.deepEqual([dialler.next(NONE), dialler.next(new Set([1, 3])), dialler.next(NONE)], [
    0xffff_ffff,
    5,
    7,
  ]);
  assert.deepEqual([listener.next(NONE), listener.next(NONE), listener.next(NONE)], [0xffff_fffe, 2, 4]);
});

Deno.test("CallIds takes an id up to 2^30 ahead as new, beyond the end of the numbers too", () => {
  const ids = new CallIds("dialler", 0xffff_fff1);
  assert.equal(ids.use(5), true);
  assert.equal(ids.use(5), false);
  assert.equal(ids.use(0xffff_ffff), false);
  assert.equal(ids.use(5 + 2 ** 30), true);
  assert.equal(ids.use(5 + 2 ** 31 + 2), false);
  assert.equal(ids.use(8 + 2 ** 30), false);
});

Deno.test("CallIds tells ids of long ago from those that never were", () => {
  const ids = new CallIds("listener");
  assert.equal(ids.wasUsed(2), false);
  ids.next(NONE);
  ids.next(NONE);
  assert.deepEqual([2, 4, 6, 0, 1, 3, 0x8000_0000].map((id) => ids.wasUsed(id)), [
    true,
    true,
    false,
    false,
    false,
    false,
    false,
  ]);
});

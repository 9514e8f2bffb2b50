import assert from "node:assert/strict";
import { BufferPool } from "../../../src/server/relay/buffer_pool.ts";

Deno.test("BufferPool lends no more than it may, and again what was given back", () => {
  const pool = new BufferPool({ bufferBytes: 10, maxLent: 2, maxKept: 2 });
  const first = pool.lend(), second = pool.lend();
  assert(first !== null && second !== null && first !== second);
  assert.equal(first.length, 10);
  assert.equal(pool.lend(), null);
  pool.takeBack(first);
  assert.equal(pool.lend(), first);
  assert.equal(pool.lend(), null);
});

Deno.test("BufferPool keeps no more than it should", () => {
  const pool = new BufferPool({ bufferBytes: 10, maxLent: 3, maxKept: 1 });
  const all = [pool.lend(), pool.lend(), pool.lend()].filter((each) => each !== null);
  for (const each of all) pool.takeBack(each);
  const again = [pool.lend(), pool.lend(), pool.lend()];
  assert.equal(again.filter((each) => each !== null && all.includes(each)).length, 1);
  assert(!again.includes(null));
});

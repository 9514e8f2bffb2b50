import assert from "node:assert/strict";
import { BodyPool } from "../../../src/protocol/rpc/body_pool.ts";
import { lend, takeBack } from "../../../src/protocol/rpc/lent_memory.ts";

Deno.test("BodyPool keeps no more than it is allowed to, and lets the oldest sizes go first", () => {
  const pool = new BodyPool();
  const MIB = 1024 * 1024;
  for (let bytes = 1; bytes <= 40; bytes++) pool.give(new ArrayBuffer(MIB + bytes));
  assert(pool.keptBytes <= 16 * MIB && pool.keptBytes > 14 * MIB);
  pool.give(new ArrayBuffer(17 * MIB));
  assert(pool.keptBytes <= 16 * MIB);
  const before = pool.keptBytes;
  pool.take(MIB + 1);
  assert.equal(pool.keptBytes, before, "the first was let go");
  pool.take(MIB + 40);
  assert.equal(pool.keptBytes, before - MIB - 40);
});

Deno.test("BodyPool counts a size as old since it was last without a block", () => {
  const pool = new BodyPool();
  const MIB = 1024 * 1024;
  pool.give(new ArrayBuffer(6 * MIB));
  pool.take(6 * MIB);
  pool.give(new ArrayBuffer(7 * MIB));
  pool.give(new ArrayBuffer(6 * MIB));
  pool.give(new ArrayBuffer(8 * MIB));
  assert.equal(pool.keptBytes, 14 * MIB, "that of 7 MiB was let go");
});

Deno.test("BodyPool.give() takes nothing that is still being written", () => {
  const pool = new BodyPool();
  const view = new Uint8Array(8).fill(1);
  lend(view.buffer);
  lend(view.buffer);
  takeBack(view.buffer);
  pool.give(view.buffer);
  assert.equal(pool.keptBytes, 0);
  assert.deepEqual(view, new Uint8Array(8).fill(1));
  takeBack(view.buffer);
  pool.give(view.buffer);
  assert.equal(pool.keptBytes, 8);
  assert.equal(view.length, 0);
});

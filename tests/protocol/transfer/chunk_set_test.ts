import assert from "node:assert/strict";
import fc from "fast-check";
import { ChunkSet } from "../../../src/protocol/transfer/chunk_set.ts";
import { holds } from "../../property.ts";

/** What is missing, found the slow way. */
function missingOf(count: number, chunks: ReadonlySet<number>): { first: number; count: number }[] {
  const runs: { first: number; count: number }[] = [];
  for (let chunk = 0; chunk < count; chunk++) {
    if (chunks.has(chunk)) continue;
    const last = runs.at(-1);
    if (last !== undefined && last.first + last.count === chunk) last.count++;
    else runs.push({ first: chunk, count: 1 });
  }
  return runs;
}

Deno.test("ChunkSet holds the chunks that were added, and tells the others", () => {
  const run = fc.record({ first: fc.nat(99), count: fc.nat(40) });
  holds(fc.property(fc.nat(100), fc.array(run, { maxLength: 8 }), (count, runs) => {
    const set = new ChunkSet(count), expected = new Set<number>();
    for (const { first, count: length } of runs) {
      for (let chunk = first; chunk < Math.min(first + length, count); chunk++) {
        assert.equal(set.add(chunk), !expected.has(chunk));
        expected.add(chunk);
      }
    }
    assert.equal(set.size, expected.size);
    assert.equal(set.isComplete, expected.size === count);
    assert.deepEqual([...set.missing()], missingOf(count, expected));
    for (let chunk = 0; chunk < count; chunk++) assert.equal(set.has(chunk), expected.has(chunk));
  }));
});

Deno.test("ChunkSet is complete with the last chunk, whatever the order, and empty again after clear()", () => {
  for (const count of [1, 7, 8, 9, 64]) {
    const set = new ChunkSet(count);
    assert.deepEqual([...set.missing()], [{ first: 0, count }]);
    for (let chunk = count - 1; chunk >= 0; chunk--) {
      assert(!set.isComplete);
      set.add(chunk);
    }
    assert(set.isComplete && set.has(0));
    assert.deepEqual([...set.missing()], []);
    assert.equal(set.add(0), false);
    set.clear();
    assert.deepEqual([set.size, set.isComplete, set.has(0)], [0, false, false]);
    assert.deepEqual([...set.missing()], [{ first: 0, count }]);
  }
});

Deno.test("ChunkSet of an empty file is complete and has no chunk", () => {
  const set = new ChunkSet(0);
  assert(set.isComplete);
  assert.deepEqual([...set.missing()], []);
  assert.throws(() => set.has(0), RangeError);
});

Deno.test("ChunkSet refuses chunks that the file does not have, and counts that are none", () => {
  const set = new ChunkSet(9);
  for (const chunk of [-1, 9, 16, 0.5, NaN, 2 ** 32, Infinity]) {
    assert.throws(() => set.add(chunk), RangeError);
    assert.throws(() => set.has(chunk), RangeError);
  }
  assert.equal(set.size, 0);
  for (const count of [-1, 0.5, NaN, 2 ** 32 + 1, Infinity]) {
    assert.throws(() => new ChunkSet(count), RangeError);
  }
});

Deno.test("ChunkSet finds the gaps of 16 TiB quickly, also where the numbers need more than 31 bits", () => {
  const set = new ChunkSet(16 * 1024 * 1024);
  set.add(16_000_000);
  assert.deepEqual([...set.missing()], [{ first: 0, count: 16_000_000 }, {
    first: 16_000_001,
    count: 777_215,
  }]);
  const huge = new ChunkSet(2 ** 32);
  assert(!huge.has(2 ** 32 - 1));
  assert.deepEqual([...huge.missing()], [{ first: 0, count: 2 ** 32 }]);
});

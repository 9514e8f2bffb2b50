import assert from "node:assert/strict";
import fc from "fast-check";
import { ByteQueue } from "../../../src/protocol/transport/byte_queue.ts";
import { holds } from "../../property.ts";

Deno.test("ByteQueue gives the bytes of a plain list, whatever is pushed and pulled", () => {
  const push = fc.record({ push: fc.oneof(fc.nat({ max: 40 }), fc.nat({ max: 9_000 })) });
  const pull = fc.record({ pull: fc.oneof(fc.nat({ max: 40 }), fc.nat({ max: 30_000 })) });
  holds(fc.property(fc.array(fc.oneof(push, pull), { maxLength: 60 }), (steps) => {
    const queue = new ByteQueue();
    const model: number[] = [];
    let next = 0;
    for (const step of steps) {
      if ("push" in step) {
        const bytes = Uint8Array.from({ length: step.push }, () => next++ & 0xff);
        model.push(...bytes);
        queue.push(bytes);
      } else {
        const target = new Uint8Array(step.pull);
        const length = queue.pull(target);
        assert.deepEqual([...target.subarray(0, length)], model.splice(0, length));
        assert(length === step.pull || model.length === 0);
      }
      assert.equal(queue.length, model.length);
    }
  }));
});

Deno.test("ByteQueue leaves bytes that were pushed alone when more are pushed", () => {
  const queue = new ByteQueue();
  const first = new Uint8Array(5_000).fill(1);
  const behind = first.slice();
  queue.push(first.subarray(0, 4_500));
  queue.push(Uint8Array.of(2));
  assert.deepEqual(first, behind);
});

Deno.test("ByteQueue holds a million pushes of one byte in little more than a million bytes", () => {
  const usedBytes = (): number => {
    const { heapUsed, external } = Deno.memoryUsage();
    return heapUsed + external;
  };
  const queue = new ByteQueue();
  const pushed = new Uint8Array(1_000_000);
  const before = usedBytes();
  // Of one buffer, so that what grows is the queue.
  for (let each = 0; each < pushed.length; each++) queue.push(pushed.subarray(each, each + 1));
  const grownBytes = usedBytes() - before;
  assert.equal(queue.length, pushed.length);
  // A hundred bytes and more for each view, if it kept them.
  assert(grownBytes < 40_000_000, `${grownBytes} bytes`);
});

Deno.test("ByteQueue is empty after clear, and can be used again", () => {
  const queue = new ByteQueue();
  queue.push(Uint8Array.of(1, 2));
  queue.clear();
  queue.push(Uint8Array.of(3));
  const target = new Uint8Array(4);
  assert.equal(queue.pull(target), 1);
  assert.equal(target[0], 3);
});

import assert from "node:assert/strict";
import { BufferPool } from "../../../src/server/relay/buffer_pool.ts";
import { ByteRate } from "../../../src/server/relay/byte_rate.ts";
import type { EarlyBytes } from "../../../src/server/relay/caller.ts";
import { copy, type Direction, SMALL_BUFFER_BYTES } from "../../../src/server/relay/copy.ts";
import { FakeTimers, settled } from "../../protocol/rpc/fake_timers.ts";
import { FakeConnection } from "./fake_connection.ts";

const BIG_BYTES = 4 * SMALL_BUFFER_BYTES;
const NOTHING_EARLY: EarlyBytes = { said: new Uint8Array(0), reading: null, rest: new Uint8Array(0) };

class Scene {
  readonly from = new FakeConnection();
  readonly to = new FakeConnection();
  readonly small = new BufferPool({ bufferBytes: SMALL_BUFFER_BYTES, maxLent: 1, maxKept: 1 });
  readonly big: BufferPool;
  moved = 0;
  readonly copying: Promise<void>;

  constructor({ bigBuffers = 1, ...options }: Partial<Direction> & { readonly bigBuffers?: number } = {}) {
    this.big = new BufferPool({ bufferBytes: BIG_BYTES, maxLent: bigBuffers, maxKept: bigBuffers });
    this.copying = copy({
      from: this.from,
      to: this.to,
      early: NOTHING_EARLY,
      buffers: { small: this.small, big: this.big },
      rate: null,
      moved: (bytes) => this.moved += bytes,
      ...options,
    });
    this.copying.catch(() => {});
  }

  async say(bytes: number): Promise<void> {
    await settled();
    assert.equal(this.from.say(bytes), bytes);
    await settled();
  }
}

Deno.test("copy() writes all of what a socket takes in pieces, and counts it", async () => {
  const scene = new Scene();
  scene.to.maxWriteBytes = 7;
  await scene.say(100);
  assert.deepEqual(scene.to.written, Array(100).fill(1));
  assert.equal(scene.moved, 100);
  scene.from.end();
  await scene.copying;
});

Deno.test("copy() reads nothing more while the other side takes nothing", async () => {
  const scene = new Scene();
  scene.to.hold();
  await scene.say(10);
  assert(!scene.from.isRead);
  assert.equal(scene.moved, 0);
  scene.to.release();
  await settled();
  assert(scene.from.isRead);
  assert.equal(scene.moved, 10);
  scene.from.end();
  await scene.copying;
});

Deno.test("copy() has a big buffer only from a read that filled the small one to one that would not have", async () => {
  const scene = new Scene();
  await scene.say(SMALL_BUFFER_BYTES - 1);
  await scene.say(SMALL_BUFFER_BYTES);
  assert.equal(scene.big.lend(), null);
  await scene.say(BIG_BYTES);
  await scene.say(SMALL_BUFFER_BYTES);
  await scene.say(SMALL_BUFFER_BYTES - 1);
  assert.equal(scene.big.lend()?.length, BIG_BYTES);
  const small = SMALL_BUFFER_BYTES;
  assert.deepEqual(scene.from.readSizes, [small, small, BIG_BYTES, BIG_BYTES, BIG_BYTES, small]);
  scene.from.end();
  await scene.copying;
  assert.equal(scene.moved, BIG_BYTES + 4 * small - 2);
});

Deno.test("copy() does without a big buffer when all are lent, and asks again", async () => {
  const scene = new Scene({ bigBuffers: 1 });
  const lent = scene.big.lend();
  assert(lent !== null);
  await scene.say(SMALL_BUFFER_BYTES);
  await scene.say(SMALL_BUFFER_BYTES);
  scene.big.takeBack(lent);
  await scene.say(SMALL_BUFFER_BYTES);
  const small = SMALL_BUFFER_BYTES;
  assert.deepEqual(scene.from.readSizes, [small, small, small, BIG_BYTES]);
  scene.from.end();
  await scene.copying;
});

for (const [how, end] of [["ends", "end"], ["is lost", "fail"]] as const) {
  Deno.test(`copy() gives its buffers back when the one side ${how}`, async () => {
    const scene = new Scene();
    await scene.say(SMALL_BUFFER_BYTES);
    assert.equal(scene.big.lend(), null);
    scene.from[end]();
    if (end === "fail") await assert.rejects(scene.copying, Deno.errors.ConnectionReset);
    else await scene.copying;
    assert.notEqual(scene.big.lend(), null);
    assert.notEqual(scene.small.lend(), null);
  });
}

Deno.test("copy() throws what a write throws, and gives its big buffer back", async () => {
  const scene = new Scene();
  await scene.say(SMALL_BUFFER_BYTES);
  scene.to.fail();
  scene.from.say(1);
  await assert.rejects(scene.copying, Deno.errors.ConnectionReset);
  assert.notEqual(scene.big.lend(), null);
});

Deno.test("copy() begins with what was said before, then with the read that was under way", async () => {
  const rest = new Uint8Array(10);
  const reading = Promise.withResolvers<number | null>();
  const scene = new Scene({
    early: { said: new Uint8Array([1, 2, 3]), reading: reading.promise, rest },
  });
  await settled();
  assert.deepEqual(scene.to.written, [1, 2, 3]);
  rest.set([4, 5]);
  reading.resolve(2);
  await settled();
  assert.deepEqual(scene.to.written, [1, 2, 3, 4, 5]);
  assert.equal(scene.from.say(1, 6), 1);
  await settled();
  assert.deepEqual(scene.to.written, [1, 2, 3, 4, 5, 6]);
  scene.from.end();
  await scene.copying;
});

Deno.test("copy() ends with the end that the read under way found", async () => {
  const scene = new Scene({
    early: { said: new Uint8Array([1]), reading: Promise.resolve(null), rest: new Uint8Array(10) },
  });
  await scene.copying;
  assert.deepEqual(scene.to.written, [1]);
  assert.deepEqual(scene.from.readSizes, []);
});

Deno.test("copy() with a rate reads no more at once than may go", async () => {
  const timers = new FakeTimers();
  const scene = new Scene({ rate: new ByteRate(4000, timers) });
  await settled();
  assert.deepEqual(scene.from.readSizes, [1000]);
  scene.from.say(1000);
  await settled();
  assert(!scene.from.isRead);
  await timers.pass(100);
  assert.deepEqual(scene.from.readSizes, [1000, 200]);
  scene.from.end();
  await scene.copying;
});

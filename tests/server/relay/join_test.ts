import assert from "node:assert/strict";
import { Caller } from "../../../src/server/relay/caller.ts";
import { relayBuffers } from "../../../src/server/relay/copy.ts";
import { join, LINGER_MS } from "../../../src/server/relay/join.ts";
import { Staple } from "../../../src/server/relay/staple.ts";
import { FakeTimers, settled } from "../../protocol/rpc/fake_timers.ts";
import { FakeConnection } from "./fake_connection.ts";

/** Two connections that are joined. */
class Scene {
  readonly one = new FakeConnection();
  readonly other = new FakeConnection();
  readonly timers = new FakeTimers();
  readonly staple: Staple<Caller>;
  readonly joining: Promise<void>;
  isOver = false;

  constructor(bytesPerSecond: number | null = null) {
    this.staple = new Staple(new Caller(this.one, 33), new Caller(this.other, 33));
    this.joining = join(this.staple, { buffers: relayBuffers(), bytesPerSecond, timers: this.timers })
      .then(() => {
        this.isOver = true;
      });
  }

  /** Both are closed, nothing is left that could wake up. */
  async over(): Promise<void> {
    await this.joining;
    assert(this.one.isClosed && this.other.isClosed);
    assert.equal(this.timers.pending, 0);
  }
}

Deno.test("join() closes both when both have ended, and counts both directions", async () => {
  const scene = new Scene();
  await settled();
  scene.one.say(3);
  scene.other.say(4);
  await settled();
  scene.one.end();
  await settled();
  assert(scene.other.isFinished && !scene.other.isClosed);
  assert(!scene.one.isFinished);
  scene.other.end();
  await scene.over();
  assert.equal(scene.staple.bytes, 7);
});

Deno.test("join() tells the one side the end of the other one that was lost, and closes it a little later", async () => {
  const scene = new Scene();
  scene.one.fail();
  await settled();
  assert(scene.other.isFinished && !scene.other.isClosed);
  await scene.timers.pass(LINGER_MS - 1);
  assert(!scene.isOver);
  await scene.timers.pass(1);
  await scene.over();
});

Deno.test("join() lets go at once of a side that ends itself after the other one was lost", async () => {
  const scene = new Scene();
  scene.one.fail();
  await settled();
  scene.other.end();
  await scene.over();
});

Deno.test("join() reads on, for nobody, what is said to somebody who was lost, so that his last words arrive", async () => {
  const scene = new Scene();
  await settled();
  scene.one.say(5, 9);
  await settled();
  scene.one.end();
  await settled();
  assert.deepEqual(scene.other.written, [9, 9, 9, 9, 9]);
  scene.one.fail();
  for (let n = 0; n < 3; n++) {
    scene.other.say(100);
    await settled();
    assert(scene.other.isRead && !scene.other.isClosed);
  }
  assert.equal(scene.staple.bytes, 5);
  scene.other.end();
  await scene.over();
});

Deno.test("join() is over when somebody else has closed both, also in the middle of a write or of a wait", async () => {
  for (const bytesPerSecond of [null, 4000]) {
    const scene = new Scene(bytesPerSecond);
    await settled();
    scene.other.hold();
    scene.one.say(1000);
    scene.other.say(1000);
    await settled();
    for (const caller of scene.staple.callers) caller.close();
    await scene.over();
  }
});

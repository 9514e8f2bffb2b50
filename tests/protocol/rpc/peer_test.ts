import assert from "node:assert/strict";
import { memoryPair } from "../../../src/protocol/transport/memory.ts";
import type { Connection } from "../../../src/protocol/transport/transport.ts";
import {
  call,
  contract,
  type Schema,
  type SchemaResult,
  stream,
  upload,
} from "../../../src/protocol/rpc/contract.ts";
import { ConnectionError, type RpcError } from "../../../src/protocol/rpc/errors.ts";
import { implement } from "../../../src/protocol/rpc/implement.ts";
import type { PeerEvent } from "../../../src/protocol/rpc/peer.ts";
import { viewCodec } from "../../../src/protocol/rpc/view_codec.ts";
import { FakeTimers } from "./fake_timers.ts";
import { peerPair } from "./peer_pair.ts";

const WHERE_TO_LOOK = 'the event "handler_failed" of the side that serves it says why';

const TIMEOUT_MS = 20_000;
const work = contract({ run: call<string, string>(), feed: stream<null, number>() });
const never = (): Promise<string> => new Promise(() => {});

function codeOf(outcome: Promise<unknown>): Promise<string> {
  return outcome.then(() => "no error", (error: RpcError) => error.code);
}

Deno.test({
  name: "close() fails open calls at once on both sides, and both know why",
  timeout: TIMEOUT_MS,
  async fn(): Promise<void> {
    const connections = memoryPair();
    const side = { serves: implement(work, { run: never, feed: () => [1] }), calls: work };
    const { dialler, listener } = peerPair({ connections, dialler: side, listener: side });
    const outcomes = [dialler, listener].map(({ client }) => codeOf(client.run("")));
    await Promise.all([dialler.ping(), listener.ping()]);
    dialler.close("normal", "enough");
    dialler.close("internal", "the second time does nothing");
    assert.deepEqual(await Promise.all(outcomes), ["disconnected", "disconnected"]);
    const here = await dialler.closed, there = await listener.closed;
    assert.deepEqual([here.reason, here.by, here.message], ["normal", "here", "enough"]);
    assert.deepEqual([there.reason, there.by, there.message], ["normal", "there", "enough"]);
    await assert.rejects(dialler.ping(), { code: "disconnected" });
    assert.equal(await codeOf(dialler.client.run("")), "unavailable");
    assert.equal(await codeOf(dialler.client.feed(null).next()), "unavailable");
    await dialler.drain();
  },
});

Deno.test({
  name: "close() ends in time though the other side neither reads nor hangs up",
  timeout: TIMEOUT_MS,
  async fn(): Promise<void> {
    const timers = new FakeTimers(), connections = memoryPair();
    const { dialler, listener } = peerPair({
      timers,
      connections: [connections[0], deaf(connections[1])],
      dialler: { calls: work },
      listener: {},
    });
    const outcomes = Array.from({ length: 500 }, () => codeOf(dialler.client.run("x".repeat(10_000))));
    await timers.pass(0);
    dialler.close();
    assert.deepEqual(new Set(await Promise.all(outcomes)), new Set(["disconnected", "unavailable"]));
    await timers.pass(1000);
    await dialler.closed;
    assert.deepEqual(dialler.counts().pending, 0);
    listener.close();
    await timers.pass(1000);
    await listener.closed;
    assert.equal(timers.pending, 0);
  },
});

/** A connection whose owner never gets a byte out of it, until it is closed. */
function deaf(connection: Connection): Connection {
  let stop: (value: null) => void = () => {};
  const silence = new Promise<null>((resolve) => (stop = resolve));
  return {
    transport: connection.transport,
    remoteAddress: connection.remoteAddress,
    localAddress: connection.localAddress,
    confidential: connection.confidential,
    read: () => silence,
    write: (bytes) => connection.write(bytes),
    closeWrite: () => connection.closeWrite(),
    close(): void {
      connection.close();
      stop(null);
    },
  };
}

Deno.test({
  name: "a side that is silent is asked and then closed, and its callers are told",
  timeout: TIMEOUT_MS,
  async fn(): Promise<void> {
    const timers = new FakeTimers(), connections = memoryPair();
    const { dialler, listener } = peerPair({
      timers,
      connections: [connections[0], deaf(connections[1])],
      dialler: { calls: work },
      listener: { limits: { keepAliveMs: Infinity } },
    });
    const outcome = codeOf(dialler.client.run("", { deadlineMs: 0 }));
    await timers.pass(24_999);
    assert.equal(dialler.counts().pending, 1);
    await timers.pass(1);
    assert.equal(await outcome, "disconnected");
    await timers.pass(1000);
    assert.equal((await dialler.closed).reason, "silent");
    listener.close();
    await timers.pass(1000);
    await listener.closed;
    assert.equal(timers.pending, 0);
  },
});

Deno.test({
  name: "two idle peers keep each other open",
  timeout: TIMEOUT_MS,
  async fn(): Promise<void> {
    const timers = new FakeTimers();
    const { dialler, listener } = peerPair({ timers, dialler: {}, listener: {} });
    await timers.pass(100_000);
    assert.deepEqual([dialler.isAccepting, listener.isAccepting], [true, true]);
    dialler.close();
    await Promise.all([dialler.closed, listener.closed]);
    assert.equal(timers.pending, 0);
  },
});

Deno.test({
  name: "what a handler throws is an event here and nothing there",
  timeout: TIMEOUT_MS,
  async fn(): Promise<void> {
    const events: PeerEvent[] = [], secret = new Error("password is hunter2");
    await using pair = peerPair({
      dialler: { calls: work },
      listener: {
        onEvent: (event) => events.push(event),
        serves: implement(work, {
          run: (how) => {
            if (how === "odd") return (() => {}) as unknown as string;
            throw secret;
          },
          *feed(): Generator<number> {
            yield 1;
            throw secret;
          },
        }),
      },
    });
    const error = await pair.dialler.client.run("").catch((thrown: RpcError) => thrown);
    assert(typeof error !== "string");
    assert.deepEqual([error.code, error.message, error.cause], [
      "internal",
      `"run" failed; ${WHERE_TO_LOOK}`,
      undefined,
    ]);
    const items = pair.dialler.client.feed(null);
    assert.deepEqual(await items.next(), { done: false, value: 1 });
    await assert.rejects(items.next(), { code: "internal" });
    assert.equal(await codeOf(pair.dialler.client.run("odd")), "unencodable");
    assert.deepEqual(events.slice(0, 2).map(({ method, error }) => [method, error]), [["run", secret], [
      "feed",
      secret,
    ]]);
    assert.equal(events[2]?.method, "run");
  },
});

Deno.test({
  name: "a peer refuses handlers that were promised other methods of the other side",
  fn(): void {
    const other = contract({ other: call<null, null>() });
    const serves = implement(work, { run: never, feed: () => [] }, other);
    assert.throws(() => peerPair({ dialler: { serves, calls: work }, listener: {} }), TypeError);
  },
});

/** A number from 0 on, in its own time where the number is even. */
const natural: Schema<number> = {
  "~standard": {
    version: 1,
    validate(value): SchemaResult<number> | Promise<SchemaResult<number>> {
      const result = typeof value === "number" && value >= 0
        ? { value: value + 0.5 }
        : { issues: [{ message: "not so" }] };
      return typeof value === "number" && value % 2 === 0 ? Promise.resolve(result) : result;
    },
  },
};

Deno.test({
  name: "schemas check input and items where they are served, outputs where they are called",
  timeout: TIMEOUT_MS,
  async fn(): Promise<void> {
    const checked = contract({
      one: call<number, number>({ input: natural }),
      out: call<number, number>({ output: natural }),
      all: upload<null, number, number[]>({ item: natural }),
      give: stream<number[], number>({ output: natural }),
    });
    const calls: number[] = [];
    await using pair = peerPair({
      dialler: { calls: checked },
      listener: {
        serves: implement(checked, {
          one: (input) => calls.push(input),
          out: (input) => input,
          async all(_input, items): Promise<number[]> {
            const all: number[] = [];
            for await (const item of items) all.push(item);
            return all;
          },
          give: (items) => items,
        }),
      },
    });
    const { client } = pair.dialler;
    await client.one(1);
    await client.one(2);
    assert.equal(await codeOf(client.one(-1)), "invalid_argument");
    assert.equal(await codeOf(client.one(-2)), "invalid_argument");
    assert.deepEqual(calls, [1.5, 2.5]);
    assert.deepEqual([await client.out(3), await client.out(4)], [3.5, 4.5]);
    assert.equal(await codeOf(client.out(-3)), "invalid_argument");
    assert.equal(await codeOf(client.out(-4)), "invalid_argument");
    assert.deepEqual(await client.all(null, [1, 2]), [1.5, 2.5]);
    assert.equal(await codeOf(client.all(null, [1, -2, 3])), "invalid_argument");
    const items = client.give([1, 2, -1, 3]);
    assert.deepEqual([(await items.next()).value, (await items.next()).value], [1.5, 2.5]);
    await assert.rejects(items.next(), { code: "invalid_argument" });
    assert.deepEqual(await items.next(), { done: true, value: undefined });
    await pair.dialler.ping();
    assert.equal(pair.dialler.counts().streams, 0);
  },
});

for (const size of [10, 100_000]) {
  Deno.test({
    name: `a view of ${size} bytes is the handler's until it settles, and empty afterwards; an output stays`,
    timeout: TIMEOUT_MS,
    async fn(): Promise<void> {
      const images = contract({
        echo: call<Uint8Array, Uint8Array>(),
        later: call<Uint8Array, number>(),
        parts: upload<null, Uint8Array, number>(),
      });
      const kept: Uint8Array[] = [], parts: Uint8Array[] = [];
      let settle = (): void => {};
      const wait = new Promise<void>((resolve) => (settle = resolve));
      await using pair = peerPair({
        codec: viewCodec(),
        dialler: { calls: images },
        listener: {
          serves: implement(images, {
            echo(image): Uint8Array {
              kept.push(image);
              return image.subarray(1);
            },
            async later(image): Promise<number> {
              kept.push(image);
              await wait;
              return image.reduce((sum, byte) => sum + byte, 0);
            },
            async parts(_input, items): Promise<number> {
              for await (const item of items) parts.push(item);
              return parts.length;
            },
          }),
        },
      });
      const { client } = pair.dialler;
      const later = client.later(new Uint8Array(size).fill(1));
      const outputs = [];
      for (let i = 0; i < 10; i++) outputs.push(await client.echo(new Uint8Array(size).fill(i)));
      outputs.forEach((output, i) => assert.deepEqual(output, new Uint8Array(size - 1).fill(i)));
      settle();
      assert.equal(await later, size);
      assert.equal(await client.parts(null, [1, 2].map((byte) => new Uint8Array(size).fill(byte))), 2);
      await pair.dialler.ping();
      assert.equal(kept.length, 11);
      assert(kept.every((view) => view.length === 0));
      assert.deepEqual(parts, [1, 2].map((byte) => new Uint8Array(size).fill(byte)));
    },
  });
}

Deno.test({
  name: "a handler that outlives its connection is counted until it settles",
  timeout: TIMEOUT_MS,
  async fn(): Promise<void> {
    let settle: (value: string) => void = () => {};
    const pair = peerPair({
      dialler: { calls: work },
      listener: {
        serves: implement(work, { run: () => new Promise((resolve) => (settle = resolve)), feed: () => [] }),
      },
    });
    const outcome = codeOf(pair.dialler.client.run(""));
    await pair.dialler.ping();
    pair.dialler.close();
    assert((await pair.listener.closed) instanceof ConnectionError);
    assert.equal(await outcome, "disconnected");
    assert.equal(pair.listener.counts().handlers, 1);
    settle("nobody hears it");
    await pair.dialler.closed;
    assert.equal(pair.listener.counts().handlers, 0);
  },
});

Deno.test({
  name: "an endless stream within one thread leaves timers and deadlines their turn",
  timeout: TIMEOUT_MS,
  async fn(): Promise<void> {
    await using pair = peerPair({
      dialler: { calls: work },
      listener: {
        serves: implement(work, {
          run: never,
          *feed(): Generator<number> {
            for (let i = 0;; i++) yield i;
          },
        }),
      },
    });
    const read = async (): Promise<void> => {
      for await (const _item of pair.dialler.client.feed(null, { deadlineMs: 100 }));
    };
    await assert.rejects(read(), { code: "deadline_exceeded" });
  },
});

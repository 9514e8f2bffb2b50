/** What happens to connections of a node: who gets in, who is kept out, and what outlives a cut. */
import assert from "node:assert/strict";
import { call, contract, stream } from "../../../src/protocol/rpc/contract.ts";
import { memoryDiscovery } from "../../../src/protocol/rpc/discovery/memory_store.ts";
import { ConnectionError, RpcError } from "../../../src/protocol/rpc/errors.ts";
import { hmac } from "../../../src/protocol/rpc/hmac_handshake.ts";
import {
  type ConnectedClient,
  NodeBuilder,
  type NodeOptions,
  running,
} from "../../../src/protocol/rpc/node.ts";
import type { NodeEvent } from "../../../src/protocol/rpc/node_event.ts";
import type { RunningNode } from "../../../src/protocol/rpc/running_node.ts";
import { memory } from "../../../src/protocol/transport/memory.ts";
import { tcp } from "../../../src/protocol/transport/tcp.ts";
import type { Connection } from "../../../src/protocol/transport/transport.ts";
import { CuttingProxy } from "./cutting_proxy.ts";
import { FakeTimers, settled } from "./fake_timers.ts";

const WORK = contract({
  note: call<number, number>(),
  hang: call<number, null>(),
  ticks: stream<null, number>(),
});
const SECRET = "a secret of more than sixteen bytes";

/** Serves and counts what it was asked for. */
class Worker {
  readonly seen = new Map<number, number>();
  ticking = 0;
  readonly hanging = Promise.withResolvers<void>();

  readonly handlers = {
    note: (id: number): number => this.#see(id),
    hang: async (id: number, { signal }: { signal: AbortSignal }): Promise<null> => {
      this.#see(id);
      this.hanging.resolve();
      await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
      return null;
    },
    ticks: async function* (
      this: void,
      _input: null,
      { signal }: { signal: AbortSignal },
    ): AsyncGenerator<number> {
      for (let i = 0; !signal.aborted; i++) {
        yield i;
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
    },
  };

  #see(id: number): number {
    this.seen.set(id, (this.seen.get(id) ?? 0) + 1);
    return id;
  }
}

function isRpcError(code: string): (error: unknown) => true {
  return (error) => {
    assert(error instanceof RpcError, String(error));
    assert.equal(error.code, code);
    return true;
  };
}

function isRefusal(reason: string): (error: unknown) => true {
  return (error) => {
    assert(error instanceof ConnectionError, String(error));
    assert.deepEqual([error.reason, error.by], [reason, "there"]);
    return true;
  };
}

/** A client whose connection can be made to go dead without a word: nothing arrives any more, nothing is closed. */
function freezable(
  base: ReturnType<typeof memory>,
): { transport: ReturnType<typeof memory>; freeze: () => void } {
  let isFrozen = false;
  const connect = async (...args: Parameters<typeof base.connect>): Promise<Connection> => {
    const inner = await base.connect(...args);
    return {
      transport: inner.transport,
      remoteAddress: inner.remoteAddress,
      localAddress: inner.localAddress,
      confidential: inner.confidential,
      read: async (buffer) => {
        const scratch = new Uint8Array(buffer.length);
        for (;;) {
          const length = await inner.read(scratch);
          if (length === null || !isFrozen) {
            if (length !== null) buffer.set(scratch.subarray(0, length));
            return length;
          }
        }
      },
      write: (bytes) => isFrozen ? Promise.resolve() : inner.write(bytes),
      closeWrite: () => inner.closeWrite(),
      close: () => inner.close(),
    };
  };
  return { transport: { ...base, connect }, freeze: () => isFrozen = true };
}

Deno.test("hole: a one-to-one slot taken before authentication: only a finished handshake takes it", async () => {
  const transport = memory(), options = { handshake: hmac(SECRET) };
  await using server = await new NodeBuilder(options)
    .oneToOne().serve(WORK, transport, new Worker().handlers).start();
  const connect = (own: NodeOptions = options): Promise<ConnectedClient<typeof WORK>> =>
    new NodeBuilder(own).connect(WORK, transport).start();
  // One says nothing, one says nonsense, one has the wrong secret.
  const silent = await transport.connect();
  const noisy = await transport.connect();
  await noisy.write(new Uint8Array(64).fill(0xff));
  await assert.rejects(connect({ handshake: hmac(SECRET + "?") }), isRefusal("authentication_failed"));
  assert.equal(server.peers.length, 0);
  const first = await connect();
  assert.equal(await first.note(1), 1);
  await assert.rejects(connect(), isRefusal("taken"), "the holder answers the ping");
  assert.equal(await first.note(2), 2, "and has not noticed");
  await first[Symbol.asyncDispose]();
  await using second = await connect();
  assert.equal(await second.note(3), 3);
  silent.close();
  noisy.close();
});

Deno.test("a one-to-one place held by a ghost is freed by a ping that is not answered within 3 s", async () => {
  const transport = memory(), timers = new FakeTimers();
  const events: NodeEvent[] = [];
  const server = await new NodeBuilder({ timers, onEvent: (event) => events.push(event) })
    .serve(WORK, transport, new Worker().handlers).oneToOne().start();
  const ghostly = freezable(transport);
  const ghost = await new NodeBuilder().connect(WORK, ghostly.transport).start();
  assert.equal(await ghost.note(1), 1);
  ghostly.freeze();
  const startMs = timers.monotonicMs();
  const connecting = new NodeBuilder().connect(WORK, transport).start();
  await timers.pass(2_999);
  assert.equal(events.filter(({ kind }) => kind === "disconnected").length, 0);
  await timers.pass(1);
  const client = await connecting;
  assert.equal(timers.monotonicMs() - startMs, 3_000);
  assert.equal(await client.note(2), 2);
  const gone = events.find((event) => event.kind === "disconnected");
  assert(gone?.kind === "disconnected");
  assert.equal(gone.error.reason, "silent");
  await client[Symbol.asyncDispose]();
  await Promise.all([ghost[Symbol.asyncDispose](), timers.pass(60_000)]);
  await Promise.all([server.close(), timers.pass(60_000)]);
  assert.equal(timers.pending, 0);
});

Deno.test("hole: a silent client stalling accept: hundreds of them keep nobody out, and each has an end", async () => {
  const transport = memory(), timers = new FakeTimers();
  const refusals: string[] = [];
  const server = await new NodeBuilder({
    timers,
    handshake: hmac(SECRET),
    onEvent: (event) => {
      if (event.kind === "refused" && event.error instanceof ConnectionError) {
        refusals.push(event.error.reason);
      }
    },
  }).serve(WORK, transport, new Worker().handlers).start();
  const silent: Connection[] = [];
  for (let i = 0; i < 300; i++) silent.push(await transport.connect());
  // No time has passed: nothing was waited for.
  const client = await new NodeBuilder({ handshake: hmac(SECRET) }).connect(WORK, transport).start();
  assert.equal(await client.note(1), 1);
  assert.equal(timers.monotonicMs(), 0);
  // The oldest made room: 301 came, 128 may be unfinished.
  await timers.pass(2_000);
  assert.equal(refusals.filter((each) => each === "aborted").length, 301 - 128);
  await timers.pass(5_000);
  assert.equal(refusals.filter((each) => each === "handshake_timeout").length, 127);
  for (const each of silent) each.close();
  await client[Symbol.asyncDispose]();
  await server.close();
  assert.equal(timers.pending, 0);
});

Deno.test("one to many takes so many and no more, and again when one leaves", async () => {
  const transport = memory();
  await using _server = await new NodeBuilder()
    .serve(WORK, transport, new Worker().handlers).oneToMany({ maxConnections: 2 }).start();
  const connect = (): Promise<ConnectedClient<typeof WORK>> =>
    new NodeBuilder().connect(WORK, transport).start();
  const first = await connect();
  await using _second = await connect();
  await assert.rejects(connect(), isRefusal("too_many_connections"));
  await first[Symbol.asyncDispose]();
  await settled();
  await using third = await connect();
  assert.equal(await third.note(1), 1);
});

interface Outage {
  readonly worker: Worker;
  readonly server: RunningNode;
  readonly proxy: CuttingProxy;
  readonly client: ConnectedClient<typeof WORK>;
}

/** Waits between attempts are drawn with four bytes: these make them a hundredth of what they may be. */
function impatient(length: number): Uint8Array<ArrayBuffer> {
  return length === 4 ? Uint8Array.of(2, 0, 0, 0) : crypto.getRandomValues(new Uint8Array(length));
}

async function withProxy(test: (scene: Outage) => Promise<void>): Promise<void> {
  const worker = new Worker();
  await using server = await new NodeBuilder({ handshake: hmac(SECRET) })
    .serve(WORK, tcp("127.0.0.1:0"), worker.handlers).start();
  await using proxy = new CuttingProxy(server.addresses[0] ?? "");
  await using client = await new NodeBuilder({ handshake: hmac(SECRET), randomBytes: impatient })
    .connect(WORK, tcp(proxy.address)).start();
  await test({ worker, server, proxy, client });
  await encryptionsDone();
}

/** What was being encrypted for a connection in the moment of its cut is nobody's any more, and no leak either. */
async function encryptionsDone(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await crypto.subtle.digest("SHA-256", new Uint8Array(1));
}

Deno.test({
  name: "a cut connection fails what is under way, new calls wait for the next, and nothing is sent twice",
  timeout: 60_000,
  async fn(): Promise<void> {
    await withProxy(async ({ worker, proxy, client }) => {
      let id = 0;
      const answered = new Set<number>(), failed = new Set<number>();
      for (let round = 0; round < 5; round++) {
        const hanging = client.hang(++id);
        const streaming = (async () => {
          for await (const _tick of client.ticks(null)) if (_tick === 3) proxy.cut(false);
        })();
        await Promise.all([
          assert.rejects(hanging, isRpcError("disconnected")),
          assert.rejects(streaming, isRpcError("disconnected")),
        ]);
        failed.add(id);
        // While there is no connection, calls wait.
        const waiting = Array.from({ length: 20 }, async () => {
          const own = ++id;
          assert.equal(await client.note(own, { deadlineMs: 20_000 }), own);
          answered.add(own);
        });
        const items = client.ticks(null, { deadlineMs: 20_000 });
        await settled();
        assert.equal(answered.size, round * 20);
        proxy.open();
        await Promise.all(waiting);
        assert.deepEqual(await items.next(), { done: false, value: 0 });
        await items.return?.();
      }
      // Cut while calls are flowing: each was seen at most once, and once if it was answered.
      for (let round = 0; round < 20; round++) {
        const calls = Array.from({ length: 50 }, async () => {
          const own = ++id;
          try {
            await client.note(own, { deadlineMs: 20_000 });
            answered.add(own);
          } catch (error) {
            isRpcError("disconnected")(error);
            failed.add(own);
          }
        });
        if (round % 2 === 0) await new Promise((resolve) => setTimeout(resolve, 0));
        proxy.cut(true);
        await Promise.all(calls);
      }
      assert.equal(answered.size + failed.size, id);
      for (const own of answered) assert.equal(worker.seen.get(own), 1, `call ${own} was answered`);
      for (const [own, times] of worker.seen) assert.equal(times, 1, `call ${own} came ${times} times`);
    });
  },
});

Deno.test({
  name: "a call that waits for a connection fails unavailable at its deadline, cancelled when aborted",
  timeout: 30_000,
  async fn(): Promise<void> {
    await withProxy(async ({ worker, proxy, client }) => {
      const hanging = client.hang(1);
      await worker.hanging.promise;
      proxy.cut(false);
      await assert.rejects(hanging, isRpcError("disconnected"));
      const startMs = performance.now();
      await assert.rejects(client.note(2, { deadlineMs: 100 }), isRpcError("unavailable"));
      assert(performance.now() - startMs < 5_000);
      await assert.rejects(client.ticks(null, { deadlineMs: 100 }).next(), isRpcError("unavailable"));
      const controller = new AbortController();
      const waiting = client.note(3, { signal: controller.signal, deadlineMs: 0 });
      controller.abort();
      await assert.rejects(waiting, isRpcError("cancelled"));
      await assert.rejects(client.note(4, { signal: controller.signal }), isRpcError("cancelled"));
      // A stream that is left before it began is never begun.
      const left = client.ticks(null);
      await left.return?.();
      assert.deepEqual(await left.next(), { done: true, value: undefined });
      const last = client.note(5, { deadlineMs: 0 });
      const refused = assert.rejects(last, isRpcError("unavailable"));
      await client[running].close();
      await refused;
      await assert.rejects(client.note(6), isRpcError("unavailable"));
      assert.deepEqual([...worker.seen.keys()], [1]);
    });
  },
});

Deno.test({
  name: "a service that comes back at another address is found again by its name",
  timeout: 30_000,
  async fn(): Promise<void> {
    const discovery = memoryDiscovery(), worker = new Worker();
    const serve = (): Promise<RunningNode> =>
      new NodeBuilder({ discovery }).serve(WORK, tcp("127.0.0.1:0"), worker.handlers).publish("WORK").start();
    const first = await serve();
    await using client = await new NodeBuilder({ discovery }).connect(WORK, tcp()).waitFor("WORK").start();
    assert.equal(await client.note(1), 1);
    await first.close();
    const waiting = client.note(2, { deadlineMs: 20_000 });
    await using second = await serve();
    assert.notDeepEqual(second.addresses, first.addresses);
    assert.equal(await waiting, 2);
    assert.equal(client[running].peers[0]?.info.remoteAddress, second.addresses[0]);
  },
});

Deno.test({
  name: "a service that comes back with another contract fails waiting calls at once, with the reason",
  timeout: 30_000,
  async fn(): Promise<void> {
    const transport = memory();
    const first = await new NodeBuilder().serve(WORK, transport, new Worker().handlers).start();
    await using client = await new NodeBuilder().connect(WORK, transport).start();
    await first.close();
    const waiting = client.note(1, { deadlineMs: 0 });
    const failed = assert.rejects(waiting, (error: unknown) => {
      isRpcError("unavailable")(error);
      assert(error instanceof Error && error.cause instanceof ConnectionError);
      assert.equal(error.cause.reason, "contract_mismatch");
      return true;
    });
    const other = contract({ other: call<null, null>() });
    await using _second = await new NodeBuilder().serve(other, transport, { other: () => null }).start();
    await failed;
  },
});

Deno.test("between attempts a client waits a random part of a growing span, at most ten seconds", async () => {
  const transport = memory(), timers = new FakeTimers();
  const waits: number[] = [];
  const server = await new NodeBuilder().serve(WORK, transport, new Worker().handlers).start();
  const client = await new NodeBuilder({
    timers,
    randomBytes: (length) => new Uint8Array(length).fill(0xff),
    onEvent: (event) => {
      if (event.kind === "attempt_failed") waits.push(Math.round(event.retryMs));
    },
  }).connect(WORK, transport).start();
  await timers.pass(60_000); // a connection that held
  await server.close();
  await timers.pass(60_000);
  assert.deepEqual(waits.slice(0, 8), [100, 200, 400, 800, 1_600, 3_200, 6_400, 10_000]);
  assert(waits.slice(8).every((each) => each === 10_000));
  await client[Symbol.asyncDispose]();
  assert.equal(timers.pending, 0);
});

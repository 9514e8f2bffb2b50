import assert from "node:assert/strict";
import { call, contract, stream } from "../../../src/protocol/rpc/contract.ts";
import { memoryDiscovery } from "../../../src/protocol/rpc/discovery/memory_store.ts";
import { DiscoveryError } from "../../../src/protocol/rpc/discovery/record_store.ts";
import { type CloseReason, ConnectionError } from "../../../src/protocol/rpc/errors.ts";
import { asSignedProcess, versionOnly } from "../../../src/protocol/rpc/handshake_policy.ts";
import { hmac } from "../../../src/protocol/rpc/hmac_handshake.ts";
import { implement } from "../../../src/protocol/rpc/implement.ts";
import type { Limits } from "../../../src/protocol/rpc/limits.ts";
import { messagePackCodec } from "../../../src/protocol/rpc/messagepack_codec.ts";
import { NodeBuilder, running } from "../../../src/protocol/rpc/node.ts";
import type { NodeEvent } from "../../../src/protocol/rpc/node_event.ts";
import { memory } from "../../../src/protocol/transport/memory.ts";
import { tcp } from "../../../src/protocol/transport/tcp.ts";
import { TransportError } from "../../../src/protocol/transport/transport.ts";
import { CountedSignal } from "./counted_signal.ts";
import { FakeTimers, settled } from "./fake_timers.ts";

const MATH = contract({
  add: call<{ a: number; b: number }, number>(),
  count: stream<number, number>(),
});
const HANDLERS = {
  add: ({ a, b }: { a: number; b: number }): number => a + b,
  *count(to: number): Generator<number> {
    for (let i = 1; i <= to; i++) yield i;
  },
};
const TRANSPORT = memory();
const OTHER = contract({ greet: call<string, string>() });
const GREETING = { greet: (name: string): string => `hello ${name}` };
const SECRET = "a secret of more than sixteen bytes";

async function refused(act: Promise<unknown>, reason: CloseReason, by: "here" | "there"): Promise<void> {
  await assert.rejects(act, (error: unknown) => {
    assert(error instanceof ConnectionError, String(error));
    assert.deepEqual([error.reason, error.by], [reason, by]);
    return true;
  });
}

Deno.test("a node that serves and connects calls itself, over whichever transport", async () => {
  for (const transport of [memory(), tcp("127.0.0.1:0")]) {
    await using client = await new NodeBuilder({ handshake: hmac(SECRET) })
      .serve(MATH, transport, HANDLERS)
      .connect(MATH, transport)
      .start();
    assert.equal(await client.add({ a: 1, b: 2 }), 3);
    assert.deepEqual(await Array.fromAsync(client.count(3)), [1, 2, 3]);
    assert.equal(client[running].addresses.length, 1);
    assert.equal(client[running].peers.length, 2);
    assert.equal(Object.getPrototypeOf(client), null);
    assert.deepEqual(Object.keys(client), ["add", "count"]);
  }
});

Deno.test("start() gives the node where nothing is connected to, and it closes once", async () => {
  const transport = memory();
  const node = await new NodeBuilder().serve(MATH, transport, HANDLERS).start();
  assert.deepEqual(node.addresses, [transport.address]);
  await Promise.all([node.close(), node.close(), node.closed]);
  await assert.rejects(transport.connect(), TransportError);
});

Deno.test("both sides of one connection serve and call", async () => {
  const transport = memory();
  await using _server = await new NodeBuilder()
    .serve(MATH, transport, {
      add: async ({ a, b }, { client }) => {
        assert.equal(await client.greet("there"), "hello there");
        return a + b;
      },
      count: HANDLERS.count,
    }, { calls: OTHER })
    .start();
  await using client = await new NodeBuilder()
    .connect(MATH, transport, { serves: implement(OTHER, GREETING) })
    .start();
  assert.equal(await client.add({ a: 1, b: 2 }), 3);
});

Deno.test("hole: auth setters that do nothing when called before serve: no order of calls weakens the handshake", async () => {
  type Step = (builder: NodeBuilder, transport: ReturnType<typeof memory>) => unknown;
  const steps: Readonly<Record<string, Step>> = {
    serve: (builder, transport) => builder.serve(MATH, transport, HANDLERS),
    publish: (builder) => builder.publish("MATH"),
    oneToMany: (builder) => builder.oneToMany(),
  };
  const discovery = memoryDiscovery();
  for (const order of permutations(Object.keys(steps))) {
    const transport = memory();
    const builder = new NodeBuilder({ handshake: hmac(SECRET), discovery });
    for (const step of order) steps[step]?.(builder, transport);
    await using _server = await builder.start();
    const connect = (options: ConstructorParameters<typeof NodeBuilder>[0]): Promise<AsyncDisposable> =>
      new NodeBuilder({ discovery, ...options }).waitFor("MATH").connect(MATH, transport).start();
    await refused(connect({}), "handshake_mismatch", "there");
    await refused(connect({ handshake: versionOnly() }), "handshake_mismatch", "there");
    await refused(connect({ handshake: asSignedProcess() }), "handshake_mismatch", "there");
    await refused(connect({ handshake: hmac(SECRET + "?") }), "authentication_failed", "there");
    await using _client = await connect({ handshake: hmac(SECRET) });
  }
});

function permutations(items: readonly string[]): string[][] {
  if (items.length === 0) return [[]];
  return items.flatMap((first) =>
    permutations(items.filter((each) => each !== first)).map((rest) => [first, ...rest])
  );
}

Deno.test("the client's side too demands its handshake in every order of calls", async () => {
  const transport = memory(), discovery = memoryDiscovery();
  await using _server = await new NodeBuilder({ discovery })
    .serve(MATH, transport, HANDLERS).publish("MATH").start();
  const options = { handshake: hmac(SECRET), discovery };
  await refused(
    new NodeBuilder(options).connect(MATH, transport).waitFor("MATH").start(),
    "handshake_mismatch",
    "there",
  );
  await refused(
    new NodeBuilder(options).waitFor("MATH").connect(MATH, transport).start(),
    "handshake_mismatch",
    "there",
  );
});

Deno.test("misuse is refused at the call or at start, before anything is opened", async () => {
  const transport = memory();
  const node = (): NodeBuilder => new NodeBuilder({ discovery: memoryDiscovery() });
  const misuses: readonly (readonly [words: RegExp, act: () => unknown])[] = [
    [/neither serves nor connects/, () => node().start()],
    [/"MATH" is published, but the node serves nothing/, () => node().publish("MATH").start()],
    [/is published, but/, () => node().publish("MATH").connect(MATH, transport).start()],
    [/policy was named, but/, () => node().oneToOne().connect(MATH, transport).start()],
    [/is waited for, but/, () => node().serve(MATH, transport, HANDLERS).waitFor("MATH").start()],
    [/cannot serve: /, () => node().serve(MATH, transport, HANDLERS).serve(MATH, transport, HANDLERS)],
    [/cannot publish: /, () => node().publish("A").publish("A")],
    [/cannot connect: /, () => node().connect(MATH, transport).connect(MATH, transport)],
    [/cannot wait: /, () => node().waitFor("A").waitFor("B")],
    [/connection policy/, () => node().oneToOne().oneToMany()],
    [/connection policy/, () => node().oneToOne().oneToOne()],
    [/positive whole number/, () => node().oneToMany({ maxConnections: 0 })],
    [/positive whole number/, () => node().oneToMany({ maxConnections: 1.5 })],
    [/service name/, () => node().publish("../x")],
    [/service name/, () => node().waitFor("")],
    [/"add" wants a function/, () => node().serve(MATH, transport, Object.create(HANDLERS))],
    [
      /want a discovery/,
      () => new NodeBuilder().serve(MATH, transport, HANDLERS).publish("MATH").start(),
    ],
    [
      /other methods of the other side/,
      () => node().connect(MATH, transport, { serves: implement(OTHER, GREETING, OTHER) }),
    ],
  ];
  for (const [words, act] of misuses) {
    await assert.rejects(async () => await act(), (error: unknown) => {
      assert(error instanceof TypeError, String(error));
      assert.match(error.message, words);
      return true;
    });
    await assert.rejects(transport.connect(), TransportError, "nothing listens");
  }
});

Deno.test("a node is started once, and told nothing afterwards", async () => {
  const builder = new NodeBuilder().serve(MATH, memory(), HANDLERS);
  await using _node = await builder.start();
  await assert.rejects(builder.start(), /this node was started already/);
  assert.throws(() => builder.oneToOne(), /the node was started already/);
});

Deno.test("a start that fails closes what it had opened", async () => {
  const transport = memory(), discovery = memoryDiscovery();
  const start = (): Promise<unknown> =>
    new NodeBuilder({ discovery })
      .serve(MATH, transport, HANDLERS).publish("MATH")
      .connect(OTHER, memory("nobody")).start();
  await assert.rejects(
    start(),
    (error: unknown) => error instanceof TransportError && error.code === "refused",
  );
  assert.deepEqual(await discovery.resolve("MATH"), []);
  await assert.rejects(transport.connect(), TransportError);
});

Deno.test("host and guest that wait for each other find each other, in either order", async () => {
  const discovery = memoryDiscovery();
  const host = (): Promise<{ greet: (name: string) => Promise<string> } & AsyncDisposable> =>
    new NodeBuilder({ discovery, handshake: hmac(SECRET) })
      .serve(MATH, memory(), HANDLERS).publish("HOST")
      .connect(OTHER, memory()).waitFor("GUEST").start();
  const guest = (): Promise<
    { add: (input: { a: number; b: number }) => Promise<number> } & AsyncDisposable
  > =>
    new NodeBuilder({ discovery, handshake: hmac(SECRET) })
      .waitFor("HOST").connect(MATH, memory())
      .publish("GUEST").serve(OTHER, memory(), GREETING).start();
  for (const hostIsFirst of [true, false]) {
    const first = hostIsFirst ? host() : guest();
    await settled();
    const second = hostIsFirst ? guest() : host();
    const [theHost, theGuest] = hostIsFirst ? [first, second] : [second, first];
    await using guestClient = await theHost as Awaited<ReturnType<typeof host>>;
    await using hostClient = await theGuest as Awaited<ReturnType<typeof guest>>;
    assert.equal(await guestClient.greet("guest"), "hello guest");
    assert.equal(await hostClient.add({ a: 20, b: 22 }), 42);
  }
});

Deno.test("waitFor() gives up after its time and says what it found", async () => {
  const discovery = memoryDiscovery();
  const wait = (timeoutMs: number): Promise<unknown> =>
    new NodeBuilder({ discovery, codec: messagePackCodec() })
      .connect(MATH, memory()).waitFor("MATH", { timeoutMs }).start();
  const fails = (words: string): (error: unknown) => true => (error) => {
    assert(error instanceof DiscoveryError, String(error));
    assert.equal(error.code, "timeout");
    assert.equal(error.message, words);
    return true;
  };
  await assert.rejects(wait(50), fails('could not find "MATH": nobody published it within 50 ms'));
  await using _server = await new NodeBuilder({ discovery })
    .serve(MATH, memory(), HANDLERS).publish("MATH").start();
  await assert.rejects(
    wait(50),
    fails(
      'could not find "MATH": it is published for transport memory and codec json, wanted are memory and messagepack ' +
        "within 50 ms",
    ),
  );
});

Deno.test("a service that will never fit ends the waiting at once, one that may come is waited for", async () => {
  const discovery = memoryDiscovery();
  const next = contract({ add: call<{ a: number; b: number }, number>(), more: call<string, string>() });
  await using _old = await new NodeBuilder({ discovery }).serve(MATH, memory(), HANDLERS).publish("MATH")
    .start();
  const wait = (): Promise<AsyncDisposable> =>
    new NodeBuilder({ discovery }).connect(next, memory()).waitFor("MATH", { timeoutMs: 3_600_000 }).start();
  await refused(wait(), "contract_mismatch", "there");
  await using _new = await new NodeBuilder({ discovery })
    .serve(next, memory(), { add: HANDLERS.add, more: (text) => text }).publish("MATH").start();
  await using _client = await wait(); // the one of two that fits is found
});

Deno.test("a name that leads to another service is refused by the handshake, whatever the record says", async () => {
  const discovery = memoryDiscovery(), transport = memory();
  const options = { discovery, handshake: hmac(SECRET) };
  await using server = await new NodeBuilder(options).serve(MATH, transport, HANDLERS).publish("MATH")
    .start();
  const addresses = server.addresses;
  await using _lie = await discovery.publish({ name: "BANK", transport: "memory", codec: "json", addresses });
  const connecting = new NodeBuilder(options).connect(MATH, memory()).waitFor("BANK").start();
  await refused(connecting, "service_mismatch", "there");
  await using _client = await new NodeBuilder(options).connect(MATH, memory()).waitFor("MATH").start();
});

Deno.test("a service that appears is connected to at once, not when the next attempt is due", async () => {
  const timers = new FakeTimers(), discovery = memoryDiscovery();
  const connecting = new NodeBuilder({
    discovery,
    timers,
    randomBytes: (length) => new Uint8Array(length).fill(0xff),
  })
    .connect(MATH, memory()).waitFor("MATH").start();
  await timers.pass(20_000); // attempts are ten seconds apart by now
  await using _server = await new NodeBuilder({ discovery }).serve(MATH, memory(), HANDLERS).publish("MATH")
    .start();
  const client = await connecting;
  assert.equal(timers.monotonicMs(), 20_000);
  await client[Symbol.asyncDispose]();
  assert.equal(timers.pending, 0);
});

Deno.test("aborting start() rejects with the reason and closes everything; aborting later closes the node", async () => {
  const transport = memory(), discovery = memoryDiscovery();
  const before = new AbortController();
  const starting = new NodeBuilder({ discovery })
    .serve(MATH, transport, HANDLERS).connect(OTHER, memory()).waitFor("NEVER")
    .start({ signal: before.signal });
  const rejected = assert.rejects(starting, /enough/);
  await settled();
  before.abort(new Error("enough"));
  await rejected;
  await assert.rejects(transport.connect(), TransportError);

  const after = new AbortController();
  const node = await new NodeBuilder().serve(MATH, transport, HANDLERS).start({ signal: after.signal });
  after.abort();
  await node.closed;
  await assert.rejects(transport.connect(), TransportError);
});

Deno.test("close() withdraws, takes nobody new and lets open calls finish", async () => {
  const transport = memory(), discovery = memoryDiscovery();
  const { promise: mayFinish, resolve: finish } = Promise.withResolvers<void>();
  const slow = contract({ work: call<null, string>() });
  const { promise: began, resolve: begin } = Promise.withResolvers<void>();
  const server = await new NodeBuilder({ discovery })
    .serve(slow, transport, {
      work: async () => {
        begin();
        await mayFinish;
        return "done";
      },
    }).publish("SLOW").start();
  await using client = await new NodeBuilder({ discovery }).connect(slow, transport).waitFor("SLOW").start();
  const working = client.work(null);
  await began;
  const closing = server.close();
  await settled();
  assert.deepEqual(await discovery.resolve("SLOW"), []);
  await assert.rejects(transport.connect(), TransportError);
  finish();
  assert.equal(await working, "done");
  await closing;
  assert.deepEqual(server.peers, []);
});

Deno.test("a service without authentication on a public address is warned of, once", async () => {
  const warnings = async (
    address: string,
    handshake: ReturnType<typeof hmac> | undefined,
  ): Promise<readonly string[]> => {
    const events: NodeEvent[] = [];
    await using _node = await new NodeBuilder({ handshake, onEvent: (event) => events.push(event) })
      .serve(MATH, tcp(address), HANDLERS).start();
    return events.filter(({ kind }) => kind !== "listening").map(({ kind }) => kind);
  };
  assert.deepEqual(await warnings("0.0.0.0:0", undefined), ["strangers_can_call"]);
  assert.deepEqual(await warnings("0.0.0.0:0", versionOnly()), ["strangers_can_call"]);
  assert.deepEqual(await warnings("0.0.0.0:0", hmac(SECRET)), []);
  assert.deepEqual(await warnings("127.0.0.1:0", undefined), []);
});

Deno.test("what onEvent throws does not disturb the node", async () => {
  const thrown: unknown[] = [];
  const note = (event: ErrorEvent): void => {
    event.preventDefault();
    thrown.push(event.error);
  };
  globalThis.addEventListener("error", note);
  try {
    const transport = memory();
    await using client = await new NodeBuilder({
      onEvent: (event) => {
        throw new Error(event.kind);
      },
    }).serve(MATH, transport, HANDLERS).connect(MATH, transport).start();
    assert.equal(await client.add({ a: 1, b: 1 }), 2);
    await settled();
  } finally {
    globalThis.removeEventListener("error", note);
  }
  assert(thrown.length >= 3, `${thrown.length} events`);
});

Deno.test("a node that was closed lets go of the signal it was started with", async () => {
  const counted = new CountedSignal(), { signal } = counted;
  for (let restarts = 0; restarts < 20; restarts++) {
    await using client = await new NodeBuilder().serve(MATH, TRANSPORT, HANDLERS).connect(MATH, TRANSPORT)
      .start({ signal });
    assert.equal(await client.add({ a: 1, b: 2 }), 3);
  }
  assert.equal(counted.listeners, 0);
});

for (
  const [name, value] of [["maxQueuedBytes", NaN], ["keepAliveMs", -1], ["streamWindowBytes", 0], [
    "maxBodyBytes",
    2 ** 32,
  ], ["drainTimeoutMs", undefined]] as const
) {
  Deno.test(`a limit ${name} of ${value} is refused at start, before anything is opened`, async () => {
    const limits = { [name]: value } as Partial<Limits>;
    const transport = memory();
    const node = new NodeBuilder({ limits }).serve(MATH, transport, HANDLERS);
    await assert.rejects(
      node.start(),
      new RegExp(`^TypeError: cannot keep to the limit ${name} of ${value}: `),
    );
    await assert.rejects(transport.connect(), TransportError);
  });
}

Deno.test("connect() with a time tries a fixed address again until somebody listens there", async () => {
  const timers = new FakeTimers(), transport = memory();
  const events: NodeEvent["kind"][] = [];
  const connecting = new NodeBuilder({ timers, onEvent: ({ kind }) => events.push(kind) })
    .connect(MATH, transport, { timeoutMs: 60_000 }).start();
  await timers.pass(0);
  assert.deepEqual(events, ["attempt_failed"]);
  await using _server = await new NodeBuilder({ timers }).serve(MATH, transport, HANDLERS).start();
  await timers.pass(1_000);
  await using client = await connecting;
  assert.equal(await client.add({ a: 1, b: 2 }), 3);
});

Deno.test("connect() with a time fails as its last attempt did when the time is over", async () => {
  const timers = new FakeTimers();
  const outcome = assert.rejects(
    new NodeBuilder({ timers }).connect(MATH, memory(), { timeoutMs: 60_000 }).start(),
    { name: "TransportError", code: "refused" },
  );
  await timers.pass(60_000);
  await outcome;
  assert.equal(timers.pending, 0);
});

Deno.test("start() refuses a time for connect beside waitFor, which has its own", async () => {
  const node = new NodeBuilder({ discovery: memoryDiscovery() });
  await assert.rejects(node.connect(MATH, memory(), { timeoutMs: 1 }).waitFor("MATH").start(), {
    name: "TypeError",
    message: /is said to waitFor, not to connect$/,
  });
});

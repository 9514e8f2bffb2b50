import assert from "node:assert/strict";
import type { Timers } from "../../../../src/protocol/rpc/timers.ts";
import type { BasePort } from "../../../../src/protocol/transport/message_port_connection.ts";
import { pairBytes } from "../../../../src/protocol/transport/ring/ring.ts";
import { workerRing } from "../../../../src/protocol/transport/ring/worker_ring.ts";
import { type Connection, TransportError } from "../../../../src/protocol/transport/transport.ts";
import { CLOSE_WORKER, ECHO } from "./worker_acts.ts";

function code(expected: string): (error: unknown) => boolean {
  return (error) => error instanceof TransportError && error.code === expected;
}

/** Each test has a limit: a death that is not noticed would be waited for without an end. */
function testWorker(name: string, act: (worker: Worker) => Promise<void>): void {
  Deno.test({
    name,
    timeout: 20_000,
    async fn(): Promise<void> {
      const worker = new Worker(new URL("./ring_worker.ts", import.meta.url), { type: "module" });
      worker.addEventListener("error", (event) => event.preventDefault());
      try {
        await act(worker);
      } finally {
        worker.terminate();
      }
    },
  });
}

async function open(worker: Worker, firstByte: number): Promise<Connection> {
  const connection = await workerRing(worker).connect();
  await connection.write(Uint8Array.of(firstByte));
  return connection;
}

testWorker("workerRing() carries bytes to a worker that begins to listen later, and back", async (worker) => {
  const connection = await open(worker, ECHO);
  const bytes = crypto.getRandomValues(new Uint8Array(65_536));
  const sending = (async () => {
    for (let turn = 0; turn < 40; turn++) await connection.write(bytes);
    await connection.closeWrite();
  })();
  const into = new Uint8Array(10_007);
  let got = 0;
  for (let count = await connection.read(into); count !== null; count = await connection.read(into)) {
    for (let at = 0; at < count; at++) {
      if (into[at] !== bytes[(got + at) % bytes.length]) assert.fail(`byte ${got + at} is another one`);
    }
    got += count;
  }
  assert.equal(got, 40 * bytes.length);
  await sending;
  connection.close();
});

testWorker("workerRing() reads lost when the worker is terminated", async (worker) => {
  const connection = await open(worker, ECHO);
  const reading = connection.read(new Uint8Array(1));
  worker.terminate();
  await assert.rejects(reading, code("lost"));
  await assert.rejects(connection.write(new Uint8Array(1)), code("lost"));
  connection.close();
});

testWorker("workerRing() fails a write that waits as lost when the worker is terminated", async (worker) => {
  const connection = await open(worker, ECHO);
  // The worker's answers find no reader, so it stops reading.
  const writing = connection.write(new Uint8Array(16 * 1024 * 1024));
  worker.terminate();
  await assert.rejects(writing, code("lost"));
  connection.close();
});

testWorker("workerRing() reads lost when the worker closes itself", async (worker) => {
  const connection = await open(worker, CLOSE_WORKER);
  await assert.rejects(connection.read(new Uint8Array(1)), code("lost"));
  connection.close();
});

/** Speaks the dialogue by hand over one end of a channel whose other end is listened on. */
async function asDialler(
  act: (
    say: (message: unknown) => Promise<unknown>,
    accept: () => Promise<Connection | null>,
  ) => Promise<void>,
): Promise<void> {
  const { port1, port2 } = new MessageChannel();
  const listener = await workerRing(port2 as BasePort).listen();
  const answers: unknown[] = [];
  let onAnswer = (): void => {};
  port1.onmessage = ({ data }) => {
    answers.push(data);
    onAnswer();
  };
  const answer = async (): Promise<unknown> => {
    if (answers.length === 0) await new Promise<void>((resolve) => onAnswer = resolve);
    return answers.shift();
  };
  try {
    assert.deepEqual(await answer(), { postern: "ring-listening", name: "rpc" });
    await act((message) => {
      port1.postMessage(message);
      return answer();
    }, () => listener.accept());
  } finally {
    listener.close();
    port1.close();
    port2.close();
  }
}

const ID = "00000000-0000-4000-8000-000000000000";

Deno.test({
  name: "workerRing() refuses memory that is no two rings",
  timeout: 10_000,
  fn: () =>
    asDialler(async (say) => {
      for (
        const bytes of [0, 1, pairBytes(4096) - 1, pairBytes(4096) + 1, pairBytes(2048), pairBytes(12_288)]
      ) {
        const memory = new SharedArrayBuffer(bytes);
        const answer = await say({ postern: "ring-open", name: "rpc", id: ID, agent: ID, memory });
        assert.deepEqual(answer, { postern: "ring-no", id: ID }, `${bytes} bytes`);
      }
    }),
});

Deno.test({
  name: "workerRing() takes a dialler that holds no lock for dead",
  timeout: 10_000,
  fn: () =>
    asDialler(async (say, accept) => {
      const memory = new SharedArrayBuffer(pairBytes(4096));
      const up = await say({ postern: "ring-open", name: "rpc", id: ID, agent: ID, memory });
      assert.deepEqual(Object.keys(up as object), ["postern", "id", "agent"]);
      const connection = await accept();
      await assert.rejects(async () => await connection?.read(new Uint8Array(1)), code("lost"));
      connection?.close();
    }),
});

Deno.test({
  name: "workerRing() passes over messages that are not its own or not of its form",
  timeout: 10_000,
  fn: () =>
    asDialler(async (say) => {
      const memory = new SharedArrayBuffer(pairBytes(4096));
      const ask = { postern: "ring-ask", name: "rpc", id: ID };
      const others = [
        null,
        7,
        "ring-ask",
        {},
        { ...ask, name: 7 },
        { ...ask, name: "another" },
        { ...ask, id: 7 },
        { ...ask, id: "a lock of somebody else" },
        { ...ask, postern: "toString" },
        { postern: "ring-open", name: "rpc", id: ID, agent: ID },
        { postern: "ring-open", name: "rpc", id: ID, agent: "a lock of somebody else", memory },
        { postern: "ring-open", name: "rpc", id: ID, agent: ID, memory: new ArrayBuffer(pairBytes(4096)) },
        { postern: "ring-open", name: "another", id: ID, agent: ID, memory },
        { postern: "ask", name: "rpc", id: 1 },
      ];
      for (const other of others) void say(other);
      assert.deepEqual(await say(ask), { postern: "ring-yes", id: ID });
    }),
});

Deno.test("workerRing().connect() leaves nothing behind on its base when nobody answers or it is aborted", async () => {
  const listeners = new Set<unknown>();
  const said: unknown[] = [];
  const base: BasePort = {
    postMessage: (message) => void said.push(message),
    addEventListener: (_, listener) => void listeners.add(listener),
    removeEventListener: (_, listener) => void listeners.delete(listener),
  };
  const delays = new Map<() => void, number>();
  const timers: Timers = {
    monotonicMs: () => 0,
    after(delayMs: number, act: () => void): () => void {
      delays.set(act, delayMs);
      return () => delays.delete(act);
    },
  };
  const transport = workerRing(base, { name: "there", connectTimeoutMs: 77, timers });
  const late = transport.connect();
  late.catch(() => {});
  while (said.length === 0) await new Promise((resolve) => setTimeout(resolve, 1));
  assert.deepEqual([...delays.values()], [77]);
  for (const act of [...delays.keys()]) act();
  await assert.rejects(late, code("refused"));
  assert.deepEqual([listeners.size, delays.size], [0, 0]);

  const controller = new AbortController();
  const aborted = transport.connect("there", { signal: controller.signal });
  aborted.catch(() => {});
  while (said.length === 1) await new Promise((resolve) => setTimeout(resolve, 1));
  const reason = new Error("not wanted any more");
  controller.abort(reason);
  await assert.rejects(aborted, (error) => error === reason);
  assert.deepEqual([listeners.size, delays.size], [0, 0]);
});

for (const sleeps of [true, false]) {
  Deno.test({
    name: `workerRing() tells a listener that ${sleeps ? "reads" : "will read"} that the dialler gave up`,
    timeout: 10_000,
    async fn(): Promise<void> {
      const { port1, port2 } = new MessageChannel();
      const listener = await workerRing(port2).listen();
      // Of the same thread, whose lock therefore goes on being held.
      const other = await workerRing(port1).connect();
      const controller = new AbortController();
      const deaf: BasePort = {
        postMessage: (message, transfer) => port1.postMessage(message, transfer),
        addEventListener: (type, act) =>
          port1.addEventListener(type, (event) => {
            if (event.data.postern !== "ring-up") act(event);
          }),
        removeEventListener: () => {},
      };
      const connecting = workerRing(deaf).connect("rpc", { signal: controller.signal })
        .catch((error) => error);
      const [first, second] = [await listener.accept(), await listener.accept()];
      assert(first !== null && second !== null);
      if (sleeps) setTimeout(() => controller.abort("too late"), 20);
      else controller.abort("too late");
      assert.equal(await second.read(new Uint8Array(1)), null);
      assert.equal(await connecting, "too late");
      for (const each of [first, second, other, listener, port1, port2]) each.close();
    },
  });
}

Deno.test("workerRing() refuses sizes that no ring has", () => {
  const { port1, port2 } = new MessageChannel();
  assert.throws(() => workerRing(port1, { ringBytes: 1000 }), RangeError);
  port1.close();
  port2.close();
});

Deno.test("workerRing() says what the runtime lacks", async () => {
  const { port1, port2 } = new MessageChannel();
  const lacks: readonly [object, string, RegExp][] = [
    [globalThis, "SharedArrayBuffer", /no SharedArrayBuffer/],
    [Atomics, "waitAsync", /no Atomics\.waitAsync/],
    [navigator, "locks", /no Web Locks/],
  ];
  for (const [owner, key, message] of lacks) {
    const kept = Object.getOwnPropertyDescriptor(owner, key);
    Object.defineProperty(owner, key, { value: undefined, configurable: true, writable: true });
    try {
      const error = await workerRing(port1).connect().catch((error: unknown) => error);
      assert.ok(code("unsupported")(error));
      assert.match(String(error), message);
      await assert.rejects(workerRing(port1).listen(), code("unsupported"));
    } finally {
      if (kept === undefined) Reflect.deleteProperty(owner, key);
      else Object.defineProperty(owner, key, kept);
    }
  }
  port1.close();
  port2.close();
});

Deno.test({
  name: "a connection of workerRing() keeps the program alive while it is open, and not when it is closed",
  timeout: 20_000,
  async fn(): Promise<void> {
    const program = new URL("./lone_ring_program.ts", import.meta.url).pathname;
    const { code, stdout } = await new Deno.Command(Deno.execPath(), { args: ["run", program] }).output();
    assert.equal(new TextDecoder().decode(stdout), "waiting\nread 1\n");
    assert.equal(code, 0);
  },
});

/** Holes that the library this one follows had in its peer, each closed. */
import assert from "node:assert/strict";
import type { Connection } from "../../../src/protocol/transport/transport.ts";
import { memoryPair } from "../../../src/protocol/transport/memory.ts";
import { call, type Contract, contract } from "../../../src/protocol/rpc/contract.ts";
import { ConnectionError, type RpcError } from "../../../src/protocol/rpc/errors.ts";
import { FRAME_KINDS } from "../../../src/protocol/rpc/frame.ts";
import { implement } from "../../../src/protocol/rpc/implement.ts";
import { FakeTimers } from "./fake_timers.ts";
import { peerPair } from "./peer_pair.ts";

const work = contract({ run: call<string, string>() });
const TIMEOUT_MS = 10_000;

function codeOf(outcome: Promise<unknown>): Promise<string> {
  return outcome.then(() => "no error", (error: RpcError) => error.code);
}

Deno.test({
  name: "hole: a handler's error leaves the caller waiting",
  timeout: TIMEOUT_MS,
  async fn(): Promise<void> {
    const timers = new FakeTimers();
    await using pair = peerPair({
      timers,
      dialler: { calls: work },
      listener: {
        serves: implement(work, {
          run: (how) => {
            if (how === "throw") throw new Error("at once");
            return Promise.reject(new Error("later"));
          },
        }),
      },
    });
    // No time passes here: an answer that came by a timeout would never come.
    assert.equal(await codeOf(pair.dialler.client.run("throw")), "internal");
    assert.equal(await codeOf(pair.dialler.client.run("reject")), "internal");
  },
});

Deno.test({
  name: "hole: a lost connection leaves the caller waiting",
  timeout: TIMEOUT_MS,
  async fn(): Promise<void> {
    const timers = new FakeTimers(), connections = memoryPair();
    const signals: AbortSignal[] = [];
    await using pair = peerPair({
      timers,
      connections,
      dialler: { calls: work },
      listener: {
        serves: implement(work, {
          run: (_input, { signal }) => {
            signals.push(signal);
            return new Promise(() => {});
          },
        }),
      },
    });
    const outcomes = Array.from({ length: 100 }, () => codeOf(pair.dialler.client.run("")));
    await pair.dialler.ping();
    connections[1].close();
    assert.deepEqual(new Set(await Promise.all(outcomes)), new Set(["disconnected"]));
    assert.equal((await pair.dialler.closed).reason, "lost");
    await pair.listener.closed;
    assert.equal(signals.length, 100);
    assert(signals.every((signal) => signal.aborted));
    assert.equal(await codeOf(pair.dialler.client.run("")), "unavailable");
  },
});

Deno.test({
  name: "hole: one call in flight per connection",
  timeout: TIMEOUT_MS,
  async fn(): Promise<void> {
    const finish: (() => void)[] = [];
    await using pair = peerPair({
      dialler: { calls: work },
      listener: {
        serves: implement(work, {
          run: (input) =>
            input === "quick" ? "quick" : new Promise((resolve) => finish.push(() => resolve(input))),
        }),
      },
    });
    const slow = ["a", "b", "c"].map((input) => pair.dialler.client.run(input));
    assert.equal(await pair.dialler.client.run("quick"), "quick");
    assert.equal(finish.length, 3);
    for (const act of finish.reverse()) act();
    assert.deepEqual(await Promise.all(slow), ["a", "b", "c"]);
  },
});

/** Writes a frame past the peer that owns the connection. */
function inject(connection: Connection, header: readonly number[], body: readonly number[]): Promise<void> {
  return connection.write(new Uint8Array([...header, ...body]));
}

const undecodable: readonly (readonly [string, string, number[], number[]])[] = [
  ["an unknown kind", "malformed", [0, 0, 0, 0, 99, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], []],
  [
    "a reply that is no JSON",
    "undecodable",
    [0, 0, 0, 1, FRAME_KINDS.reply, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0],
    [
      0x7b,
      0,
      0,
      0,
      0,
      0,
      0,
      0,
    ],
  ],
  [
    "a body that is too long",
    "too_large",
    [255, 0, 0, 0, FRAME_KINDS.reply, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0],
    [],
  ],
];

for (const [what, reason, header, body] of undecodable) {
  Deno.test({
    name: `hole: undecodable frames are ignored (${what})`,
    timeout: TIMEOUT_MS,
    async fn(): Promise<void> {
      const connections = memoryPair();
      await using pair = peerPair({
        connections,
        dialler: { calls: work },
        listener: { serves: implement(work, { run: () => new Promise(() => {}) }) },
      });
      const outcome = pair.dialler.client.run("").catch((error: RpcError) => error);
      await pair.dialler.ping();
      await inject(connections[1], header, body);
      const error = await outcome;
      assert(typeof error !== "string" && error.code === "disconnected");
      assert(error.cause instanceof ConnectionError);
      assert.deepEqual([error.cause.reason, error.cause.by], [reason, "here"]);
      const told = await pair.listener.closed;
      assert.deepEqual([told.reason, told.by], [reason, "there"]);
    },
  });
}

Deno.test({
  name: "hole: inherited names (constructor, toString) resolve as methods",
  timeout: TIMEOUT_MS,
  async fn(): Promise<void> {
    class Base {
      run(): string {
        return "inherited";
      }
    }
    class Derived extends Base {}
    assert.throws(() => implement(work, new Derived()), TypeError);
    assert.throws(() => implement(work, Object.create({ run: () => "inherited" })), TypeError);
    assert.throws(() => implement(work, {} as { run: () => string }), TypeError);
    const proto = contract({ toString: call<null, string>(), constructor: call<null, string>() });
    assert.throws(() => implement(proto, {} as never), TypeError);

    await using pair = peerPair({
      dialler: { calls: work },
      listener: { serves: implement(work, { run: (input) => input }) },
    });
    const client: object = pair.dialler.client;
    assert.deepEqual(Reflect.ownKeys(client), ["run"]);
    assert.equal(Object.getPrototypeOf(client), null);
    for (const name of ["constructor", "toString", "__proto__", "hasOwnProperty", "then"]) {
      assert.equal(Reflect.get(client, name), undefined);
    }
  },
});

Deno.test({
  name: "a contract with methods named like inherited ones works like any other",
  timeout: TIMEOUT_MS,
  async fn(): Promise<void> {
    const odd = contract({ toString: call<string, string>(), constructor: call<string, string>() });
    await using pair = peerPair<typeof odd, Contract>({
      dialler: { calls: odd },
      listener: {
        serves: implement(odd, {
          toString: (text) => `string ${text}`,
          constructor: (text) => `made ${text}`,
        }),
      },
    });
    assert.equal(await pair.dialler.client.toString("a"), "string a");
    assert.equal(await pair.dialler.client.constructor("b"), "made b");
  },
});

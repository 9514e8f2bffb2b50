/** Many calls with everything that can happen to a call, and nothing left behind. */
import assert from "node:assert/strict";
import fc from "fast-check";
import type { Connection } from "../../../src/protocol/transport/transport.ts";
import { memoryPair } from "../../../src/protocol/transport/memory.ts";
import { call, type Client, contract, duplex, stream, upload } from "../../../src/protocol/rpc/contract.ts";
import { ApplicationError, CALL_ERROR_NUMBERS, RpcError } from "../../../src/protocol/rpc/errors.ts";
import { implement } from "../../../src/protocol/rpc/implement.ts";
import { systemTimers, type Timers } from "../../../src/protocol/rpc/timers.ts";
import { type PeerPair, peerPair } from "./peer_pair.ts";

const CALLS = 10_000, CONNECTIONS = 20;
const TIMEOUT_MS = 120_000;
const NOTHING = { pending: 0, waiting: 0, handlers: 0, streams: 0, timers: 0, queuedBytes: 0 };

/** Input: how the handler behaves. */
interface Plan {
  /** Macrotask turns it takes. */
  readonly turns: number;
  readonly fails: boolean;
  /** Items it gives or takes, where the method has any. */
  readonly items: number;
  /** Whether it looks at its signal. */
  readonly listens: boolean;
}

const zoo = contract({
  one: call<Plan, number>(),
  many: stream<Plan, number>(),
  take: upload<Plan, number, number>(),
  both: duplex<Plan, number, number>(),
});

/** What happens to one call. */
interface Script {
  readonly method: "one" | "many" | "take" | "both";
  readonly plan: Plan;
  readonly sent: number;
  readonly sourceFails: boolean;
  readonly deadlineMs: number;
  /** Turns until it is cancelled; null: never. */
  readonly cancelAfter: number | null;
  /** Items after which the reader breaks off; null: never. */
  readonly breakAfter: number | null;
}

const scripts = fc.record({
  method: fc.constantFrom("one", "many", "take", "both"),
  plan: fc.record({
    turns: fc.nat(3),
    fails: fc.boolean(),
    items: fc.nat(30),
    listens: fc.boolean(),
  }),
  sent: fc.nat(30),
  sourceFails: fc.boolean(),
  deadlineMs: fc.constantFrom(0, 0, 1, 3, 10_000),
  cancelAfter: fc.option(fc.nat(4)),
  breakAfter: fc.option(fc.nat(10)),
}) satisfies fc.Arbitrary<Script>;

/** Timers that know how many of them are set. */
class CountedTimers implements Timers {
  pending = 0;

  monotonicMs(): number {
    return systemTimers.monotonicMs();
  }

  after(delayMs: number, act: () => void): () => void {
    this.pending++;
    let isOver = false;
    const once = (): void => {
      if (!isOver) {
        isOver = true;
        this.pending--;
      }
    };
    const callOff = systemTimers.after(delayMs, () => {
      once();
      act();
    });
    return () => {
      callOff();
      once();
    };
  }
}

async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setTimeout(resolve, 0));
}

/** How many sources and handlers are running, of both sides; their `finally` must come. */
class Running {
  count = 0;

  async *items(count: number, fails: boolean): AsyncGenerator<number> {
    this.count++;
    try {
      for (let i = 0; i < count; i++) {
        if (i % 8 === 7) await turns(1);
        yield i;
      }
      if (fails) throw new ApplicationError("planned", "items fail");
    } finally {
      this.count--;
    }
  }

  async handle(plan: Plan, signal: AbortSignal, items: AsyncIterable<number> | null): Promise<number> {
    this.count++;
    try {
      let taken = 0;
      if (items !== null && plan.items > 0) {
        for await (const _item of items) {
          if (++taken === plan.items) break;
        }
      }
      await turns(plan.turns);
      if (plan.listens) signal.throwIfAborted();
      if (plan.fails) throw new ApplicationError("planned", "the handler fails");
      return taken;
    } finally {
      this.count--;
    }
  }
}

async function play(script: Script, client: Client<typeof zoo>, running: Running): Promise<string> {
  const controller = new AbortController();
  const { plan, deadlineMs, cancelAfter, breakAfter, sent, sourceFails } = script;
  const cancelling = cancelAfter === null ? null : turns(cancelAfter).then(() => controller.abort());
  const options = { deadlineMs, signal: controller.signal };
  try {
    switch (script.method) {
      case "one":
        await client.one(plan, options);
        return "done";
      case "take":
        await client.take(plan, running.items(sent, sourceFails), options);
        return "done";
      case "many":
        await read(client.many(plan, options), breakAfter);
        return "done";
      case "both":
        await read(client.both(plan, running.items(sent, sourceFails), options), breakAfter);
        return "done";
    }
  } catch (error) {
    assert(error instanceof RpcError, `a call failed with ${error}`);
    return error.code;
  } finally {
    await cancelling;
  }
}

async function read(items: AsyncIterable<number>, breakAfter: number | null): Promise<void> {
  let count = 0;
  for await (const item of items) {
    assert.equal(item, count);
    if (++count === breakAfter) break;
  }
}

function peersOf(
  running: Running,
  timers: Timers,
  connections: readonly [Connection, Connection],
): PeerPair<typeof zoo, typeof zoo> {
  const serves = implement(zoo, {
    one: (plan, { signal }) => plan.turns === 0 && !plan.fails ? 1 : running.handle(plan, signal, null),
    async *many(plan, { signal }): AsyncGenerator<number> {
      await running.handle({ ...plan, items: 0 }, signal, null);
      yield* running.items(plan.items, plan.fails);
    },
    take: (plan, items, { signal }) => running.handle(plan, signal, items),
    async *both(plan, items, { signal }): AsyncGenerator<number> {
      await running.handle(plan, signal, items);
      yield* running.items(plan.items, plan.fails);
    },
  });
  // Windows and numbers so small that everything waits for everything.
  const limits = {
    maxConcurrentCalls: 30,
    streamWindowBytes: 128,
    maxQueuedBytes: 2000,
    maxWaitingCalls: 15,
  };
  const side = { serves, calls: zoo, limits };
  return peerPair({ connections, timers, dialler: side, listener: side });
}

Deno.test({
  name: `${CALLS} calls with random cancels, deadlines, failures and disconnects leave nothing behind`,
  timeout: TIMEOUT_MS,
  async fn(): Promise<void> {
    const seed = Number(Deno.env.get("POSTERN_SEED") ?? Math.floor(Math.random() * 2 ** 31));
    const all = fc.sample(scripts, { numRuns: CALLS, seed });
    const running = new Running(), timers = new CountedTimers();
    const outcomes = new Map<string, number>();
    for (let part = 0; part < CONNECTIONS; part++) {
      const connections = memoryPair();
      const { dialler, listener } = peersOf(running, timers, connections);
      const mine = all.slice(part * CALLS / CONNECTIONS, (part + 1) * CALLS / CONNECTIONS);
      const playing = mine.map(async (script, i) => {
        await turns(3 * (i % 5));
        const outcome = await play(script, (i % 2 === 0 ? dialler : listener).client, running);
        outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
      });
      const cut = part % 3;
      await turns(13);
      if (cut === 1) connections[part % 2 === 0 ? 0 : 1].close();
      await Promise.all(playing);
      if (cut === 2) await dialler.drain();
      else dialler.close();
      await Promise.all([dialler.closed, listener.closed]);
      // Handlers that do not look at their signal end in their own time.
      for (let i = 0; i < 1000 && running.count > 0; i++) await turns(1);
      assert.deepEqual(dialler.counts(), NOTHING, `seed ${seed}`);
      assert.deepEqual(listener.counts(), NOTHING, `seed ${seed}`);
    }
    assert.equal(running.count, 0, `seed ${seed}`);
    assert.equal(timers.pending, 0, `seed ${seed}`);
    for (
      const outcome of ["done", "application", "cancelled", "deadline_exceeded", "disconnected", "exhausted"]
    ) {
      assert((outcomes.get(outcome) ?? 0) > 0, `no call ended as ${outcome}; seed ${seed}`);
    }
    for (const outcome of outcomes.keys()) assert(outcome === "done" || outcome in CALL_ERROR_NUMBERS);
  },
});

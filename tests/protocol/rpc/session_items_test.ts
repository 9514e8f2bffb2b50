/** What a handler is told of items when their caller goes away. */
import assert from "node:assert/strict";
import { ConnectionError, RpcError } from "../../../src/protocol/rpc/errors.ts";
import { implement, type Served } from "../../../src/protocol/rpc/implement.ts";
import { BOTH, everything } from "./everything.ts";
import { settled } from "./fake_timers.ts";
import { Stage } from "./session_stage.ts";

/** Serves `both`: the items are taken by somebody who is busy with the first one until a test says so. */
function slowReader(): { readonly served: Served; readonly taken: unknown[]; readonly goOn: () => void } {
  const taken: unknown[] = [], busy = Promise.withResolvers<void>();
  const refuse = (): never => {
    throw new Error("nobody calls this here");
  };
  const read = async (items: AsyncIterable<number>): Promise<void> => {
    try {
      for await (const item of items) {
        taken.push(item);
        await busy.promise;
      }
      taken.push("the end");
    } catch (error) {
      taken.push(error instanceof RpcError ? error.code : error);
    }
  };
  const served = implement(everything, {
    echo: refuse,
    slow: refuse,
    count: refuse,
    sum: refuse,
    // deno-lint-ignore require-yield -- it only waits
    async *both(_input, items, { signal }): AsyncGenerator<number> {
      void read(items);
      // As a program's output that ends with its caller.
      await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()));
    },
  });
  return { served, taken, goOn: () => busy.resolve() };
}

for (
  const [name, goAway, code] of [
    [
      "a connection that has gone",
      (stage) => stage.session.end(new ConnectionError("lost", "there", "gone")),
      "disconnected",
    ],
    [
      "a caller that waits no more",
      (stage) => void stage.receive({ kind: "cancel", id: 1, value: 3 }),
      "cancelled",
    ],
  ] as const satisfies [string, (stage: Stage<typeof everything>) => void, string][]
) {
  Deno.test(`${name} is no end of the items, also for a reader who looks for the next one only later`, async () => {
    const { served, taken, goOn } = slowReader();
    const stage = new Stage<typeof everything>({ serves: served });
    stage.receive({ kind: "call", id: 1, method: BOTH, body: "null" });
    stage.receive({ kind: "item", id: 1, body: "1" });
    await settled();
    goAway(stage);
    await settled();
    goOn();
    await settled();
    assert.deepEqual(taken, [1, code]);
  });
}

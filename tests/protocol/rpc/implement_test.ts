import assert from "node:assert/strict";
import { call, type CallContext, contract } from "../../../src/protocol/rpc/contract.ts";
import { implement } from "../../../src/protocol/rpc/implement.ts";

const math = contract({ add: call<[number, number], number>(), half: call<number, number>() });

Deno.test("implement() numbers the handlers as the contract does, whatever their order", () => {
  const { methods } = implement(math, { half: (n) => n / 2, add: ([a, b]) => a + b });
  assert.deepEqual(methods.map(({ name, shape }) => [name, shape]), [["add", "call"], ["half", "call"]]);
});

Deno.test("implement() refuses a handler for no method", () => {
  const handlers = { add: () => 1, half: () => 1, quarter: () => 1 };
  assert.throws(() => implement(math, handlers), /no method "quarter"/);
});

Deno.test("implement() refuses what is no function, getters included", () => {
  assert.throws(() => implement(math, { add: 5, half: () => 1 } as never), /"add" wants a function/);
  const handlers = {
    get add(): () => number {
      return () => 1;
    },
    half: () => 1,
  };
  assert.throws(() => implement(math, handlers), /"add" wants a function/);
});

Deno.test("a handler's this is the object it was given in", () => {
  const { methods } = implement(math, {
    half: (n) => n / 2,
    add(this: { half(n: number): number }, [a, b]: [number, number]): number {
      return this.half(2 * (a + b));
    },
  });
  assert.equal(methods[0]?.handle([1, 2], null, {} as CallContext), 3);
});

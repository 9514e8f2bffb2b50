/** A contract with every shape, and handlers that a test can watch. */
import { call, contract, duplex, stream, upload } from "../../../src/protocol/rpc/contract.ts";
import { implement, type Served } from "../../../src/protocol/rpc/implement.ts";

/** Numbered on the wire by name: both, count, echo, slow, sum. */
export const everything = contract({
  echo: call<unknown, unknown>(),
  slow: call<unknown, unknown>(),
  count: stream<number, number>(),
  sum: upload<null, number, number>(),
  both: duplex<null, number, number>(),
});
export const BOTH = 0, COUNT = 1, ECHO = 2, SLOW = 3, SUM = 4;

/** Handlers and what they saw. */
export interface Watched {
  readonly served: Served;
  readonly signals: AbortSignal[];
  readonly finish: ((value: unknown) => void)[];
}

/** Handlers of which `slow` settles when a test says so. */
export function watched(): Watched {
  const signals: AbortSignal[] = [], finish: ((value: unknown) => void)[] = [];
  const served = implement(everything, {
    echo: (input) => input,
    slow: (_input, { signal }) => {
      signals.push(signal);
      return new Promise((resolve) => finish.push(resolve));
    },
    async *count(to): AsyncGenerator<number> {
      for (let i = 0; i < to; i++) yield i;
    },
    async sum(_input, items): Promise<number> {
      let sum = 0;
      for await (const item of items) sum += item;
      return sum;
    },
    async *both(_input, items): AsyncGenerator<number> {
      for await (const item of items) yield 2 * item;
    },
  });
  return { served, signals, finish };
}

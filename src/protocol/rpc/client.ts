/** The other side's methods as functions. */
import type { CallOptions, Client, Contract, Shape } from "./contract.ts";
import type { CalledMethod } from "./our_call.ts";

/** What makes the calls. */
export interface CallMaker {
  /** Begins a call with one output. */
  one(method: CalledMethod, input: unknown, source: unknown, options?: CallOptions): Promise<unknown>;
  /** Begins a call that gives items. */
  many(
    method: CalledMethod,
    input: unknown,
    source: unknown,
    options?: CallOptions,
  ): AsyncIterableIterator<unknown>;
}

/** What each shape has: items from the caller, and one output or many. */
type MethodFunction = (...values: never[]) => unknown;

/** Makes the client of a contract: an object without prototype, so that nothing inherited looks like a method. */
export function makeClient<Calls extends Contract>(contract: Calls | null, maker: CallMaker): Client<Calls> {
  const client: Record<string, MethodFunction> = Object.create(null);
  contract?.names.forEach((name, number) => {
    const method = contract.methods[name];
    if (method !== undefined) {
      const { shape, schemas } = method;
      client[name] = MAKERS[shape]({ number, name, shape, schemas }, maker);
    }
  });
  return Object.freeze(client) as Client<Calls>;
}

const MAKERS: Readonly<Record<Shape, (method: CalledMethod, maker: CallMaker) => MethodFunction>> = {
  call: (method, maker) => (input: unknown, options?: CallOptions) =>
    maker.one(method, input, undefined, options),
  stream: (method, maker) => (input: unknown, options?: CallOptions) =>
    maker.many(method, input, undefined, options),
  upload: (method, maker) => (input: unknown, items: unknown, options?: CallOptions) =>
    maker.one(method, input, items, options),
  duplex: (method, maker) => (input: unknown, items: unknown, options?: CallOptions) =>
    maker.many(method, input, items, options),
};

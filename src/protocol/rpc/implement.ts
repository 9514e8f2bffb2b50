/**
 * What a side serves: the methods of a contract, each with its handler, in the order of their numbers on the wire.
 *
 * A call names its method by number, and the number is an index into `methods`: no name from outside is ever looked
 * up on an object, so nothing inherited (`constructor`, `toString`) can be called.
 */
import {
  type CallContext,
  type Contract,
  type Handlers,
  type MethodSchemas,
  type Shape,
  takesItems,
} from "./contract.ts";

/** One method with its handler, types forgotten: what goes in was decoded, perhaps checked by a schema. */
export interface ServedMethod {
  /** Its name in the contract. */
  readonly name: string;
  /** How it behaves. */
  readonly shape: Shape;
  /** What checks its values. */
  readonly schemas: MethodSchemas<unknown, unknown, unknown>;
  /** Calls the handler; `items` only for upload and duplex. */
  readonly handle: (
    input: unknown,
    items: AsyncIterableIterator<unknown> | null,
    context: CallContext,
  ) => unknown;
}

/** A contract with its handlers, made by `implement`. */
export interface Served {
  /** What is served. */
  readonly contract: Contract;
  /** What `context.client` of the handlers calls, if they were promised anything. */
  readonly calls: Contract | null;
  /** By number on the wire. */
  readonly methods: readonly ServedMethod[];
}

/**
 * Puts handlers behind the methods of a contract.
 *
 * @param handlers an object with one function for each method and nothing else, as own properties
 * @param calls what the handlers may call on the other side through `context.client`; the connection must be opened
 * with the same contract as its `calls`
 * @throws {TypeError} if a handler is missing, is inherited or is no function, or belongs to no method
 */
export function implement<C extends Contract, Calls extends Contract = Contract>(
  contract: C,
  handlers: Handlers<C, Calls>,
  calls?: Calls,
): Served {
  const table: object = handlers;
  for (const name of Object.keys(table)) {
    if (!contract.names.includes(name)) {
      throw new TypeError(`cannot implement the contract: it has no method "${name}"`);
    }
  }
  const methods = contract.names.map((name) => served(contract, name, table));
  return { contract, calls: calls ?? null, methods };
}

type AnyHandler = (this: object, ...values: unknown[]) => unknown;

function served(contract: Contract, name: string, table: object): ServedMethod {
  const method = Object.hasOwn(contract.methods, name) ? contract.methods[name] : undefined;
  const handler: unknown = Object.getOwnPropertyDescriptor(table, name)?.value;
  if (method === undefined || typeof handler !== "function") {
    throw new TypeError(
      `cannot implement the contract: "${name}" wants a function as an own property of the handlers`,
    );
  }
  const act = handler as AnyHandler;
  return {
    name,
    shape: method.shape,
    schemas: method.schemas,
    handle: takesItems(method.shape)
      ? (input, items, context) => act.call(table, input, items, context)
      : (input, _items, context) => act.call(table, input, context),
  };
}

/**
 * Handlers that use `context.client` were promised what it calls.
 *
 * @throws {TypeError} if that is something else than what is called on their connection
 */
export function requireSameCalls(serves: Served | null, calls: Contract | null): void {
  const promised = serves?.calls ?? null;
  if (promised !== null && promised !== calls) {
    throw new TypeError(
      "cannot connect: the handlers were made for other methods of the other side than are called here",
    );
  }
}

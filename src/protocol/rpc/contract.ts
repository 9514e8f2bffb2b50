/**
 * A contract: which methods there are and what goes in and out. Both sides build it from the same source; its hash
 * is compared when they connect.
 *
 * Four shapes, each with an input: `call` answers with one output, `stream` with any number of items, `upload` takes
 * items and answers with one output, `duplex` takes and gives items.
 */
import { sha256 } from "@noble/hashes/sha2.js";

/**
 * What checks a value at run time: any schema of the Standard Schema interface, version 1, such as one of valibot.
 * Only what is used here is named.
 */
export interface Schema<Value> {
  /** The interface itself; whoever made the schema fills it in. */
  readonly "~standard": {
    readonly version: 1;
    readonly validate: (value: unknown) => SchemaResult<Value> | Promise<SchemaResult<Value>>;
    readonly types?: { readonly input: unknown; readonly output: Value } | undefined;
  };
}

/** What a schema has against a value. */
export interface SchemaIssue {
  /** In words, which may repeat the value; they stay on this side. */
  readonly message: string;
  /** Where in the value: the keys from the outside to the inside. */
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined;
}

/** What a schema says of a value. */
export type SchemaResult<Value> =
  | { readonly value: Value; readonly issues?: undefined }
  | { readonly issues: readonly SchemaIssue[] };

/** How a method behaves. */
export type Shape = "call" | "stream" | "upload" | "duplex";

/** Whether the caller sends items. */
export function takesItems(shape: Shape): boolean {
  return shape === "upload" || shape === "duplex";
}

/** Whether the handler sends items, instead of one output. */
export function givesItems(shape: Shape): boolean {
  return shape === "stream" || shape === "duplex";
}

/** Schemas of a method; without one, what the other side sends is believed to have the declared type. */
export interface MethodSchemas<Input, In, Out> {
  /** Checked where the method is served. */
  readonly input?: Schema<Input>;
  /** One item of the caller's; checked where the method is served. */
  readonly item?: Schema<In>;
  /** The output, or one item of it; checked where the method is called. */
  readonly output?: Schema<Out>;
}

/** One method of a contract. */
export interface Method<S extends Shape = Shape, Input = unknown, In = unknown, Out = unknown> {
  /** How it behaves. */
  readonly shape: S;
  /** What checks its values. */
  // deno-lint-ignore no-explicit-any -- variance: a contract of known methods must fit `Methods`
  readonly schemas: MethodSchemas<any, any, any>;
  /** Never there at run time. */
  readonly "~types"?: { readonly input: Input; readonly in: In; readonly out: Out };
}

/** One input, one output. */
export function call<Input, Output>(
  schemas: Omit<MethodSchemas<Input, never, Output>, "item"> = {},
): Method<"call", Input, never, Output> {
  return { shape: "call", schemas };
}

/** One input, then items from the handler. */
export function stream<Input, Out>(
  schemas: Omit<MethodSchemas<Input, never, Out>, "item"> = {},
): Method<"stream", Input, never, Out> {
  return { shape: "stream", schemas };
}

/** One input and items from the caller, then one output. */
export function upload<Input, In, Output>(
  schemas: MethodSchemas<Input, In, Output> = {},
): Method<"upload", Input, In, Output> {
  return { shape: "upload", schemas };
}

/** One input, then items both ways at once. */
export function duplex<Input, In, Out>(
  schemas: MethodSchemas<Input, In, Out> = {},
): Method<"duplex", Input, In, Out> {
  return { shape: "duplex", schemas };
}

/** The methods of a contract by name. */
export type Methods = Readonly<Record<string, Method>>;

/** What both sides agree on. */
export interface Contract<M extends Methods = Methods> {
  /** By name. */
  readonly methods: M;
  /** Names in the order of their numbers on the wire. */
  readonly names: readonly string[];
  /** SHA-256, 32 bytes, over version, names and shapes. */
  readonly hash: Uint8Array<ArrayBuffer>;
  /** The application's own number or name of it. */
  readonly version: string;
}

/** What may be said of a contract beside its methods. */
export interface ContractOptions {
  /** Changes the hash: raise it when types change in a way that old and new sides cannot live with. */
  readonly version?: string;
}

const METHOD_NAME = /^[A-Za-z_$][A-Za-z0-9_$]{0,63}$/;
const VERSION = /^[\x21-\x7e]{0,64}$/;
/** As many as the method field of a frame can number. */
const MAX_METHODS = 0x10000;
/** A promise would call it: `await client` must give the client. */
const NOT_A_METHOD = new Set(["then"]);

/**
 * Makes a contract.
 *
 * @throws {TypeError} if a name is none, or there are too many or none
 */
export function contract<const M extends Methods>(methods: M, options: ContractOptions = {}): Contract<M> {
  const { version = "" } = options;
  if (!VERSION.test(version)) {
    throw new TypeError(
      "cannot make a contract: its version wants at most 64 printable ASCII characters without spaces",
    );
  }
  // By code unit, not by locale: both sides must number the methods alike.
  const names = Object.keys(methods).sort((a, b) => (a < b ? -1 : 1));
  if (names.length === 0 || names.length > MAX_METHODS) {
    throw new TypeError(`cannot make a contract of ${names.length} methods: it wants 1 to ${MAX_METHODS}`);
  }
  for (const name of names) {
    if (!METHOD_NAME.test(name) || NOT_A_METHOD.has(name)) {
      throw new TypeError(
        `cannot make a contract with a method "${name}": names are identifiers of at most 64 ASCII characters, except "then"`,
      );
    }
  }
  return { methods, names, version, hash: contractHash(methods, names, version) };
}

function contractHash(methods: Methods, names: readonly string[], version: string): Uint8Array<ArrayBuffer> {
  const lines = [
    "postern rpc contract 1",
    version,
    ...names.map((name) => `${name} ${methods[name]?.shape}`),
  ];
  return new Uint8Array(sha256(new TextEncoder().encode(`${lines.join("\n")}\n`)));
}

/** What a call may say about itself. */
export interface CallOptions {
  /** Milliseconds until the caller gives up, waiting for a connection included; the handler is told. 0: never. */
  readonly deadlineMs?: number;
  /** Gives up when aborted; the handler's signal follows. */
  readonly signal?: AbortSignal | undefined;
}

/** Where items come from. */
export type Items<T> = AsyncIterable<T> | Iterable<T>;

/** One method as its caller sees it. */
export type Caller<T extends Method> = T extends Method<infer S, infer Input, infer In, infer Out>
  ? S extends "call" ? (input: Input, options?: CallOptions) => Promise<Out>
  : S extends "stream" ? (input: Input, options?: CallOptions) => AsyncIterableIterator<Out>
  : S extends "upload" ? (input: Input, items: Items<In>, options?: CallOptions) => Promise<Out>
  : (input: Input, items: Items<In>, options?: CallOptions) => AsyncIterableIterator<Out>
  : never;

/** The methods of a contract as their caller sees them. An object without prototype: nothing else is on it. */
export type Client<C extends Contract> = {
  readonly [Name in keyof C["methods"]]: Caller<C["methods"][Name]>;
};

/** What a handler is told besides its input. */
export interface CallContext<Calls extends Contract = Contract> {
  /** Name of the method. */
  readonly method: string;
  /** Aborted when the caller gives up, its deadline passes or the connection goes. */
  readonly signal: AbortSignal;
  /** Milliseconds left of the caller's deadline; Infinity if it has none. */
  readonly remainingMs: number;
  /** Who calls. */
  readonly peer: PeerInfo;
  /** The other side's methods, on the same connection; only where `calls` was given. */
  readonly client: Client<Calls>;
}

/** Who is at the other end, as far as it was shown. */
export interface PeerInfo {
  /** Name of the transport. */
  readonly transport: string;
  /** Where it is, in the transport's own words, for logs; null where that has no name. */
  readonly remoteAddress: string | null;
  /** What the handshake proved: nothing, or that it holds the secret, or which executable its process runs. */
  readonly authenticated: "none" | "secret" | "process";
  /** The executable, where the handshake was "signed process". */
  readonly executablePath: string | null;
}

/** One method as its handler. Items that are sent may come from a generator or any other iterable. */
export type Handler<T extends Method, Calls extends Contract = Contract> = T extends
  Method<infer S, infer Input, infer In, infer Out>
  ? S extends "call" ? (input: Input, context: CallContext<Calls>) => Out | Promise<Out>
  : S extends "stream" ? (input: Input, context: CallContext<Calls>) => Items<Out> | Promise<Items<Out>>
  : S extends "upload"
    ? (input: Input, items: AsyncIterableIterator<In>, context: CallContext<Calls>) => Out | Promise<Out>
  : (
    input: Input,
    items: AsyncIterableIterator<In>,
    context: CallContext<Calls>,
  ) => Items<Out> | Promise<Items<Out>>
  : never;

/** One handler for each method of a contract, as own properties. */
export type Handlers<C extends Contract, Calls extends Contract = Contract> = {
  readonly [Name in keyof C["methods"]]: Handler<C["methods"][Name], Calls>;
};

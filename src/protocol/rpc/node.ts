/**
 * The node: what a program says of the services it offers and uses, then `start`.
 *
 *   new Node({ handshake: hmac(secret) })
 *     .serve(math, tcp("127.0.0.1:1337"), { add: ({ a, b }) => a + b }).publish("MATH").oneToMany()
 *     .start()
 *
 * Everything is only written down until `start`, so that the order of the calls makes no difference, and above all
 * none to the handshake: it belongs to the node, not to what is called after it.
 */
import type { Transport } from "../transport/transport.ts";
import type { Codec } from "./codec.ts";
import type { Client, Contract, Handlers } from "./contract.ts";
import type { Discovery } from "./discovery/discovery.ts";
import { serviceName } from "./discovery/record.ts";
import { type HandshakePolicy, noHandshake } from "./handshake_policy.ts";
import { implement, requireSameCalls, type Served } from "./implement.ts";
import { jsonCodec } from "./json_codec.ts";
import { completeLimits, type Limits } from "./limits.ts";
import type { NodeEventListener } from "./node_event.ts";
import { type ConnectPlan, type NodePlan, type ServePlan } from "./node_plan.ts";
import { type RunningNode, startNode } from "./running_node.ts";
import { type RandomBytes, systemRandomBytes, systemTimers, type Timers } from "./timers.ts";

/** What a node may be told. */
export interface NodeOptions {
  /** What is demanded of the other side, of every connection of the node. @default noHandshake() */
  readonly handshake?: HandshakePolicy | undefined;
  /** How values become bytes. @default jsonCodec() */
  readonly codec?: Codec | undefined;
  /** What one connection may cost; what is not named is that of `DEFAULT_LIMITS`. */
  readonly limits?: Partial<Limits> | undefined;
  /** Name of the service in handshakes, where it is not `publish` or `waitFor` that names it. @default "" */
  readonly service?: string | undefined;
  /** Where `publish` and `waitFor` look. */
  readonly discovery?: Discovery | undefined;
  /** The clock of all waits. @default systemTimers */
  readonly timers?: Timers | undefined;
  /** Where nonces and the lengths of pauses come from. @default systemRandomBytes */
  readonly randomBytes?: RandomBytes | undefined;
  /** Told what happens, for logs. */
  readonly onEvent?: NodeEventListener | undefined;
}

/** What may be said of what is served. */
export interface ServeOptions<Calls extends Contract> {
  /** What the handlers may call on the other side, as `context.client`. */
  readonly calls?: Calls | undefined;
}

/** What may be said of what is connected to. */
export interface ConnectToOptions {
  /** What the other side may call here on the same connection, as `implement` makes it. */
  readonly serves?: Served | undefined;
  /**
   * Milliseconds for which `start` tries again while nobody listens at the address yet. With `waitFor`, say it there.
   *
   * @default 0, which is one attempt
   */
  readonly timeoutMs?: number | undefined;
}

/** How a service is published. */
export interface PublishOptions {
  /**
   * Where others reach it, where that is not what the listener itself says: from outside of a virtual machine, say.
   */
  readonly addresses?: readonly string[] | undefined;
}

/** How many may be connected. */
export interface OneToManyOptions {
  /** Connections at once; one more is refused. @default 1024 */
  readonly maxConnections?: number | undefined;
}

/** How long the other side is waited for. */
export interface WaitForOptions {
  /** Milliseconds until `start` gives up. @default 30000 */
  readonly timeoutMs?: number | undefined;
}

/** Options of `start`. */
export interface StartOptions {
  /** Aborted before `start` has settled, it rejects with the reason; afterwards, the node is closed. */
  readonly signal?: AbortSignal | undefined;
}

/** Where a client's node is kept: `client[running]`. No method of a contract can have this name. */
export const running: unique symbol = Symbol("running");

/** The methods of the other side, with the node that keeps the connection. */
export type ConnectedClient<C extends Contract> = Client<C> & AsyncDisposable & {
  /** The node behind this client. */
  readonly [running]: RunningNode;
};

/** What `start` gives: a client where something is connected to, else the node. */
export type Started<C extends Contract | null> = [C] extends [Contract] ? ConnectedClient<C> : RunningNode;

const DEFAULT_MAX_CONNECTIONS = 1024;
const DEFAULT_WAIT_MS = 30_000;

/** Writes down what a node does. Each part is said once; saying it twice throws. */
export class NodeBuilder<C extends Contract | null = null> {
  readonly #options: NodeOptions;
  #serve: ServePlan | null = null;
  #connect: ConnectPlan | null = null;
  #publish: { readonly name: string; readonly addresses: readonly string[] | null } | null = null;
  #waitFor: { readonly name: string; readonly timeoutMs: number } | null = null;
  #places: NodePlan["places"] | null = null;
  #isStarted = false;

  /** Begins an empty node. */
  constructor(options: NodeOptions = {}) {
    this.#options = options;
  }

  /**
   * Serves a contract where the transport listens.
   *
   * @throws {TypeError} if the handlers are not those of the contract, or the node serves already
   */
  serve<S extends Contract, Calls extends Contract = Contract>(
    contract: S,
    transport: Transport,
    handlers: Handlers<S, Calls>,
    options: ServeOptions<Calls> = {},
  ): this {
    this.#once(this.#serve, "serve");
    const { calls } = options;
    this.#serve = { transport, serves: implement(contract, handlers, calls), calls: calls ?? null };
    return this;
  }

  /**
   * Makes what is served known by a name, which is also the name of the service in the handshake.
   *
   * @throws {TypeError} if it is no name, or the node publishes already
   */
  publish(name: string, options: PublishOptions = {}): this {
    this.#once(this.#publish, "publish");
    this.#publish = { name: serviceName(name), addresses: options.addresses ?? null };
    return this;
  }

  /**
   * Takes one connection at a time. Its place is taken by a finished handshake, not before; when another peer asks and
   * the one that has the place does not answer a ping within 3 s, the newcomer gets it.
   *
   * @throws {TypeError} if the policy was named already
   */
  oneToOne(): this {
    this.#once(this.#places, "name the connection policy");
    this.#places = { kind: "one" };
    return this;
  }

  /**
   * Takes any number of connections up to a limit; so does a node that says neither.
   *
   * @throws {TypeError} if the policy was named already, or the limit is no positive whole number
   */
  oneToMany(options: OneToManyOptions = {}): this {
    this.#once(this.#places, "name the connection policy");
    const { maxConnections = DEFAULT_MAX_CONNECTIONS } = options;
    if (!Number.isSafeInteger(maxConnections) || maxConnections < 1) {
      throw new TypeError(`cannot take ${maxConnections} connections: a positive whole number is accepted`);
    }
    this.#places = { kind: "many", maxConnections };
    return this;
  }

  /**
   * Connects to a contract: where `waitFor` finds it, else at the transport's own address; with the very transport
   * object that the node serves on, to itself.
   *
   * @throws {TypeError} if the node connects already, or `serves` was made for a `context.client` of another contract
   */
  connect<T extends Contract>(
    contract: T,
    transport: Transport,
    options: ConnectToOptions = {},
  ): NodeBuilder<T> {
    this.#once(this.#connect, "connect");
    const { serves = null, timeoutMs = 0 } = options;
    requireSameCalls(serves, contract);
    this.#connect = { transport, contract, serves, timeoutMs };
    // The same object, which from now on starts into a client.
    return this as unknown as NodeBuilder<T>;
  }

  /**
   * Finds what is connected to by the name it was published under, and waits for it to appear and to be reachable.
   *
   * @throws {TypeError} if it is no name, or the node waits already
   */
  waitFor(name: string, options: WaitForOptions = {}): this {
    this.#once(this.#waitFor, "wait");
    this.#waitFor = { name: serviceName(name), timeoutMs: options.timeoutMs ?? DEFAULT_WAIT_MS };
    return this;
  }

  /**
   * Listens, publishes, then connects: in this order, so that two nodes that wait for each other both find what they
   * wait for, whichever is first. What was opened is closed again if a later step fails.
   *
   * @throws {TypeError} if what was written down makes no node; nothing was opened
   * @throws {TransportError} if it cannot listen or reach the other side
   * @throws {ConnectionError} if the handshake is refused
   * @throws {DiscoveryError} if it cannot be published, or nobody appeared under the name in time
   */
  async start(options: StartOptions = {}): Promise<Started<C>> {
    const plan = this.#plan();
    if (this.#isStarted) throw new TypeError("cannot start: this node was started already");
    this.#isStarted = true;
    options.signal?.throwIfAborted();
    const { node, client } = await startNode(plan, options.signal);
    if (client === null) return node as Started<C>;
    const connected = Object.defineProperties(client, {
      [running]: { value: node },
      [Symbol.asyncDispose]: { value: () => node.close() },
    });
    return Object.freeze(connected) as Started<C>;
  }

  #plan(): NodePlan {
    const { handshake, codec, limits, service = "", discovery, timers, randomBytes, onEvent } = this.#options;
    if (this.#serve === null && this.#publish !== null) {
      throw new TypeError(`cannot start: "${this.#publish.name}" is published, but the node serves nothing`);
    }
    if (this.#serve === null && this.#places !== null) {
      throw new TypeError("cannot start: a connection policy was named, but the node serves nothing");
    }
    if (this.#connect === null && this.#waitFor !== null) {
      throw new TypeError(
        `cannot start: "${this.#waitFor.name}" is waited for, but the node connects to nothing`,
      );
    }
    if (this.#waitFor !== null && this.#connect?.timeoutMs !== 0) {
      throw new TypeError(
        "cannot start: the timeoutMs of what is waited for is said to waitFor, not to connect",
      );
    }
    if (this.#serve === null && this.#connect === null) {
      throw new TypeError("cannot start: the node neither serves nor connects");
    }
    if ((this.#publish !== null || this.#waitFor !== null) && discovery === undefined) {
      throw new TypeError("cannot start: publish and waitFor want a discovery, and none was given");
    }
    return {
      serve: this.#serve,
      connect: this.#connect,
      publish: this.#publish,
      waitFor: this.#waitFor,
      places: this.#places ?? { kind: "many", maxConnections: DEFAULT_MAX_CONNECTIONS },
      handshake: handshake ?? noHandshake(),
      codec: codec ?? jsonCodec(),
      limits: completeLimits(limits),
      service,
      discovery: discovery ?? null,
      timers: timers ?? systemTimers,
      randomBytes: randomBytes ?? systemRandomBytes,
      onEvent,
    };
  }

  #once(part: unknown, act: string): void {
    if (this.#isStarted) throw new TypeError(`cannot ${act}: the node was started already`);
    if (part !== null) {
      throw new TypeError(`cannot ${act}: the node was told so already, a second one is for another node`);
    }
  }
}

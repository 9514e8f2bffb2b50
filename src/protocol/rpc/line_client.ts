/**
 * A client that outlives connections. While there is one, a call goes straight to it; while there is none, the call
 * waits for the next within its deadline.
 */
import {
  type CallOptions,
  type Client,
  type Contract,
  givesItems,
  type Shape,
  takesItems,
} from "./contract.ts";
import { RpcError } from "./errors.ts";
import type { Line } from "./line.ts";
import type { Timers } from "./timers.ts";
import { refusedDeadline } from "./watch_call.ts";

/** What such a client works with. */
export interface LineClientParts<Calls extends Contract> {
  readonly contract: Calls;
  readonly line: Line<Calls>;
  readonly timers: Timers;
  /** How long a call waits for a connection if it names no deadline. */
  readonly defaultDeadlineMs: number;
}

type AnyCaller = (...values: readonly unknown[]) => unknown;

/** Makes the client: an object without prototype that has the contract's methods and nothing else. */
export function lineClient<Calls extends Contract>(parts: LineClientParts<Calls>): Client<Calls> {
  const table: Record<string, AnyCaller> = Object.create(null);
  for (const name of parts.contract.names) {
    const shape = parts.contract.methods[name]?.shape;
    if (shape !== undefined) table[name] = caller(parts, name, shape);
  }
  return table as unknown as Client<Calls>;
}

function caller<Calls extends Contract>(
  parts: LineClientParts<Calls>,
  name: string,
  shape: Shape,
): AnyCaller {
  const { line } = parts;
  // Upload and duplex take items between input and options.
  const optionsAt = takesItems(shape) ? 2 : 1;
  return (...values) => {
    const { peer } = line;
    if (peer !== null) return callerOf(peer.client, name)(...values);
    const options = (values[optionsAt] ?? {}) as CallOptions;
    const begin = ({ act, remaining }: ReadyCaller): unknown => act(...values.slice(0, optionsAt), remaining);
    if (!givesItems(shape)) return waitForCaller(parts, name, options, options.signal).then(begin);
    const left = new AbortController();
    const signal = AbortSignal.any(
      options.signal === undefined ? [left.signal] : [left.signal, options.signal],
    );
    return new LateItems(waitForCaller(parts, name, options, signal), begin, left);
  };
}

interface ReadyCaller {
  readonly act: AnyCaller;
  /** The options with what is left of the deadline. */
  readonly remaining: CallOptions;
}

async function waitForCaller<Calls extends Contract>(
  { line, timers, defaultDeadlineMs }: LineClientParts<Calls>,
  name: string,
  options: CallOptions,
  signal: AbortSignal | undefined,
): Promise<ReadyCaller> {
  const { deadlineMs } = options;
  const beganMs = timers.monotonicMs();
  const waitMs = deadlineMs === 0 ? Infinity : deadlineMs ?? defaultDeadlineMs;
  const refused = refusedDeadline(name, waitMs);
  if (refused !== null) throw refused;
  const peer = await line.wait(waitMs, signal);
  const act = callerOf(peer.client, name);
  if (deadlineMs === undefined || deadlineMs === 0) return { act, remaining: options };
  const leftMs = deadlineMs - (timers.monotonicMs() - beganMs);
  if (leftMs <= 0) throw new RpcError("unavailable", "cannot call: the connection came at the very deadline");
  return { act, remaining: { ...options, deadlineMs: leftMs } };
}

/** The names are those of the contract that the peer's client was made from. */
function callerOf(client: object, name: string): AnyCaller {
  return (client as Record<string, AnyCaller>)[name] as AnyCaller;
}

/** Items of a stream that begins when there is a connection. */
class LateItems implements AsyncIterableIterator<unknown> {
  readonly #items: Promise<AsyncIterableIterator<unknown>>;
  /** Ends the wait for a connection. */
  readonly #left: AbortController;
  #isDone = false;

  constructor(later: Promise<ReadyCaller>, begin: (ready: ReadyCaller) => unknown, left: AbortController) {
    this.#left = left;
    this.#items = later.then((ready) => {
      if (this.#isDone) throw new RpcError("cancelled", "the stream was left before it began");
      return begin(ready) as AsyncIterableIterator<unknown>;
    });
    // Whoever never reads is not told, as with any stream.
    this.#items.catch(() => {});
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<unknown>> {
    if (this.#isDone) return { done: true, value: undefined };
    try {
      return await (await this.#items).next();
    } catch (error) {
      if (this.#isDone) return { done: true, value: undefined };
      throw error;
    }
  }

  async return(value?: unknown): Promise<IteratorResult<unknown>> {
    this.#isDone = true;
    this.#left.abort();
    // Nobody waits for a stream to begin only to hear that it has ended.
    this.#items.then((items) => items.return?.()).catch(() => {});
    return await Promise.resolve({ done: true, value });
  }
}

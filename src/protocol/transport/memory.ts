/**
 * Connections within one thread, for programs that talk to themselves and for tests: no system call, and all the
 * promises of a transport.
 */
import { AcceptQueue, MAX_WAITING_CONNECTIONS } from "./accept_queue.ts";
import { MemoryPipe } from "./memory_pipe.ts";
import {
  type Connection,
  type ConnectOptions,
  type Listener,
  type Transport,
  TransportError,
} from "./transport.ts";

/** Listeners of this thread by name. */
const listeners = new Map<string, MemoryListener>();
let namesMade = 0;

/**
 * Makes a transport between the parts of one program, in one thread; between threads, see `workerRing` and
 * `messagePort`. Its addresses are names of at least one character, and whoever knows a name reaches its listener,
 * through whichever `memory` transport. At most 256 KiB wait in each direction of a connection.
 *
 * @param name where it listens and connects; without one, a fresh name
 */
export function memory(name: string = `memory-${++namesMade}`): Transport {
  return {
    name: "memory",
    address: name,
    listen(address: string = name): Promise<Listener> {
      try {
        return Promise.resolve(listenAt(address));
      } catch (error) {
        return Promise.reject(error);
      }
    },
    connect: (address: string = name, options: ConnectOptions = {}) => connectTo(address, options),
  };
}

/** Makes both ends of a connection, without a listener. */
export function memoryPair(): readonly [Connection, Connection] {
  return pairBetween(null, null);
}

function pairBetween(dialler: string | null, listener: string | null): readonly [Connection, Connection] {
  const there = new MemoryPipe(), back = new MemoryPipe();
  return [
    new MemoryConnection(back, there, dialler, listener),
    new MemoryConnection(there, back, listener, dialler),
  ];
}

class MemoryConnection implements Connection {
  readonly transport = "memory";
  readonly confidential = true;
  readonly localAddress: string | null;
  readonly remoteAddress: string | null;
  readonly #in: MemoryPipe;
  readonly #out: MemoryPipe;

  constructor(
    input: MemoryPipe,
    output: MemoryPipe,
    localAddress: string | null,
    remoteAddress: string | null,
  ) {
    this.#in = input;
    this.#out = output;
    this.localAddress = localAddress;
    this.remoteAddress = remoteAddress;
  }

  read(buffer: Uint8Array<ArrayBuffer>): Promise<number | null> {
    return this.#in.read(buffer);
  }

  write(bytes: Uint8Array): Promise<void> {
    return this.#out.write(bytes);
  }

  closeWrite(): Promise<void> {
    return this.#out.end();
  }

  close(): void {
    this.#out.closeWriter();
    this.#in.closeReader();
  }
}

function listenAt(address: string): MemoryListener {
  if (address === "") {
    throw new TransportError(
      "address",
      "cannot listen in memory: the name is empty, it wants at least one character",
    );
  }
  if (listeners.has(address)) {
    throw new TransportError(
      "address",
      `cannot listen in memory at "${address}": another listener has that name`,
    );
  }
  const listener = new MemoryListener(address);
  listeners.set(address, listener);
  return listener;
}

async function connectTo(address: string, { signal }: ConnectOptions): Promise<Connection> {
  // Also for the signal: it may be aborted between the call and the answer, as with any other transport.
  await Promise.resolve();
  signal?.throwIfAborted();
  const listener = listeners.get(address);
  if (listener === undefined) {
    throw new TransportError("refused", `cannot connect in memory to "${address}": nobody listens there`);
  }
  return listener.take();
}

class MemoryListener implements Listener {
  readonly address: string;
  readonly #queue = new AcceptQueue();

  constructor(address: string) {
    this.address = address;
  }

  /** Takes a connection in; gives the dialling end. */
  take(): Connection {
    if (this.#queue.length >= MAX_WAITING_CONNECTIONS) {
      throw new TransportError(
        "refused",
        `cannot connect in memory to "${this.address}": ${MAX_WAITING_CONNECTIONS} connections wait to be accepted`,
      );
    }
    const [dialled, accepted] = pairBetween(null, this.address);
    this.#queue.add(accepted);
    return dialled;
  }

  accept(): Promise<Connection | null> {
    return this.#queue.accept();
  }

  close(): void {
    if (this.#queue.isClosed) return;
    this.#queue.close();
    listeners.delete(this.address);
  }
}

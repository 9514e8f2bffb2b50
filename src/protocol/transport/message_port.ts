/**
 * Connections over a message port: between a page or a program and its workers, or whatever else two ports join.
 * One base port carries any number of connections, each on a channel of its own that is sent over it:
 *
 *   listener -> dialler   {postern: "listening", name}     when it begins; who waits for it asks again
 *   dialler -> listener   {postern: "ask", name, id}
 *   listener -> dialler   {postern: "yes", id}             or {postern: "no", id}: it takes no more
 *   dialler -> listener   {postern: "open", name, agent} and a port, once, after the first "yes"
 *
 *   on that port, listener -> dialler   {postern: "opened", agent}: the connection stands
 *   on that port, both ways             as in message_connection.ts, and "close" as the last
 *
 * No port is sent to where nobody may be: it would be open for ever.
 *
 * Other messages on the base port are left to the program. Bytes are copied once and then handed over, not copied
 * again.
 *
 * A thread that has gone, by `Worker.terminate()` or an error, is noticed within a tenth of a second where the runtime
 * has Web Locks (Deno has, and browsers have on secure pages); see message_port_watch.ts. Otherwise, and for a thread
 * that hangs, there is the keep-alive of the RPC peer.
 */
import { systemTimers, type Timers } from "../rpc/timers.ts";
import {
  type BasePort,
  closePort,
  connectionOnPort,
  MESSAGE_PORT,
  type PortMessage,
  portMessage,
  portOfThisWorker,
} from "./message_port_connection.ts";
import { listenOnPort } from "./message_port_listener.ts";
import { joinThread } from "./message_port_watch.ts";
import {
  type Connection,
  type ConnectOptions,
  type Listener,
  type Transport,
  TransportError,
} from "./transport.ts";

export type { BasePort } from "./message_port_connection.ts";

/** How a message port is used. */
export interface MessagePortOptions {
  /** Tells several listeners on one base port apart. Default: "rpc". */
  readonly name?: string;
  /** How long `connect` waits for a listener at the other end. Default: 5,000. */
  readonly connectTimeoutMs?: number;
  /** Clock of that wait. */
  readonly timers?: Timers;
}

const DEFAULT_ADDRESS = "rpc";
const CONNECT_TIMEOUT_MS = 5_000;

/** Numbers the attempts of this thread. */
let lastId = 0;

/**
 * Makes a transport of a port: a `Worker`, a `MessagePort`, or in a worker nothing, which is its own port. The address is a name, which
 * only matters where several listeners share one port.
 *
 * A base port that is listened on, or over which a connect is under way, keeps a program of Deno alive.
 *
 * @throws {TypeError} without a port outside of a worker
 */
export function messagePort(
  base: BasePort = portOfThisWorker(),
  options: MessagePortOptions = {},
): Transport {
  const { name = DEFAULT_ADDRESS, connectTimeoutMs = CONNECT_TIMEOUT_MS, timers = systemTimers } = options;
  return {
    name: MESSAGE_PORT,
    address: name,
    listen(address = name): Promise<Listener> {
      return listenOnPort(base, address);
    },
    connect(address = name, { signal }: ConnectOptions = {}): Promise<Connection> {
      return connectOverPort(base, address, { signal, connectTimeoutMs, timers });
    },
  };
}

interface Attempt {
  readonly signal: AbortSignal | undefined;
  readonly connectTimeoutMs: number;
  readonly timers: Timers;
}

async function connectOverPort(base: BasePort, address: string, attempt: Attempt): Promise<Connection> {
  const { signal } = attempt;
  signal?.throwIfAborted();
  const lock = await joinThread();
  try {
    signal?.throwIfAborted();
    return await opened(base, address, attempt, lock?.agent ?? null);
  } finally {
    // The connection has a part of its own.
    lock?.leave();
  }
}

function opened(
  base: BasePort,
  address: string,
  { signal, connectTimeoutMs, timers }: Attempt,
  agent: string | null,
): Promise<Connection> {
  const id = ++lastId;
  const { promise, resolve, reject } = Promise.withResolvers<Connection>();
  let port: MessagePort | null = null;

  const say = (message: PortMessage, transfer: Transferable[] = []): void =>
    base.postMessage(message, transfer);
  const ask = (): void => say({ postern: "ask", name: address, id });
  const stop = (): void => {
    base.removeEventListener("message", onMessage);
    signal?.removeEventListener("abort", onAbort);
    stopTimer();
  };
  const giveUp = (reason: unknown): void => {
    stop();
    if (port !== null) closePort(port);
    reject(reason);
  };
  const refuse = (found: string): void =>
    giveUp(new TransportError("refused", `cannot connect to "${address}" over the message port: ${found}`));
  const onAbort = (): void => giveUp(signal?.reason);
  const open = (): void => {
    const channel = new MessageChannel();
    const own = port = channel.port1;
    own.onmessage = ({ data }) => {
      const message = portMessage(data);
      if (message?.postern !== "opened") return refuse("the listener was closed");
      stop();
      resolve(connectionOnPort(own, address, message.agent));
    };
    say({ postern: "open", name: address, agent }, [channel.port2]);
  };
  const onMessage = ({ data }: MessageEvent): void => {
    const message = portMessage(data);
    if (message?.postern === "listening" && message.name === address && port === null) ask();
    if (message?.postern === "yes" && message.id === id && port === null) open();
    if (message?.postern === "no" && message.id === id) refuse("the listener takes no more");
  };
  const stopTimer = timers.after(connectTimeoutMs, () => refuse(`nobody answered in ${connectTimeoutMs} ms`));
  signal?.addEventListener("abort", onAbort);
  base.addEventListener("message", onMessage);
  base.start?.();
  ask();
  return promise;
}

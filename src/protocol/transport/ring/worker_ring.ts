/**
 * Connections through shared memory between a page or a program and its workers, or whatever else two ports join. The
 * memory is handed over on that port, the base; no message travels once a connection stands:
 *
 *   listener -> dialler   {postern: "ring-listening", name}     when it begins; who waits for it asks again
 *   dialler -> listener   {postern: "ring-ask", name, id}
 *   listener -> dialler   {postern: "ring-yes", id}             or {postern: "ring-no", id}: it takes no more
 *   dialler -> listener   {postern: "ring-open", name, id, agent, memory}   once, after the first "yes"
 *   listener -> dialler   {postern: "ring-up", id, agent}
 *
 * The dialler writes the first ring of the memory and reads the second. `agent` names a lock that the sender's thread
 * holds; the other side waits for it, and so learns that the thread has gone, however that happened: `terminate()`,
 * `close()`, an error. A thread that hangs in a loop holds its lock; that is for the RPC peer's keep-alive.
 *
 * In a browser the page must be cross-origin isolated, else there is no `SharedArrayBuffer`.
 */
import { systemTimers, type Timers } from "../../rpc/timers.ts";
import { type BasePort, portOfThisWorker } from "../message_port_connection.ts";
import {
  type Connection,
  type ConnectOptions,
  type Listener,
  type Transport,
  TransportError,
} from "../transport.ts";
import { type AgentLock, hasLocks, joinAgentLock } from "./agent_lock.ts";
import { checkRingBytes, DEFAULT_RING_BYTES, pairBytes, ringsIn } from "./ring.ts";
import { RingConnection } from "./ring_connection.ts";
import { SharedLink } from "./shared_link.ts";
import { type RingMessage, ringMessage, WORKER_RING } from "./worker_ring_dialogue.ts";
import { listenForRings } from "./worker_ring_listener.ts";

/** How shared memory is used. */
export interface WorkerRingOptions {
  /** Tells several listeners on one base port apart. Default: "rpc". */
  readonly name?: string;
  /** Size of the ring for each direction: a power of two, 4,096 to 67,108,864. Default: 262,144. */
  readonly ringBytes?: number;
  /** How long `connect` waits for a listener at the other end. Default: 5,000. */
  readonly connectTimeoutMs?: number;
  /** Clock of that wait. */
  readonly timers?: Timers;
}

const DEFAULT_NAME = "rpc";
const CONNECT_TIMEOUT_MS = 5_000;

/**
 * Makes a transport of a `Worker`, a `MessagePort`, or in a worker of its own port. The address is a name, which only
 * matters where several listeners share one base.
 *
 * @throws {RangeError} if no ring can have that size
 * @throws {TypeError} without a port outside of a worker
 */
export function workerRing(base: BasePort = portOfThisWorker(), options: WorkerRingOptions = {}): Transport {
  const { name = DEFAULT_NAME, connectTimeoutMs = CONNECT_TIMEOUT_MS, timers = systemTimers } = options;
  const ringBytes = checkRingBytes(options.ringBytes ?? DEFAULT_RING_BYTES);
  return {
    name: WORKER_RING,
    address: name,
    // deno-lint-ignore require-await -- it throws into its promise
    async listen(address = name): Promise<Listener> {
      checkRuntime();
      return listenForRings(base, address);
    },
    async connect(address = name, { signal }: ConnectOptions = {}): Promise<Connection> {
      checkRuntime();
      signal?.throwIfAborted();
      const lock = await joinAgentLock();
      try {
        return await dial({ base, address, lock, ringBytes, signal, connectTimeoutMs, timers });
      } catch (error) {
        lock.leave();
        throw error;
      }
    },
  };
}

interface Attempt {
  readonly base: BasePort;
  readonly address: string;
  readonly lock: AgentLock;
  readonly ringBytes: number;
  readonly signal: AbortSignal | undefined;
  readonly connectTimeoutMs: number;
  readonly timers: Timers;
}

function dial(attempt: Attempt): Promise<Connection> {
  const { base, address, lock, ringBytes, signal, connectTimeoutMs, timers } = attempt;
  const id = crypto.randomUUID();
  const { promise, resolve, reject } = Promise.withResolvers<Connection>();
  let memory: SharedArrayBuffer | null = null;

  const say = (message: RingMessage): void => base.postMessage(message, []);
  const standing = (memory: SharedArrayBuffer, otherAgent: string): Connection => {
    const [outgoing, incoming] = ringsIn(memory, 0, ringBytes);
    const link = new SharedLink({ incoming, outgoing, lock, otherAgent });
    const name = { transport: WORKER_RING, remoteAddress: address, localAddress: null };
    return new RingConnection(name, incoming, outgoing, link);
  };
  const giveUp = (reason: unknown): void => {
    stop();
    // The listener may have the memory, or take it later, and this thread lives on: only the memory can tell.
    if (memory !== null) standing(memory, lock.agent).close();
    reject(reason);
  };
  const refuse = (found: string): void =>
    giveUp(new TransportError("refused", `cannot connect to "${address}" through shared memory: ${found}`));
  const onAbort = (): void => giveUp(signal?.reason);
  const onMessage = ({ data }: MessageEvent): void => {
    const message = ringMessage(data);
    if (message?.postern === "ring-listening" && message.name === address && memory === null) {
      say({ postern: "ring-ask", name: address, id });
    }
    if (message === null || !("id" in message) || message.id !== id) return;
    if (message.postern === "ring-no") refuse("the listener takes no more");
    if (message.postern === "ring-yes" && memory === null) {
      memory = new SharedArrayBuffer(pairBytes(ringBytes));
      say({ postern: "ring-open", name: address, id, agent: lock.agent, memory });
    }
    if (message.postern === "ring-up" && memory !== null) {
      stop();
      resolve(standing(memory, message.agent));
    }
  };
  const stop = (): void => {
    base.removeEventListener("message", onMessage);
    signal?.removeEventListener("abort", onAbort);
    stopTimer();
  };
  const stopTimer = timers.after(connectTimeoutMs, () => refuse(`nobody answered in ${connectTimeoutMs} ms`));
  if (signal?.aborted) onAbort();
  signal?.addEventListener("abort", onAbort);
  base.addEventListener("message", onMessage);
  base.start?.();
  say({ postern: "ring-ask", name: address, id });
  return promise;
}

/** @throws {TransportError} "unsupported" if the runtime lacks what shared memory needs */
function checkRuntime(): void {
  const missing = typeof SharedArrayBuffer === "undefined"
    ? "SharedArrayBuffer (a page must be cross-origin isolated)"
    : typeof Atomics.waitAsync !== "function"
    ? "Atomics.waitAsync"
    : hasLocks()
    ? null
    : "Web Locks";
  if (missing === null) return;
  throw new TransportError("unsupported", `cannot share memory: this runtime has no ${missing}`);
}

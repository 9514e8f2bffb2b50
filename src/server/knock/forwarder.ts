/**
 * Hands accepted knocks to the commander: 24 bytes over a fresh Unix-socket connection each, off the receive path.
 * A commander that is slow, stuck or gone costs its knocks, never the receiving of others.
 *
 * "Forwarded" says that the bytes are in the socket, not that anybody read them: for a commander that was stopped
 * (SIGSTOP, a debugger) the kernel goes on accepting connections and bytes until its backlog is full, and the knocks
 * run when he goes on. An answer would tell the difference, but ruroco's commander gives none.
 */
import { encodeForwardMessage } from "../../protocol/knock/forward_message.ts";
import type { ForwardMessage } from "../../protocol/knock/forward_message.ts";
import type { Clock } from "../../system/clock.ts";
import { describeError } from "../../system/failure.ts";
import { LogThrottle } from "../../system/log.ts";
import type { Log } from "../../system/log.ts";

/** What the forwarder needs of a connection. */
export interface ForwardConnection {
  write(bytes: Uint8Array): Promise<number>;
  close(): void;
}

export interface ForwarderOptions {
  readonly socketPath: string;
  readonly log: Log;
  readonly clock: Clock;
  /** @default connects to the Unix socket */
  readonly connect?: (path: string) => Promise<ForwardConnection>;
  /** For the connection, and again for the writing. @default 1000 */
  readonly timeoutMs?: number;
  /** Messages that may wait. @default 256 */
  readonly queueLimit?: number;
  /** Connections at once. @default 8 */
  readonly concurrency?: number;
}

const DEFAULT_TIMEOUT_MS = 1000;
const DEFAULT_QUEUE_LIMIT = 256;
const DEFAULT_CONCURRENCY = 8;
const FAILURE_LOG = { perKey: { burst: 5, perMs: 10_000 }, maxKeys: 1 };

export class Forwarder {
  readonly #options: ForwarderOptions;
  readonly #connect: (path: string) => Promise<ForwardConnection>;
  readonly #timeoutMs: number;
  readonly #queueLimit: number;
  readonly #concurrency: number;
  readonly #queue: ForwardMessage[] = [];
  readonly #throttle = new LogThrottle(FAILURE_LOG);
  /** Ends a wait at once; one for each wait under way. (A race with one lasting promise would grow for ever.) */
  readonly #aborts = new Set<() => void>();
  #isAborted = false;
  #idle: PromiseWithResolvers<void> | null = null;
  #active = 0;
  #forwarded = 0;
  #failures = 0;

  constructor(options: ForwarderOptions) {
    this.#options = options;
    this.#connect = options.connect ?? connectUnix;
    this.#timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
    this.#queueLimit = options.queueLimit ?? DEFAULT_QUEUE_LIMIT;
    this.#concurrency = options.concurrency ?? DEFAULT_CONCURRENCY;
  }

  /** Messages that wait for a connection. */
  get depth(): number {
    return this.#queue.length;
  }

  /** Messages written in full; whether the commander ran them is in his log. */
  get forwarded(): number {
    return this.#forwarded;
  }

  /** Messages given up. They are not tried again: a knock that we send minutes later surprises its sender. */
  get failures(): number {
    return this.#failures;
  }

  /** Takes a message unless the queue is full. */
  enqueue(message: ForwardMessage): boolean {
    if (this.#active < this.#concurrency) void this.#work(message);
    else if (this.#queue.length < this.#queueLimit) this.#queue.push(message);
    else return false;
    return true;
  }

  /** Resolves when every message taken so far was written or given up. */
  async drained(): Promise<void> {
    if (this.#active === 0) return;
    this.#idle ??= Promise.withResolvers<void>();
    await this.#idle.promise;
  }

  /** Gives up, for good, what waits and what is under way. Messages given up count as failures. */
  abort(): void {
    this.#failures += this.#queue.length;
    this.#queue.length = 0;
    this.#isAborted = true;
    for (const abort of [...this.#aborts]) abort();
  }

  async #work(first: ForwardMessage): Promise<void> {
    this.#active++;
    for (let message: ForwardMessage | undefined = first; message !== undefined;) {
      await this.#forward(message);
      message = this.#queue.shift();
    }
    this.#active--;
    if (this.#active === 0) {
      this.#idle?.resolve();
      this.#idle = null;
    }
  }

  async #forward(message: ForwardMessage): Promise<void> {
    try {
      await this.#deliver(encodeForwardMessage(message));
      this.#forwarded++;
    } catch (error) {
      this.#failures++;
      const { log, suppressed } = this.#throttle.take("failure", this.#options.clock.monotonicMs());
      if (!log) return;
      this.#options.log.error("forwarding failed", {
        socket: this.#options.socketPath,
        error: describeError(error),
        suppressed,
        ...(isNobodyThere(error) ? { hint: "is postern commander running?" } : {}),
      });
    }
  }

  async #deliver(bytes: Uint8Array): Promise<void> {
    let abandoned = false;
    const connecting = this.#connect(this.#options.socketPath).then((connection) => {
      // Too late: the knock was reported as failed, so what we can still keep from running does not run.
      if (abandoned) connection.close();
      return connection;
    });
    let connection: ForwardConnection;
    try {
      connection = await this.#within(connecting, "connect");
    } catch (error) {
      abandoned = true;
      throw error;
    }
    try {
      await this.#within(writeAll(connection, bytes), "write");
    } finally {
      connection.close();
    }
  }

  async #within<T>(work: Promise<T>, what: string): Promise<T> {
    const { promise, reject } = Promise.withResolvers<never>();
    const abort = (): void => reject(new Error("the server is stopping"));
    const timer = setTimeout(
      () => reject(new Error(`the commander did not let us ${what} within ${this.#timeoutMs} ms`)),
      this.#timeoutMs,
    );
    this.#aborts.add(abort);
    if (this.#isAborted) abort();
    try {
      return await Promise.race([promise, work]);
    } finally {
      clearTimeout(timer);
      this.#aborts.delete(abort);
      // Whoever lost the race may still fail, and nobody is listening any more.
      work.catch(() => {});
    }
  }
}

function isNobodyThere(error: unknown): boolean {
  return error instanceof Deno.errors.NotFound || error instanceof Deno.errors.ConnectionRefused;
}

async function writeAll(connection: ForwardConnection, bytes: Uint8Array): Promise<void> {
  for (let offset = 0; offset < bytes.length;) offset += await connection.write(bytes.subarray(offset));
}

function connectUnix(path: string): Promise<ForwardConnection> {
  return Deno.connect({ transport: "unix", path });
}

/**
 * Local ports that lead to where a host can reach. All of them share one session, which is one flow; each connection
 * is one `connect` call in it, with its own credit, so that a stalled one holds up no other.
 *
 *   program -> us                accepted, or refused while there is no session
 *   us   -> host  connect(host, port), then items of bytes as they are read; an empty one is the program's half-close
 *   host -> us    an empty item: connected; items of bytes; an empty one is the target's half-close
 *
 * When the link is lost the ports stay, what was open is closed, and the session is opened anew.
 */
import { MAX_ITEM_BYTES } from "../../protocol/manage/session_contract.ts";
import { ApplicationError, RpcError } from "../../protocol/rpc/errors.ts";
import type { Timers } from "../../protocol/rpc/timers.ts";
import { describeError, Failure } from "../../system/failure.ts";
import { LogThrottle } from "../../system/log_throttle.ts";
import type { Target } from "../../protocol/manage/target_pattern.ts";
import { type Bind, formatAddress, type ForwardSpec } from "./forward_spec.ts";
import type { LocalConnection, LocalListener } from "./local_listener.ts";
import { mayPass, type Reach, reachAgain, type ReachedSession, reasonOf } from "./reattach.ts";
import { toldFailure } from "./told_failure.ts";
import { readSocksRequest, replySocks, SocksError, type SocksReply } from "./socks.ts";

/** What is forwarded. */
export interface ForwardOptions {
  /** Name of the host, for messages. */
  readonly host: string;
  readonly specs: readonly ForwardSpec[];
  /** Where to be a SOCKS proxy; null: nowhere. */
  readonly socks: Bind | null;
  readonly reach: Reach;
  /** Listens; throws a Failure if it cannot. */
  readonly listen: (bind: Bind) => LocalListener;
  readonly timers: Timers;
  /** 0 to 1, without 1. */
  readonly random: () => number;
  /** Takes one line for each port that listens, when connections to it will go through. */
  readonly onListening: (line: string) => void;
  /** Takes lines for people. */
  readonly onNotice: (line: string) => void;
  /** Ends it. */
  readonly signal: AbortSignal;
}

/** More than this at once are closed: each has its memory, and whoever opens local ports is not known. */
export const MAX_CONNECTIONS = 512;
/** Time that a SOCKS client has to say where it wants to go. */
export const SOCKS_TIMEOUT_MS = 10_000;

/**
 * Forwards until the signal.
 *
 * @throws {Failure} or {ResetError} if a port cannot be had, the session cannot be opened, or nobody will open it again
 */
export async function runForward(options: ForwardOptions): Promise<void> {
  await new Forward(options).run();
}

/** A port, and where its connections go; null: where a SOCKS client says. */
interface Port {
  readonly listener: LocalListener;
  readonly target: Target | null;
}

class Forward {
  readonly #options: ForwardOptions;
  readonly #notices = new LogThrottle({ perKey: { burst: 3, perMs: 10_000 }, maxKeys: 64 });
  /** What is carried; aborted, it ends, also where only the host's direction is left. */
  readonly #open = new Map<LocalConnection, AbortController>();
  /** Null while there is none. */
  #session: ReachedSession | null = null;

  constructor(options: ForwardOptions) {
    this.#options = options;
  }

  async run(): Promise<void> {
    const { reach, signal, onListening } = this.#options;
    // Before anything is opened on the host: a port that is taken costs nobody a session.
    const ports = this.#listen();
    const accepting: Promise<void>[] = [];
    try {
      this.#session = await reach({ attach: null, again: false, signal });
      for (const port of ports) {
        accepting.push(this.#accept(port));
        onListening(this.#describe(port));
        this.#warnIfWide(port);
      }
      await this.#keep();
    } finally {
      for (const { listener } of ports) listener.close();
      this.#closeAll();
      await Promise.all(accepting);
      const session = this.#session;
      this.#session = null;
      await session?.close();
    }
  }

  #listen(): Port[] {
    const { specs, socks, listen } = this.#options;
    const ports: Port[] = [];
    try {
      for (const { bind, target } of specs) ports.push({ listener: listen(bind), target });
      if (socks !== null) ports.push({ listener: listen(socks), target: null });
      return ports;
    } catch (error) {
      for (const { listener } of ports) listener.close();
      throw error;
    }
  }

  #describe({ listener: { address }, target }: Port): string {
    const here = formatAddress(address.hostname, address.port);
    return target === null
      ? `${here} is a SOCKS5 proxy into ${this.#options.host}`
      : `${here} leads to ${formatAddress(target.host, target.port)} from ${this.#options.host}`;
  }

  /** Whoever connects goes into the host's network in the administrator's name. */
  #warnIfWide({ listener: { address: { hostname, port } } }: Port): void {
    if (/^(?:127\.[0-9.]+|::1|localhost)$/.test(hostname)) return;
    this.#options.onNotice(
      `warning: ${formatAddress(hostname, port)} is open to everybody who reaches this machine: ` +
        "no password is asked for",
    );
  }

  /** Has a session until the signal, as far as that is possible. */
  async #keep(): Promise<void> {
    const { reach, timers, random, onNotice, signal, host } = this.#options;
    const leaving = aborted(signal);
    while (this.#session !== null) {
      const why = await Promise.race([this.#session.ended, leaving]);
      if (why === "aborted") return;
      const lost = this.#session;
      this.#session = null;
      void lost.close();
      this.#closeAll();
      const told = why === null ? "" : ` (${reasonOf(why, host)})`;
      if (why !== null && !mayPass(why)) throw new Failure(`the forward through ${host} has ended${told}`);
      onNotice(`connection to ${host} lost${told}; trying again, Ctrl-C ends this`);
      try {
        this.#session = await reachAgain(reach, { attach: null, timers, random, graceMs: Infinity, signal });
      } catch (error) {
        if (signal.aborted) return;
        throw error;
      }
      onNotice(`connected to ${host} again`);
    }
  }

  #closeAll(): void {
    for (const [connection, over] of this.#open) {
      over.abort();
      connection.close();
    }
  }

  async #accept(port: Port): Promise<void> {
    const running = new Set<Promise<void>>();
    for (;;) {
      const connection = await port.listener.accept();
      if (connection === null) break;
      if (this.#open.size >= MAX_CONNECTIONS) {
        this.#tell("many", `a connection was closed: ${MAX_CONNECTIONS} are open, which is the limit`);
        connection.close();
        continue;
      }
      const served = this.#serve(connection, port);
      running.add(served);
      void served.finally(() => running.delete(served));
    }
    await Promise.all(running);
  }

  async #serve(connection: LocalConnection, port: Port): Promise<void> {
    const over = new AbortController();
    this.#open.set(connection, over);
    try {
      if (port.target === null) await this.#serveSocks(connection, over.signal);
      else await this.#connect(connection, port.target, null, over.signal);
    } catch {
      // The program has gone, or was closed here; there is nobody left to tell.
    } finally {
      this.#open.delete(connection);
      connection.close();
    }
  }

  async #serveSocks(connection: LocalConnection, signal: AbortSignal): Promise<void> {
    const callOff = this.#options.timers.after(SOCKS_TIMEOUT_MS, () => connection.close());
    let target: Target;
    try {
      target = await readSocksRequest(connection);
    } catch (error) {
      if (error instanceof SocksError) this.#tell("socks", error.message);
      return;
    } finally {
      callOff();
    }
    await this.#connect(connection, target, (reply) => replySocks(connection, reply), signal);
  }

  async #connect(
    connection: LocalConnection,
    target: Target,
    reply: Reply,
    signal: AbortSignal,
  ): Promise<void> {
    const session = this.#session;
    if (session === null) {
      this.#tell(
        "no session",
        `a connection was refused: there is no connection to ${this.#options.host} at the moment`,
      );
      return await reply?.("network_unreachable");
    }
    let isConnected = false;
    try {
      await carry(session, connection, target, signal, async () => {
        isConnected = true;
        await reply?.("succeeded");
      });
    } catch (error) {
      if (isConnected || !(error instanceof RpcError)) return;
      if (error.code !== "disconnected") this.#tellFailed(target, error);
      await reply?.(replyOf(error));
    }
  }

  #tellFailed({ host, port }: Target, error: RpcError): void {
    const name = formatAddress(host, port);
    // The host's own words, which name it and mostly the target.
    const text = isUnreachable(error) ? error.message : describeError(toldFailure(error, this.#options.host));
    this.#tell(name, text.includes(host) ? text : `no connection to ${name}: ${text}`);
  }

  #tell(key: string, line: string): void {
    const { log, suppressed } = this.#notices.take(key, this.#options.timers.monotonicMs());
    if (log) {
      this.#options.onNotice(suppressed === 0 ? line : `${line} (and ${suppressed} times more before)`);
    }
  }
}

/** Answers a SOCKS client; null where there is none. */
type Reply = ((reply: SocksReply) => Promise<void>) | null;

/**
 * Passes one connection on until both directions have ended.
 *
 * @param onConnected told before the first byte goes to the program
 * @throws {RpcError} if the host refuses, the target cannot be reached or the link is lost; whatever the program's
 * socket throws
 */
async function carry(
  session: ReachedSession,
  connection: LocalConnection,
  { host, port }: Target,
  signal: AbortSignal,
  onConnected: () => Promise<void>,
): Promise<void> {
  let isConnected = false, hasEnded = false;
  const upward = new Upward(connection);
  for await (const bytes of session.client.connect({ host, port }, upward, { signal })) {
    if (bytes.length > 0) {
      for (let rest: Uint8Array = bytes; rest.length > 0;) rest = rest.subarray(await connection.write(rest));
    } else if (!isConnected) {
      isConnected = true;
      await onConnected();
      upward.begin();
    } else if (!hasEnded) {
      hasEnded = true;
      await connection.closeWrite();
    }
  }
}

const NOTHING = new Uint8Array(0);

/**
 * What the program sends, then an empty item at its end. Not a generator: one that waits cannot be ended from outside.
 */
class Upward implements AsyncIterableIterator<Uint8Array<ArrayBuffer>> {
  readonly #connection: LocalConnection;
  readonly #ready = Promise.withResolvers<void>();
  /** One for all: an item is encoded before the next one is asked for. */
  readonly #buffer = new Uint8Array(MAX_ITEM_BYTES);
  #hasEnded = false;

  constructor(connection: LocalConnection) {
    this.#connection = connection;
  }

  /** Begins to read. Before, a SOCKS client has no answer yet; and what nobody takes need not be read. */
  begin(): void {
    this.#ready.resolve();
  }

  async next(): Promise<IteratorResult<Uint8Array<ArrayBuffer>>> {
    await this.#ready.promise;
    if (this.#hasEnded) return { done: true, value: undefined };
    const count = await this.#connection.read(this.#buffer);
    if (count !== null) return { done: false, value: this.#buffer.subarray(0, count) };
    this.#hasEnded = true;
    return { done: false, value: NOTHING };
  }

  return(): Promise<IteratorResult<Uint8Array<ArrayBuffer>>> {
    this.#hasEnded = true;
    this.#ready.resolve();
    return Promise.resolve({ done: true, value: undefined });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}

function isUnreachable(error: RpcError): boolean {
  return error instanceof ApplicationError && error.reason === "unreachable";
}

function replyOf(error: RpcError): SocksReply {
  if (error.code === "disconnected") return "network_unreachable";
  if (isUnreachable(error)) {
    return error.message.endsWith("connection refused") ? "connection_refused" : "host_unreachable";
  }
  const isRefused = error instanceof ApplicationError && error.reason.startsWith("refused_by_");
  return isRefused ? "not_allowed" : "general_failure";
}

function aborted(signal: AbortSignal): Promise<"aborted"> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve("aborted");
    signal.addEventListener("abort", () => resolve("aborted"), { once: true });
  });
}

/** The listening end: binds, and hands over one connection after the other. */
import { ipFamily } from "../../protocol/knock/address.ts";
import { Failure } from "../../system/failure.ts";
import { formatListenAddress, type ListenAddress } from "../knock/listen_address.ts";
import type { RelayConnection } from "./caller.ts";

/** What is needed of a listening TCP socket. */
export interface ConnectionSource {
  accept(): Promise<RelayConnection>;
  close(): void;
}

/** Who is told of what comes. */
export interface ListenerOptions {
  readonly take: (connection: RelayConnection) => void;
  readonly failed: (error: unknown) => void;
}

const FIRST_PAUSE_MS = 10;
const LONGEST_PAUSE_MS = 500;

/** @throws {Failure} naming the address */
export function bindListener(address: ListenAddress): Deno.TcpListener {
  try {
    return Deno.listen({ transport: "tcp", hostname: address.ip, port: address.port });
  } catch (error) {
    throw new Failure(`cannot listen on TCP ${formatListenAddress(address)}`, {
      cause: error,
      hint: hintFor(error, address),
    });
  }
}

/** What helps against an error of listening; undefined if nothing is known. */
export function hintFor(error: unknown, { ip, port }: ListenAddress): string | undefined {
  if (error instanceof Deno.errors.AddrInUse) {
    return `another program has the port; see which one with: ss -tlpn 'sport = :${port}'`;
  }
  if (error instanceof Deno.errors.AddrNotAvailable) {
    return `${ip} is no address of this machine: --bind [::]:${port} takes all of them`;
  }
  if (error instanceof Deno.errors.PermissionDenied) {
    return "a port below 1024 needs the capability CAP_NET_BIND_SERVICE";
  }
  if (ipFamily(ip) === 6 && /address family not supported/i.test(String(error))) {
    return `this machine has no IPv6: --bind 0.0.0.0:${port} takes IPv4 alone`;
  }
  return undefined;
}

/** Whether a connection was gone before it was accepted: its failure is nobody else's, and the next one may be there. */
function isStrangersOwn(error: unknown): boolean {
  // Linux accepts one that has been reset, and then it has no peer; others say that it was aborted.
  return error instanceof Deno.errors.NotConnected || error instanceof Deno.errors.ConnectionAborted ||
    error instanceof Deno.errors.ConnectionReset;
}

/** Accepts until it is closed. */
export class Listener {
  readonly #source: ConnectionSource;
  readonly #options: ListenerOptions;
  /** Ends a pause under way. */
  #wake: (() => void) | null = null;
  #isClosed = false;

  constructor(source: ConnectionSource, options: ListenerOptions) {
    this.#source = source;
    this.#options = options;
  }

  /**
   * Hands over connections until `close`. A failure is told and survived, with growing pauses: where no more files may be
   * open, whoever comes waits in the kernel's queue until one is closed. Who resets his connection before it is accepted
   * is no such failure: with a pause for each, a handful of them a second would keep everybody else waiting.
   */
  async run(): Promise<void> {
    let pauseMs = FIRST_PAUSE_MS;
    while (!this.#isClosed) {
      let connection: RelayConnection;
      try {
        connection = await this.#source.accept();
      } catch (error) {
        if (this.#isClosed) return;
        if (isStrangersOwn(error)) continue;
        this.#options.failed(error);
        await this.#pause(pauseMs);
        pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS);
        continue;
      }
      // Accepted in the moment of closing: whoever closed has hung up on everybody already.
      if (this.#isClosed) return connection.close();
      pauseMs = FIRST_PAUSE_MS;
      this.#options.take(connection);
    }
  }

  /** Closes the socket. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#source.close();
    this.#wake?.();
  }

  /** Ends early when the listener closes. */
  async #pause(ms: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, ms);
    this.#wake = resolve;
    await promise;
    this.#wake = null;
    clearTimeout(timer);
  }
}

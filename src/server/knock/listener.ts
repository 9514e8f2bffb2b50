/**
 * The receiving end: takes datagrams, has each judged, and never sends. There is no call of `send` here, and the
 * process's net permission would refuse one.
 */
import { PACKET_BYTES } from "../../protocol/knock/packet.ts";
import type { Clock } from "../../system/clock.ts";
import { describeError, Failure } from "../../system/failure.ts";
import { LogThrottle } from "../../system/log.ts";
import type { Log } from "../../system/log.ts";
import type { Judge, Verdict } from "./judge.ts";
import { formatListenAddress } from "./listen_address.ts";
import type { ListenAddress } from "./listen_address.ts";

/** What the listener needs of a UDP socket. */
export interface DatagramSource {
  receive(buffer: Uint8Array): Promise<[Uint8Array, Deno.Addr]>;
  close(): void;
}

export interface ListenerOptions {
  readonly socket: DatagramSource;
  readonly judge: Judge;
  /** Takes each verdict, in the order of arrival. */
  readonly take: (verdict: Verdict) => void;
  readonly log: Log;
  readonly clock: Clock;
}

/** One byte more than a packet: the kernel cuts a longer datagram to the buffer, and it must not look like one. */
const RECEIVE_BYTES = PACKET_BYTES + 1;
const FIRST_PAUSE_MS = 10;
const LONGEST_PAUSE_MS = 1000;
const ERROR_LOG = { perKey: { burst: 5, perMs: 10_000 }, maxKeys: 2 };

/** @throws {Failure} naming the address */
export function bindSocket(address: ListenAddress): Deno.DatagramConn {
  try {
    return Deno.listenDatagram({ transport: "udp", hostname: address.ip, port: address.port });
  } catch (error) {
    throw new Failure(`cannot listen on UDP ${formatListenAddress(address)}`, {
      cause: error,
      hint: hintFor(error, address),
    });
  }
}

function hintFor(error: unknown, { ip, port }: ListenAddress): string | undefined {
  if (error instanceof Deno.errors.AddrInUse) {
    return `another program has the port; see which one with: ss -ulpn 'sport = :${port}'`;
  }
  if (error instanceof Deno.errors.AddrNotAvailable) {
    return `${ip} is no address of this machine: address = "[::]:${port}" takes all of them; a public address behind ` +
      "NAT belongs into ips";
  }
  if (error instanceof Deno.errors.PermissionDenied) {
    return "a port below 1024 needs the capability CAP_NET_BIND_SERVICE";
  }
  return undefined;
}

export class Listener {
  readonly #options: ListenerOptions;
  readonly #throttle = new LogThrottle(ERROR_LOG);
  /** Ends a pause under way. */
  #wake: (() => void) | null = null;
  #isClosed = false;
  #received = 0;
  #receiveErrors = 0;
  #drawTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(options: ListenerOptions) {
    this.#options = options;
  }

  /** Datagrams received. */
  get received(): number {
    return this.#received;
  }

  /** Failed receive calls. */
  get receiveErrors(): number {
    return this.#receiveErrors;
  }

  /** Receives until `close`. An error of the socket is logged and survived, with growing pauses between tries. */
  async run(): Promise<void> {
    const buffer = new Uint8Array(RECEIVE_BYTES);
    let pauseMs = FIRST_PAUSE_MS;
    while (!this.#isClosed) {
      let datagram: Uint8Array;
      let address: Deno.Addr;
      try {
        [datagram, address] = await this.#options.socket.receive(buffer);
      } catch (error) {
        if (this.#isClosed) return;
        this.#receiveErrors++;
        this.#logError("receiving failed", error);
        await this.#pause(pauseMs);
        pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS);
        continue;
      }
      pauseMs = FIRST_PAUSE_MS;
      this.#judge(datagram, address);
    }
  }

  /** Closes the socket. What is held for a draw is forgotten: it was not accepted. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    clearTimeout(this.#drawTimer);
    this.#options.socket.close();
    this.#wake?.();
  }

  /** Never throws: whatever one datagram could trip over must not keep the next ones waiting. */
  #judge(datagram: Uint8Array, address: Deno.Addr): void {
    this.#received++;
    try {
      const verdict = this.#options.judge.receive(datagram, "hostname" in address ? address.hostname : "");
      this.#options.take(verdict);
      if (verdict.kind === "held") this.#scheduleDraw();
    } catch (error) {
      this.#logError("judging failed", error);
    }
  }

  #scheduleDraw(): void {
    const dueMs = this.#options.judge.nextDrawMs();
    if (dueMs === null || this.#drawTimer !== undefined || this.#isClosed) return;
    const delayMs = Math.max(0, Math.ceil(dueMs - this.#options.clock.monotonicMs()));
    this.#drawTimer = setTimeout(() => this.#draw(), delayMs);
  }

  #draw(): void {
    this.#drawTimer = undefined;
    try {
      for (const verdict of this.#options.judge.drawHeld()) this.#options.take(verdict);
    } catch (error) {
      this.#logError("judging failed", error);
    }
    this.#scheduleDraw();
  }

  #logError(message: string, error: unknown): void {
    const { log, suppressed } = this.#throttle.take(message, this.#options.clock.monotonicMs());
    if (log) this.#options.log.error(message, { error: describeError(error), suppressed });
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

/**
 * A running relay, put together:
 *
 *   listener -> caller (identifier) -> switchboard -+-> parked
 *                                                   +-> join (copies both ways)
 *
 * It has no protocol of its own: there is no call of `write` here or below but with bytes that another client sent.
 */
import { systemTimers } from "../../protocol/rpc/timers.ts";
import type { Clock } from "../../system/clock.ts";
import type { Log } from "../../system/log.ts";
import { isDoneWithin } from "../done_within.ts";
import type { ListenAddress } from "../knock/listen_address.ts";
import { StatusWriter } from "../status_writer.ts";
import { Caller, type RelayConnection } from "./caller.ts";
import { relayBuffers } from "./copy.ts";
import { join } from "./join.ts";
import type { RelayLimits } from "./limits.ts";
import { bindListener, Listener } from "./listener.ts";
import { RefusalLog } from "./refusal_log.ts";
import type { Staple } from "./staple.ts";
import { type RelayStatus, renderRelayStatus } from "./status.ts";
import { Switchboard } from "./switchboard.ts";

/** What a relay is started with. */
export interface RelayConfig {
  readonly address: ListenAddress;
  /** Length of the identifier that a connection begins with. */
  readonly identifierBytes: number;
  readonly limits: RelayLimits;
  /** Absolute; null: no status file. */
  readonly statusPath: string | null;
}

/** What a relay takes of its process. */
export interface RelayParts {
  readonly log: Log;
  readonly clock: Clock;
  /** How often it is looked whose time is over. @default 1000 */
  readonly tickMs?: number;
}

const TICK_MS = 1000;
const LAST_STATUS_LIMIT_MS = 200;

export class Relay {
  readonly #config: RelayConfig;
  readonly #parts: RelayParts;
  readonly #switchboard: Switchboard<Caller>;
  readonly #buffers = relayBuffers();
  readonly #refusals: RefusalLog;
  readonly #listener: Listener;
  readonly #status: StatusWriter | null;
  readonly #address: string;
  readonly #startedAtMs: number;
  readonly #serving = new Set<Promise<void>>();
  readonly #listening: Promise<void>;
  readonly #ticker: ReturnType<typeof setInterval>;
  #acceptFailures = 0;

  private constructor(config: RelayConfig, parts: RelayParts, socket: Deno.TcpListener) {
    const { log, clock, tickMs = TICK_MS } = parts;
    const { statusPath } = config;
    this.#config = config;
    this.#parts = parts;
    this.#switchboard = new Switchboard(config.limits);
    this.#refusals = new RefusalLog(log, clock);
    this.#listener = new Listener(socket, {
      take: (connection) => this.#take(connection),
      failed: (error) => this.#acceptFailed(error),
    });
    this.#status = statusPath === null
      ? null
      : new StatusWriter(statusPath, () => renderRelayStatus(statusPath, this.snapshot()), log, clock);
    this.#address = boundAddress(socket);
    this.#startedAtMs = clock.wallMs();
    this.#listening = this.#listener.run();
    this.#ticker = setInterval(() => this.#tick(), tickMs);
  }

  /**
   * Binds and serves.
   *
   * @throws {Failure} naming the address
   */
  static async start(config: RelayConfig, parts: RelayParts): Promise<Relay> {
    const relay = new Relay(config, parts, bindListener(config.address));
    await relay.#status?.write();
    parts.log.info("relay ready", { address: relay.address, id_bytes: config.identifierBytes });
    return relay;
  }

  /** Where it listens, with the port the kernel chose. */
  get address(): string {
    return this.#address;
  }

  snapshot(): RelayStatus {
    const { arriving, parked, staples, counts } = this.#switchboard;
    return {
      nowMs: this.#parts.clock.wallMs(),
      startedAtMs: this.#startedAtMs,
      address: this.#address,
      arriving,
      parked,
      staples,
      acceptFailures: this.#acceptFailures,
      counts,
    };
  }

  /** Stops accepting and hangs up on everybody. */
  async stop(): Promise<void> {
    clearInterval(this.#ticker);
    this.#listener.close();
    const { staples, counts } = this.#switchboard;
    for (const caller of this.#switchboard.everybody()) caller.close();
    await this.#listening;
    await Promise.all(this.#serving);
    await isDoneWithin(this.#status?.writeLast() ?? Promise.resolve(), LAST_STATUS_LIMIT_MS);
    this.#parts.log.info("relay stopped", { staples_cut: staples, bytes: counts.bytes });
  }

  #take(connection: RelayConnection): void {
    const caller = new Caller(connection, this.#config.identifierBytes);
    // Whatever one connection could trip over must not end all the others.
    const serving = this.#serve(caller).catch((error: unknown) => {
      this.#letGo(caller);
      this.#refusals.servingFailed(error);
    });
    this.#serving.add(serving);
    void serving.then(() => this.#serving.delete(serving));
  }

  /** The whole life of one connection; of two that are stapled, the life of both is in that of the second. */
  async #serve(caller: Caller): Promise<void> {
    const refusal = this.#switchboard.arrive(caller, this.#nowMs());
    if (refusal !== null) {
      caller.close();
      return this.#refusals.refused(refusal, caller.address);
    }
    const identifier = await caller.readIdentifier();
    if (identifier === null) return this.#letGo(caller);
    const outcome = this.#switchboard.identify(caller, identifier, this.#nowMs());
    if (outcome.kind === "stapled") return await this.#join(outcome.staple);
    if (outcome.kind === "parked") {
      if (await caller.hasHungUp()) this.#letGo(caller);
      return;
    }
    caller.close();
    this.#refusals.refused(outcome.reason, caller.address);
  }

  async #join(staple: Staple<Caller>): Promise<void> {
    const { bytesPerSecond } = this.#config.limits;
    await join(staple, { buffers: this.#buffers, bytesPerSecond, timers: systemTimers });
    this.#switchboard.end(staple);
  }

  #letGo(caller: Caller): void {
    this.#switchboard.leave(caller);
    caller.close();
  }

  #tick(): void {
    const { callers, staples } = this.#switchboard.expire(this.#nowMs());
    for (const caller of [...callers, ...staples.flatMap((staple) => staple.callers)]) caller.close();
    void this.#status?.write();
  }

  #acceptFailed(error: unknown): void {
    this.#acceptFailures++;
    this.#refusals.acceptFailed(error);
  }

  #nowMs(): number {
    return this.#parts.clock.monotonicMs();
  }
}

function boundAddress({ addr: { hostname, port } }: Deno.TcpListener): string {
  return hostname.includes(":") ? `[${hostname}]:${port}` : `${hostname}:${port}`;
}

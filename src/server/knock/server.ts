/**
 * The parts of a knock server, put together:
 *
 *   listener -> judge -> intake -> floors file -> forwarder -> (commander)
 */
import type { Clock } from "../../system/clock.ts";
import { Failure } from "../../system/failure.ts";
import { acquireLock } from "../../system/lock.ts";
import type { Log } from "../../system/log.ts";
import { isDoneWithin } from "../done_within.ts";
import { StatusWriter } from "../status_writer.ts";
import { SERVER_USER } from "./config.ts";
import type { ServerConfig } from "./config.ts";
import { seedFirstFloors } from "./first_floors.ts";
import { FloorsFile } from "./floors_file.ts";
import { Forwarder } from "./forwarder.ts";
import { Intake } from "./intake.ts";
import { Judge } from "./judge.ts";
import type { JudgePolicy } from "./judge.ts";
import { bindSocket, Listener } from "./listener.ts";
import { reload } from "./reload.ts";
import { readPolicy, warnOfFloorsAhead, warnOfRoot } from "./startup.ts";
import { type ReloadStatus, renderStatus, type StatusSnapshot } from "./status.ts";

export interface ServerParts {
  readonly log: Log;
  readonly clock: Clock;
  /** Numbers in [0, 1) for the draw under a flood. */
  readonly random: () => number;
  /** Overrides the configuration's `status_file`. */
  readonly statusPath?: string;
  /** Ends the wait for the lock. */
  readonly signal?: AbortSignal;
  /** Overrides the decrypt budget. */
  readonly decryptsPerSecond?: number;
}

const TICK_MS = 1000;
/** Work that is still undone after this long is given up, so that a stop takes less than a second. */
const STOP_LIMIT_MS = 600;
const LAST_STATUS_LIMIT_MS = 200;
/** A predecessor that is just stopping is waited for. */
const LOCK_TIMEOUT_MS = 2000;
const NS_PER_MS = 1_000_000n;
const MS_PER_SECOND = 1000;
const LOCK_HINT = "another server uses this blocklist_dir; stop it, or give each its own";

export class KnockServer {
  readonly #config: ServerConfig;
  readonly #parts: ServerParts;
  readonly #lock: Disposable;
  readonly #floorsFile: FloorsFile;
  readonly #judge: Judge;
  readonly #forwarder: Forwarder;
  readonly #intake: Intake;
  readonly #listener: Listener;
  readonly #status: StatusWriter | null;
  readonly #startedAtMs: number;
  readonly #address: string;
  readonly #receiving: Promise<void>;
  readonly #ticker: ReturnType<typeof setInterval>;
  #reloading: Promise<void> | null = null;
  #reloadAsked = false;
  #lastReload: ReloadStatus | null = null;
  #restartNeeded: readonly string[] = [];

  private constructor(
    config: ServerConfig,
    parts: ServerParts,
    policy: JudgePolicy,
    floorsFile: FloorsFile,
    socket: Deno.DatagramConn,
    lock: Disposable,
  ) {
    const { log, clock } = parts;
    const statusPath = parts.statusPath ?? config.statusPath;
    this.#config = config;
    this.#parts = parts;
    this.#lock = lock;
    this.#floorsFile = floorsFile;
    this.#judge = new Judge(policy, { floors: floorsFile.floors, ...parts });
    this.#forwarder = new Forwarder({ socketPath: config.socketPath, log, clock });
    this.#intake = new Intake({
      commit: () => floorsFile.commit(),
      forward: (message) => this.#forwarder.enqueue(message),
      log,
      clock,
    });
    this.#listener = new Listener({
      socket,
      judge: this.#judge,
      take: (verdict) => this.#intake.take(verdict),
      log,
      clock,
    });
    this.#status = statusPath === null
      ? null
      : new StatusWriter(statusPath, () => renderStatus(statusPath, this.snapshot()), log, clock);
    this.#startedAtMs = clock.wallMs();
    this.#address = boundAddress(socket);
    this.#receiving = this.#listener.run();
    this.#ticker = setInterval(() => this.#tick(), TICK_MS);
  }

  /**
   * Reads keys and floors, gives new keys a floor, binds and receives.
   *
   * @throws {Failure} naming the key file, the floors file, the address or the folder that is wrong; nothing is
   * left running. When `parts.signal` comes during the wait for the lock, its reason is thrown.
   */
  static async start(config: ServerConfig, parts: ServerParts): Promise<KnockServer> {
    const { log, clock } = parts;
    for (const warning of config.warnings) log.warn(warning);
    const policy = await readPolicy(config, log, clock);
    using held = new DisposableStack();
    const lock = held.use(
      await acquireLock(config.lockPath, {
        timeoutMs: LOCK_TIMEOUT_MS,
        hint: LOCK_HINT,
        user: SERVER_USER,
        onWait: () => log.info("waiting for the lock", { path: config.lockPath }),
        ...(parts.signal === undefined ? {} : { signal: parts.signal }),
      }),
    );
    const floorsFile = await FloorsFile.load(config.floorsPath);
    await seedFirstFloors(floorsFile, policy.keys, clock);
    warnOfFloorsAhead(policy, floorsFile, log, clock);
    await warnOfRoot(config.floorsPath, log);
    const socket = bindSocket(config.address);
    const server = new KnockServer(config, parts, policy, floorsFile, socket, lock);
    held.move();
    await server.#status?.write();
    log.info("server ready", { address: server.address, keys: policy.keys.length });
    return server;
  }

  /** Where it listens, with the port the kernel chose. */
  get address(): string {
    return this.#address;
  }

  snapshot(): StatusSnapshot {
    const nowMs = this.#parts.clock.wallMs();
    const refused = { ...this.#intake.refused };
    refused.decrypt_budget += this.#judge.displacedCount;
    return {
      nowMs,
      startedAtMs: this.#startedAtMs,
      address: this.#address,
      received: this.#listener.received,
      receiveErrors: this.#listener.receiveErrors,
      refused,
      accepted: this.#intake.accepted,
      forwarded: this.#forwarder.forwarded,
      forwardFailures: this.#forwarder.failures,
      queueDepth: this.#forwarder.depth,
      uncommitted: this.#intake.uncommitted,
      held: this.#intake.held,
      contested: this.#judge.nextDrawMs() !== null,
      floorWrites: this.#floorsFile.writes,
      floorWriteFailures: this.#floorsFile.failures,
      floorsDurable: this.#floorsFile.isDurable,
      floorAgeSeconds: new Map(
        this.#judge.policy.keys.map(({ stem, key }) => [stem, this.#floorAgeSeconds(key.id, nowMs)]),
      ),
      lastReload: this.#lastReload,
      restartNeeded: this.#restartNeeded,
    };
  }

  /** Reloads; a call during a reload makes it run once more, so the newest files are always read. */
  reload(): Promise<void> {
    this.#reloadAsked = true;
    this.#reloading ??= this.#reloadWhileAsked().finally(() => this.#reloading = null);
    return this.#reloading;
  }

  /** Stops receiving, finishes accepted work within `STOP_LIMIT_MS` and lets everything go. */
  async stop(): Promise<void> {
    const { log } = this.#parts;
    clearInterval(this.#ticker);
    this.#listener.close();
    await this.#receiving;
    const finished = await isDoneWithin(this.#finish(), STOP_LIMIT_MS);
    if (!finished) {
      const undone = this.#intake.uncommitted + this.#forwarder.depth;
      log.warn("stopped with work undone", { undone, floors_durable: this.#floorsFile.isDurable });
      this.#forwarder.abort();
    }
    await isDoneWithin(this.#status?.writeLast() ?? Promise.resolve(), LAST_STATUS_LIMIT_MS);
    this.#lock[Symbol.dispose]();
    log.info("server stopped", { accepted: this.#intake.accepted, forwarded: this.#forwarder.forwarded });
  }

  async #finish(): Promise<void> {
    await this.#reloading;
    await this.#intake.settled();
    await this.#forwarder.drained();
    await this.#retryFloors();
  }

  /** Once a second: floors that a failed write left behind, and the status, which must not wait for that disk. */
  #tick(): void {
    void this.#retryFloors();
    void this.#status?.write();
  }

  async #retryFloors(): Promise<void> {
    try {
      await this.#floorsFile.commit();
    } catch {
      // Counted, and logged with each packet that the failure refuses; tried again at the next tick.
    }
  }

  async #reloadWhileAsked(): Promise<void> {
    while (this.#reloadAsked) {
      this.#reloadAsked = false;
      await this.#reloadOnce();
    }
  }

  async #reloadOnce(): Promise<void> {
    const { log, clock } = this.#parts;
    const result = await reload({
      started: this.#config,
      judge: this.#judge,
      floorsFile: this.#floorsFile,
      clock,
    });
    for (const warning of result.warnings) log.warn(warning);
    for (const stem of result.dropped) log.warn("key dropped", { key: stem });
    for (const stem of result.narrowed) log.warn("key narrowed", { key: stem });
    this.#restartNeeded = result.restartNeeded ?? this.#restartNeeded;
    if (this.#restartNeeded.length > 0) {
      log.warn("restart needed", { changed: this.#restartNeeded.join(",") });
    }
    const error = result.problems.length === 0 ? null : result.problems.join("; ");
    this.#lastReload = { atMs: clock.wallMs(), error };
    if (error === null) log.info("configuration reloaded", { keys: this.#judge.policy.keys.length });
    else log.error("reload failed", { error, keys: this.#judge.policy.keys.length });
    await this.#status?.writeLast();
  }

  #floorAgeSeconds(keyId: bigint, nowMs: number): number | null {
    const floor = this.#floorsFile.floors.get(keyId);
    return floor === undefined ? null : (nowMs - Number(floor / NS_PER_MS)) / MS_PER_SECOND;
  }
}

function boundAddress(socket: Deno.DatagramConn): string {
  const { addr } = socket;
  if (!("hostname" in addr)) throw new Failure("cannot tell where the UDP socket is bound");
  const bracketed = addr.hostname.includes(":") ? `[${addr.hostname}]` : addr.hostname;
  return `${bracketed}:${addr.port}`;
}

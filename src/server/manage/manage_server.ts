/**
 * A running management server, put together:
 *
 *   listener -> unproven links -> reception -+-> host links  <--+
 *                                            +-> admin links -> session router
 *
 *   revocation watch: ends of all of these what is not allowed any more
 */
import { type RandomBytes, systemRandomBytes, systemTimers, type Timers } from "../../protocol/rpc/timers.ts";
import type { Connection, Listener } from "../../protocol/transport/transport.ts";
import type { Clock } from "../../system/clock.ts";
import { acquireLock } from "../../system/lock.ts";
import type { Log } from "../../system/log.ts";
import { joinPath } from "../../system/path.ts";
import { isDoneWithin } from "../done_within.ts";
import { AdminLinks } from "./admin_links.ts";
import { GOODBYE_MS, LATENCY_PAUSE_MS, type ManageConfig, UNPROVEN_LIMITS, WATCH_TICK_MS } from "./config.ts";
import { type DataFolder, openDataFolder } from "./data_folder.ts";
import { HostLinks } from "./host_links.ts";
import { HostList } from "./host_list.ts";
import { Journal } from "./journal.ts";
import { LatencyRounds } from "./latency_rounds.ts";
import { LinkLives } from "./link_lives.ts";
import { bindLinkListener } from "./listener.ts";
import { LivePolicy } from "./live_policy.ts";
import { LiveSession, LiveSessions } from "./live_sessions.ts";
import { PinsHandout } from "./pins_handout.ts";
import { PresenceNotes } from "./presence_notes.ts";
import { type Received, Reception } from "./reception.ts";
import { Registry, type SessionRecord } from "./registry.ts";
import { RevocationWatch } from "./revocation_watch.ts";
import { finishRotation, isRotating } from "./rotate_ca.ts";
import { loadServerIdentity, type ServerIdentity } from "./server_identity.ts";
import { SessionRouter } from "./session_router.ts";
import { arrivalOf, UnprovenLinks } from "./unproven_links.ts";

/** What a management server takes of its process. */
export interface ManageParts {
  readonly log: Log;
  readonly clock: Clock;
  /** @default systemTimers */
  readonly timers?: Timers;
  /** @default systemRandomBytes */
  readonly random?: RandomBytes;
  /** How long a predecessor that is being stopped is waited for. @default 3000 */
  readonly predecessorMs?: number;
}

/** What is there before it listens. */
interface Ground {
  /** Held while the server runs: who is online is written by one server alone. */
  readonly lock: Disposable;
  readonly registry: Registry;
  readonly policy: LivePolicy;
  readonly identity: ServerIdentity;
  readonly loadIdentity: () => Promise<ServerIdentity>;
}

const GOODBYE = "the server is being stopped";
const LOCK_NAME = "serving.lock";
const PREDECESSOR_MS = 3_000;
/** Links that are ended in one turn of the event loop. */
const SLICE = 100;

export class ManageServer {
  readonly #log: Log;
  readonly #timers: Timers;
  readonly #lock: Disposable;
  readonly #registry: Registry;
  readonly #identity: ServerIdentity;
  readonly #journal: Journal;
  readonly #unproven = new UnprovenLinks(UNPROVEN_LIMITS);
  readonly #hosts = new HostLinks();
  readonly #admins = new AdminLinks();
  readonly #sessions = new LiveSessions();
  readonly #policy: LivePolicy;
  readonly #presence: PresenceNotes;
  readonly #lives: LinkLives;
  readonly #reception: Reception;
  readonly #watch: RevocationWatch;
  readonly #latency: LatencyRounds;
  readonly #listener: Listener;
  readonly #work = new Set<Promise<void>>();
  #callOffTick: () => void = () => {};
  #isStopping = false;

  private constructor(config: ManageConfig, parts: ManageParts, ground: Ground) {
    const { log, clock, timers = systemTimers, random = systemRandomBytes } = parts;
    const { registry, policy, identity, loadIdentity, lock } = ground;
    const journal = new Journal(registry.audit, log, clock);
    const hosts = this.#hosts, admins = this.#admins, sessions = this.#sessions;
    const { serverKey } = identity;
    this.#log = log;
    this.#timers = timers;
    this.#lock = lock;
    this.#registry = registry;
    this.#identity = identity;
    this.#journal = journal;
    this.#policy = policy;
    const list = new HostList({ registry, policy, hosts, sessions, clock });
    const presence = new PresenceNotes(registry, journal, timers, () => list.changed());
    const pins = new PinsHandout({ registry, hosts, journal, identity, load: loadIdentity });
    const latency = new LatencyRounds(hosts, timers, LATENCY_PAUSE_MS, () => list.changed());
    const common = { registry, policy, hosts, admins, sessions, list, journal, serverKey, clock, timers };
    const router = new SessionRouter(common);
    this.#presence = presence;
    this.#latency = latency;
    this.#lives = new LinkLives({ ...common, presence, pins, latency, router, log });
    this.#watch = new RevocationWatch({ ...common, registryChanged: () => void pins.refresh() });
    this.#reception = new Reception({
      ...common,
      unproven: this.#unproven,
      serverCertificate: identity.tlsCertificateDer,
      random,
      joined: () => this.#watch.checkMembers(),
    });
    for (const record of registry.openSessions()) sessions.add(liveSessionOf(record));
    const tls = { certificate: identity.tlsCertificate, key: identity.tlsKey };
    this.#listener = bindLinkListener(
      config.address,
      tls,
      (error) => journal.failed("accepting failed", error),
    );
  }

  /**
   * Opens the data folder, binds and serves.
   *
   * @throws {Failure} naming the file or the address
   */
  static async start(config: ManageConfig, parts: ManageParts): Promise<ManageServer> {
    await using undo = new AsyncDisposableStack();
    const folder = await openDataFolder(config.folder);
    const { predecessorMs = PREDECESSOR_MS } = parts;
    const lockOptions = { timeoutMs: predecessorMs, hint: "another management server runs with this folder" };
    const lock = undo.use(await acquireLock(joinPath(folder.path, LOCK_NAME), lockOptions));
    const registry = undo.use(await Registry.open(folder, { clock: parts.clock }));
    const loadIdentity = (): Promise<ServerIdentity> => loadServerIdentity(folder, registry);
    const policy = await LivePolicy.open(folder.policy);
    registry.noteAllOffline();
    await finishChangeOfAuthority(folder, registry);
    const identity = await loadIdentity();
    const server = new ManageServer(config, parts, { registry, policy, identity, loadIdentity, lock });
    undo.move();
    server.#begin();
    return server;
  }

  /** Where it listens, with the port the kernel chose. */
  get address(): string {
    return this.#listener.address;
  }

  /** How many there are. */
  get counts(): { readonly unproven: number; readonly hosts: number; readonly admins: number } {
    return { unproven: this.#unproven.size, hosts: this.#hosts.size, admins: this.#admins.size };
  }

  /** Reads policy.toml and the registry again, now; nobody has to ask, they are looked at all the time. */
  async reload(): Promise<void> {
    await this.#watch.look();
    this.#log.info("read again", { policy: this.#policy.trouble === null ? "good" : "not good" });
  }

  /**
   * Tells everybody that it ends, and ends within a second. Where so many are linked that the time does not suffice, the
   * rest is cut off without a word and comes back all the same.
   */
  async stop(): Promise<void> {
    if (this.#isStopping) return;
    this.#isStopping = true;
    const endMs = this.#timers.monotonicMs() + GOODBYE_MS;
    const links = { hosts: this.#hosts.size, admins: this.#admins.size };
    this.#callOffTick();
    this.#latency.stop();
    this.#lives.stop();
    this.#listener.close();
    for (const { connection } of [...this.#unproven.members()]) connection.close();
    await this.#hangUp(endMs);
    await isDoneWithin(this.#allWork(), Math.max(0, endMs - this.#timers.monotonicMs()));
    this.#presence.flush();
    this.#noteAllOffline();
    this.#registry.close();
    this.#lock[Symbol.dispose]();
    this.#log.info("management server stopped", links);
  }

  async #hangUp(endMs: number): Promise<void> {
    const links = [...this.#admins.all(), ...this.#hosts.all()];
    for (const [index, { link }] of links.entries()) {
      if (index % SLICE === SLICE - 1) await new Promise((resolve) => setTimeout(resolve, 0));
      if (this.#timers.monotonicMs() >= endMs) return;
      link.close("shutting_down", GOODBYE);
    }
  }

  /** Each on its own would take seconds; that the server ended stands in its log. */
  #noteAllOffline(): void {
    try {
      this.#registry.noteAllOffline();
    } catch (error) {
      this.#journal.failed("presence of hosts not written", error);
    }
  }

  #begin(): void {
    this.#watch.checkMembers();
    this.#track(this.#accept());
    this.#latency.start();
    this.#tick();
    const { trouble } = this.#policy;
    this.#log.info("management server ready", {
      address: this.address,
      hosts: this.#registry.hosts().length,
      ...(trouble === null ? {} : { policy: trouble }),
    });
    if (this.#identity.rotating) this.#journal.rotating(this.#registry.withoutPins().length);
  }

  async #accept(): Promise<void> {
    for (;;) {
      const connection = await this.#listener.accept();
      if (connection === null) return;
      this.#take(connection);
    }
  }

  #take(connection: Connection): void {
    const arrival = arrivalOf(connection);
    const refusal = this.#isStopping ? "full" : this.#unproven.enter(arrival, this.#timers.monotonicMs());
    if (refusal !== null) {
      connection.close();
      this.#journal.noPlace(refusal, arrival.ip);
      return;
    }
    this.#track(
      this.#reception.receive(arrival)
        .finally(() => this.#unproven.leave(arrival))
        .then((received) => this.#welcome(received)),
    );
  }

  async #welcome(received: Received | null): Promise<void> {
    if (received === null) return;
    if (this.#isStopping) received.link.close("shutting_down", GOODBYE);
    else await this.#lives.serve(received);
  }

  #tick(): void {
    this.#callOffTick = this.#timers.after(WATCH_TICK_MS, () => {
      this.#tick();
      this.#track(this.#watch.look());
    });
  }

  /** Whatever one connection could trip over must not end all the others. */
  #track(work: Promise<void>): void {
    const guarded = work.catch((error: unknown) => this.#journal.failed("serving failed", error));
    this.#work.add(guarded);
    void guarded.then(() => this.#work.delete(guarded));
  }

  async #allWork(): Promise<void> {
    while (this.#work.size > 0) await Promise.all(this.#work);
  }
}

/**
 * A change of the CA ends here, once everybody has the new one: which certificate is shown is decided before listening,
 * and cannot be changed later.
 */
async function finishChangeOfAuthority(folder: DataFolder, registry: Registry): Promise<void> {
  if (isRotating(registry)) await finishRotation(folder, registry, { evenWithout: false });
}

function liveSessionOf(record: SessionRecord): LiveSession {
  const { session, adminKey, admin, hostKey, host, action, targets, outlivesLink, openedMs } = record;
  return new LiveSession({
    id: session,
    adminKey: adminKey.toHex(),
    adminName: admin,
    hostKey: hostKey.toHex(),
    hostName: host,
    action,
    targets,
    outlivesLink,
    openedMs,
  });
}

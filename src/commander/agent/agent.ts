/** The agent put together, without the process around it: what run.ts starts, and tests over memory. */
import type { Pins, SignedHead } from "../../protocol/manage/control_contract.ts";
import type { DialledLink } from "../../protocol/manage/link_handshake.ts";
import type { ResetError } from "../../protocol/manage/reset_code.ts";
import type { OpenForHost } from "../../protocol/manage/session_open.ts";
import { fingerprint, formatPublicKey, type SigningKey } from "../../protocol/manage/signing_key.ts";
import { ApplicationError } from "../../protocol/rpc/errors.ts";
import type { RandomBytes, Timers } from "../../protocol/rpc/timers.ts";
import { describeError } from "../../system/failure.ts";
import { type Log, LogThrottle } from "../../system/log.ts";
import type { AgentConfig } from "./agent_config.ts";
import { type AgentFolder, type AgentServer, believedBy, withPins } from "./agent_folder.ts";
import { Challenges, type LinkGround } from "./open_check.ts";
import { ConfigWatch } from "./config_watch.ts";
import { ControlService } from "./control_service.ts";
import { EndedSpool } from "./ended_spool.ts";
import { KeptHead } from "./kept_head.ts";
import { LinkKeeper } from "./link_keeper.ts";
import { newlyAllowed } from "./permissions.ts";
import { dialServer, type LinkDial } from "./server_dial.ts";
import type { SessionStarters } from "./desk_session.ts";
import { SessionDesk } from "./session_desk.ts";

/** Time that sessions have to end when the agent is told to stop, and then their rows to be acknowledged. */
const END_SESSIONS_MS = 3_000, TELL_ROWS_MS = 1_000;
const U32_SPAN = 2 ** 32;
const MAX_NOTED = 1024;
/** Changes that the server has written here and told in the log: it may be in anybody's hands. */
const CHANGES = { perKey: { burst: 16, perMs: 10_000 }, maxKeys: 2 };

/** What an agent is made of. */
export interface AgentOptions {
  /** Locked by the caller. */
  readonly folder: AgentFolder;
  readonly server: AgentServer;
  readonly config: AgentConfig;
  readonly key: SigningKey;
  /** Of Postern. */
  readonly version: string;
  readonly starters: SessionStarters;
  readonly timers: Timers;
  readonly random: RandomBytes;
  readonly log: Log;
  /** See `LinkDial`. */
  readonly dialTls?: LinkDial["dialTls"];
  /** See `ConfigWatchOptions`. */
  readonly readConfig?: () => Promise<AgentConfig>;
}

interface LinkOfAgent {
  readonly dialled: DialledLink;
  readonly challenges: Challenges;
}

/** An agent that runs. */
export class Agent {
  readonly #options: AgentOptions;
  readonly #stopping = new AbortController();
  readonly #spool: EndedSpool;
  readonly #head: KeptHead;
  readonly #watch: ConfigWatch;
  readonly #desk: SessionDesk;
  readonly #kept: Promise<void>;
  readonly #changes = new LogThrottle(CHANGES);
  /** Keys of administrators that were noted already, by name. */
  readonly #noted = new Map<string, string>();
  #server: AgentServer;
  #service: ControlService | null = null;
  #link: DialledLink | null = null;

  private constructor(options: AgentOptions, spool: EndedSpool, head: KeptHead) {
    const { server, folder, config, timers, log, readConfig } = options;
    this.#options = options;
    this.#spool = spool;
    this.#head = head;
    this.#server = server;
    this.#desk = this.#makeDesk();
    this.#watch = new ConfigWatch({
      path: folder.configPath,
      first: config,
      onChange: (now) => this.#configChanged(now),
      timers,
      log,
      ...(readConfig === undefined ? {} : { read: readConfig }),
    });
    const keeper = new LinkKeeper<LinkOfAgent>({
      dial: (signal, timeMs) => this.#dial(signal, timeMs),
      serve: (link) => this.#serve(link),
      timers,
      random: () => new DataView(options.random(4).buffer).getUint32(0) / U32_SPAN,
      log,
    });
    this.#kept = keeper.run(this.#stopping.signal);
  }

  /**
   * Begins: tells of sessions that a killed agent left, then keeps a link.
   *
   * @throws {Failure} if the folder cannot be used
   */
  static async start(options: AgentOptions): Promise<Agent> {
    const { folder, server, log } = options;
    const spool = await EndedSpool.open(folder, log);
    const head = await KeptHead.open(folder, server.serverKey, log);
    return new Agent(options, spool, head);
  }

  /** Whether a link stands at the moment. */
  get isLinked(): boolean {
    return this.#link !== null;
  }

  /** Sessions that are open. */
  get sessions(): number {
    return this.#desk.count;
  }

  #makeDesk(): SessionDesk {
    const { key, starters, timers, random, log } = this.#options;
    const hostName = (): string => this.#server.name;
    return new SessionDesk({
      get hostName(): string {
        return hostName();
      },
      key,
      policy: () => this.#watch.current,
      spool: this.#spool,
      starters,
      onSigned: (asked) => this.#noteSigned(asked),
      onEnded: () => this.#service?.wake(),
      timers,
      random,
      log,
    });
  }

  async #dial(signal: AbortSignal, timeMs: number | undefined): Promise<LinkOfAgent> {
    const { key, timers, random, dialTls } = this.#options;
    const challenges = new Challenges(timers, random);
    // Opens may come together with the answer that makes the link.
    const ground = Promise.withResolvers<LinkGround>();
    const dialled = await dialServer({
      server: { ...this.#server, caCertificates: believedBy(this.#server) },
      key,
      onOpen: (flow) => void ground.promise.then((link) => this.#desk.take(flow, link)),
      timers,
      random,
      timeMs,
      ...(dialTls === undefined ? {} : { dialTls }),
    }, signal);
    this.#head.linkBegan();
    ground.resolve({ linkNonce: dialled.linkNonce, challenges });
    return { dialled, challenges };
  }

  async #serve({ dialled, challenges }: LinkOfAgent): Promise<ResetError> {
    const { log, version, timers } = this.#options;
    this.#link = dialled;
    await this.#takeName(dialled.name);
    const service = this.#service = new ControlService(
      {
        version,
        system: `${Deno.build.os} ${Deno.build.arch}`,
        desk: this.#desk,
        spool: this.#spool,
        onHead: (head: SignedHead) => this.#head.take(head),
        pinsGeneration: () => this.#server.generation,
        storePins: (pins) => this.#storePins(pins),
        timers,
        log,
      },
      dialled,
      challenges,
    );
    const ending = await service.run();
    this.#service = null;
    this.#link = null;
    return ending;
  }

  async #storePins(pins: Pins): Promise<boolean> {
    const { caCertificates, generation } = this.#server;
    // Whatever the proven server says counts, also with a lower number: it may come from a backup.
    if (generation === pins.generation && caCertificates.join() === pins.caCertificates.join()) return false;
    if (!this.#mayChange("pins")) throw new ApplicationError("exhausted", "other certificates too often");
    const server = withPins(this.#server, pins);
    await this.#options.folder.writeServer(server);
    this.#server = server;
    return true;
  }

  /** The registry may call this host by another name than when it joined. */
  async #takeName(name: string): Promise<void> {
    if (name === this.#server.name) return;
    const { folder, log } = this.#options;
    this.#server = { ...this.#server, name };
    try {
      await folder.writeServer(this.#server);
    } catch (error) {
      log.error("the new name of this host could not be kept", { name, error: describeError(error) });
    }
  }

  async #noteSigned({ adminName, head, open }: OpenForHost): Promise<void> {
    const { folder, log } = this.#options;
    await this.#head.take(head);
    const key = formatPublicKey(open.adminKey);
    if (this.#noted.get(adminName) === key || !this.#mayChange("administrators")) return;
    if (this.#noted.size >= MAX_NOTED) this.#noted.clear();
    this.#noted.set(adminName, key);
    try {
      const before = await folder.noteAdministrator({ name: adminName, key: open.adminKey });
      if (before === null) return;
      log.warn("an administrator has another key than before", {
        administrator: adminName,
        before: fingerprint(before),
        now: fingerprint(open.adminKey),
      });
    } catch (error) {
      log.error("an administrator could not be noted", {
        administrator: adminName,
        error: describeError(error),
      });
    }
  }

  #mayChange(what: "pins" | "administrators"): boolean {
    return this.#changes.take(what, this.#options.timers.monotonicMs()).log;
  }

  #configChanged(now: AgentConfig | null): void {
    this.#desk.recheckAll();
    if (now === null) return;
    const added = newlyAllowed(this.#options.config, now);
    if (added.length > 0) {
      this.#options.log.warn("parts of agent.toml count after a restart of the agent", {
        parts: added.join(" "),
      });
    }
  }

  /** Ends every session and the link. */
  async stop(): Promise<void> {
    const { log } = this.#options;
    this.#watch[Symbol.dispose]();
    await this.#atMost(END_SESSIONS_MS, this.#desk.stop());
    await this.#atMost(TELL_ROWS_MS, this.#service?.told() ?? Promise.resolve());
    this.#stopping.abort(new DOMException("the agent stops", "AbortError"));
    this.#link?.link.close("shutting_down", "the agent is being stopped");
    await this.#kept;
    log.info("agent stopped", { untold: this.#spool.pending().length });
  }

  #atMost(limitMs: number, work: Promise<void>): Promise<void> {
    return new Promise((resolve) => {
      const callOff = this.#options.timers.after(limitMs, resolve);
      void work.then(() => {
        callOff();
        resolve();
      });
    });
  }
}

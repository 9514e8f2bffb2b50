/**
 * Where sessions of this host begin and end. The server has joined the flow to us; whether anything happens is decided
 * here, since a server that was broken into can send any open that it likes:
 *
 *   flow with an open
 *     -> written for this host's key and this link's nonce, with a challenge of this link that is unused and in time
 *     -> signed by the key in it; agent.toml: that key, the action, the targets; a place left
 *     -> sessions.json names it (ended_spool.ts)
 *     -> answer, signed by the host's key; keys of the session; the calls of the session inside
 *   session over -> its row is durable -> forgotten here, told to the server (control_service.ts)
 *
 * Sessions outlive links: their programs run on, and a shell may be taken up again by a new open of the same key.
 */
import type {
  Action,
  EndedSession,
  HostSession,
  SessionEnding,
} from "../../protocol/manage/control_contract.ts";
import { type ResetCode, ResetError } from "../../protocol/manage/reset_code.ts";
import type { IncomingFlow } from "../../protocol/manage/running_link.ts";
import { SessionExchange, sessionKeys } from "../../protocol/manage/session_keys.ts";
import {
  answerOpen,
  decodeOpenForHost,
  type OpenForHost,
  type SessionOpen,
} from "../../protocol/manage/session_open.ts";
import { isSameBytes, type SigningKey } from "../../protocol/manage/signing_key.ts";
import type { RandomBytes } from "../../protocol/rpc/timers.ts";
import { describeError } from "../../system/failure.ts";
import { LogThrottle } from "../../system/log.ts";
import { loadRecordCipher } from "../../system/record_cipher.ts";
import type { AgentConfig } from "./agent_config.ts";
import { type Answered, DeskSession, type SessionMakings } from "./desk_session.ts";
import type { EndedSpool } from "./ended_spool.ts";
import { mayOpen, refusalOf } from "./host_policy.ts";
import { type LinkGround, openRefusal, requireGoodOpen } from "./open_check.ts";

/** What the desk works with. */
export interface DeskOptions extends SessionMakings {
  readonly key: SigningKey;
  readonly spool: EndedSpool;
  /** Told of each open that an administrator has signed for this host. */
  readonly onSigned: (asked: OpenForHost) => Promise<void>;
  /** Told when a row is durable. */
  readonly onEnded: () => void;
  readonly random: RandomBytes;
}

/** What a good open leads to. */
interface Admission {
  readonly asked: OpenForHost;
  readonly policy: AgentConfig;
  /** The session that is taken up again; null: a new one. */
  readonly attached: DeskSession | null;
}

/** The desk. */
export class SessionDesk {
  readonly #options: DeskOptions;
  readonly #sessions = new Map<string, DeskSession>();
  /** Ids of sessions that are about to begin: they have a place already. */
  readonly #beginning = new Set<string>();
  /** Whoever may send opens must not fill the disk. */
  readonly #throttle = new LogThrottle({ perKey: { burst: 10, perMs: 1_000 }, maxKeys: 32 });
  #isStopping = false;

  constructor(options: DeskOptions) {
    this.#options = options;
  }

  /** What runs, for `register`. */
  sessions(): HostSession[] {
    return [...this.#sessions.values()].map(({ session, admin, action, hosted }) => ({
      session,
      adminKey: new Uint8Array(admin.key),
      action,
      detached: hosted.isDetached,
    }));
  }

  /** How many there are, those that are about to begin included. */
  get count(): number {
    return this.#sessions.size + this.#beginning.size;
  }

  /** Takes a flow: a session begins or is taken up again, or the flow is refused. Never rejects. */
  async take(flow: IncomingFlow, link: LinkGround): Promise<void> {
    try {
      const admission = await this.#admit(decodeOpenForHost(flow.parameters), link);
      try {
        await this.#begin(flow, admission);
      } finally {
        if (admission.attached === null) this.#beginning.delete(admission.asked.open.session);
      }
    } catch (error) {
      this.#refuse(flow, error);
    }
  }

  #refuse(flow: IncomingFlow, error: unknown): void {
    const { log, hostName, timers } = this.#options;
    const reset = error instanceof ResetError
      ? error
      : new ResetError("internal", "here", refusalOf(hostName, "the session could not be begun"), {
        cause: error,
      });
    const { log: isLogged, suppressed } = this.#throttle.take(reset.code, timers.monotonicMs());
    if (isLogged) {
      log.warn("session refused", { reason: reset.code, error: describeError(reset), suppressed });
    }
    flow.refuse(reset.code, reset.message);
  }

  /** Every check, in one place. Nothing is waited for between agent.toml's word and the place that is taken. */
  async #admit(asked: OpenForHost, link: LinkGround): Promise<Admission> {
    const { open } = asked;
    const { hostName, key, onSigned } = this.#options;
    await requireGoodOpen(open, { hostName, key: key.publicKey, ...link });
    await onSigned(asked);
    const policy = this.#options.policy();
    if (this.#isStopping) throw this.#refusal("shutting_down", "its agent is being stopped");
    if (policy === null) throw this.#refusal("refused_by_host", "its agent.toml cannot be read");
    const attached = open.action === "attach" ? this.#attachable(open) : null;
    const action = attached?.action ?? (open.action as Action);
    const refusal = mayOpen(policy, { ...open, action, targets: attached?.targets ?? open.targets });
    if (refusal !== null) throw this.#refusal("refused_by_host", refusal);
    if (attached === null) this.#takePlace(open, policy);
    return { asked, policy, attached };
  }

  /** The same words whoever asks: whether a session of somebody else is there is nobody's business. */
  #attachable({ session, adminKey }: SessionOpen): DeskSession {
    const found = this.#sessions.get(session);
    if (found !== undefined && found.action === "shell" && isSameBytes(found.admin.key, adminKey)) {
      return found;
    }
    throw this.#refusal("refused_by_host", `no shell ${session} of this administrator is here any more`);
  }

  #takePlace({ session }: SessionOpen, { maxSessions }: AgentConfig): void {
    if (this.count >= maxSessions) {
      throw this.#refusal(
        "exhausted",
        `${this.count} sessions are open, its agent.toml allows ${maxSessions}`,
      );
    }
    const isKnown = this.#sessions.has(session) || this.#beginning.has(session) ||
      this.#options.spool.pending().some((row) => row.session === session);
    if (isKnown) throw this.#refusal("malformed", "a session has this id already");
    this.#beginning.add(session);
  }

  #refusal(code: ResetCode, refusal: string): ResetError {
    return openRefusal(this.#options.hostName, code, refusal);
  }

  async #begin(flow: IncomingFlow, { asked, policy, attached }: Admission): Promise<void> {
    const { key, random } = this.#options, { open } = asked;
    const exchange = await SessionExchange.create(random);
    const shared = await exchange.agree(open.ephemeral);
    const answer = await answerOpen(open.bytes, exchange.publicKey, key);
    const keys = sessionKeys(shared, open.bytes, answer);
    const answered = { answer, keys, cipher: await loadRecordCipher() };
    if (attached === null) return await this.#beginNew(flow, asked, policy, answered);
    // What was waited for may have ended it.
    if (this.#sessions.get(open.session) !== attached) {
      throw this.#refusal("refused_by_host", `the shell ${open.session} has just ended`);
    }
    attached.show(flow, answered, attached.hosted.attach());
  }

  async #beginNew(
    flow: IncomingFlow,
    asked: OpenForHost,
    policy: AgentConfig,
    answered: Answered,
  ): Promise<void> {
    const { spool } = this.#options, { session: id } = asked.open;
    await spool.began(id);
    let session: DeskSession | null = null;
    try {
      session = this.#start(asked, policy);
      session.show(flow, answered, session.hosted.handlers);
    } catch (error) {
      // The administrator may have gone meanwhile: then there is nobody to see it.
      if (session === null) await spool.neverBegan(id);
      else session.hosted.end("closed");
      throw error;
    }
    // So may agent.toml have changed.
    this.#recheck(session);
  }

  #start(asked: OpenForHost, policy: AgentConfig): DeskSession {
    const { log } = this.#options;
    const session = new DeskSession(asked, policy, this.#options);
    this.#sessions.set(session.session, session);
    log.info("session opened", {
      session: session.session,
      administrator: session.admin.name,
      action: session.action,
    });
    void session.over.then((row) => this.#ended(session, row));
    return session;
  }

  async #ended({ admin }: DeskSession, row: EndedSession): Promise<void> {
    const { log, onEnded, spool } = this.#options;
    await spool.ended(row);
    this.#sessions.delete(row.session);
    log.info("session ended", {
      session: row.session,
      administrator: admin.name,
      ending: row.ending,
      exit_code: row.exitCode,
      bytes_in: row.bytesIn,
      bytes_out: row.bytesOut,
    });
    this.#whenEmpty();
    onEnded();
  }

  /** Ends sessions; those that are not here are passed over. */
  end(sessions: readonly string[], ending: SessionEnding): void {
    for (const id of sessions) this.#sessions.get(id)?.hosted.end(ending);
  }

  /** Ends every session that agent.toml, as it is now, does not allow any more. */
  recheckAll(): void {
    for (const session of this.#sessions.values()) this.#recheck(session);
  }

  #recheck(session: DeskSession): void {
    if (this.#isStopping) return session.hosted.end("agent_stopped");
    const policy = this.#options.policy();
    // One that cannot be read lets nothing begin, and ends nothing.
    const refusal = policy === null ? null : session.refusalUnder(policy);
    if (refusal === null) return;
    this.#options.log.warn("session ended by agent.toml", {
      session: session.session,
      administrator: session.admin.name,
      reason: refusal,
    });
    session.hosted.end("revoked");
  }

  /** Refuses everything from now on and ends what runs; resolves when every row is durable. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    if (this.#sessions.size === 0) return;
    const empty = new Promise<void>((resolve) => this.#onEmpty = resolve);
    for (const { hosted } of this.#sessions.values()) hosted.end("agent_stopped");
    await empty;
  }

  #onEmpty: () => void = () => {};

  #whenEmpty(): void {
    if (this.#sessions.size === 0) this.#onEmpty();
  }
}

/** A session of this host with whoever looks at it: from its answer to its row. */
import type { Action, EndedSession } from "../../protocol/manage/control_contract.ts";
import type { IncomingFlow } from "../../protocol/manage/running_link.ts";
import { sessionPeer } from "../../protocol/manage/session_flow.ts";
import type { SessionKeys } from "../../protocol/manage/session_keys.ts";
import type { ShortRecordCipher } from "../../protocol/record/record.ts";
import type { OpenForHost, SessionOpen } from "../../protocol/manage/session_open.ts";
import type { Peer } from "../../protocol/rpc/peer.ts";
import type { Timers } from "../../protocol/rpc/timers.ts";
import { describeError } from "../../system/failure.ts";
import type { Log } from "../../system/log.ts";
import type { AgentConfig, TrustedAdmin } from "./agent_config.ts";
import { mayConnect, mayGoOn, mayRun, refusalOf } from "./host_policy.ts";
import type {
  HostedSession,
  SessionGround,
  SessionHandlers,
  SessionResult,
} from "./sessions/hosted_session.ts";

/** Begins a session of each kind; see sessions/. */
export interface SessionStarters {
  readonly shell: (ground: SessionGround, options: { readonly outlivesLink: boolean }) => HostedSession;
  readonly exec: (ground: SessionGround) => HostedSession;
  readonly forward: (ground: SessionGround) => HostedSession;
}

/** What a session is made of, beside its open. */
export interface SessionMakings {
  /** By which the server knows this host. */
  readonly hostName: string;
  /** agent.toml as it is now; null while it cannot be read. */
  readonly policy: () => AgentConfig | null;
  readonly starters: SessionStarters;
  readonly timers: Timers;
  readonly log: Log;
}

/** What an open was answered with, and what follows from it. */
export interface Answered {
  readonly answer: Uint8Array;
  readonly keys: SessionKeys;
  readonly cipher: ShortRecordCipher;
}

/** The session. */
export class DeskSession {
  /** 16 hexadecimal digits. */
  readonly session: string;
  readonly admin: TrustedAdmin;
  readonly action: Action;
  /** Declared ones of a forward. */
  readonly targets: readonly string[];
  readonly hosted: HostedSession;
  /** Resolves, once, when nothing of it runs any more. */
  readonly over: Promise<EndedSession>;
  readonly #makings: SessionMakings;
  readonly #began: AgentConfig;
  readonly #beganMs: number;
  readonly #outlivesLink: boolean;
  #viewer: Peer | null = null;

  /**
   * Begins it, with nobody looking yet.
   *
   * @param asked good and allowed, and no attach
   * @param policy agent.toml as it is now
   */
  constructor({ adminName, open }: OpenForHost, policy: AgentConfig, makings: SessionMakings) {
    const { starters, timers } = makings;
    this.#makings = makings;
    this.session = open.session;
    this.admin = { name: adminName, key: open.adminKey };
    this.action = open.action as Action;
    this.targets = open.targets;
    this.#began = policy;
    this.#beganMs = timers.monotonicMs();
    this.#outlivesLink = open.outlivesLink;
    const ground = groundOf(makings, adminName, open, policy);
    this.hosted = this.action === "shell"
      ? starters.shell(ground, { outlivesLink: open.outlivesLink })
      : starters[this.action](ground);
    this.over = this.hosted.ended.then((result) => this.#finish(result));
  }

  /** Answers an open and serves the session there; whoever looked at it before is let go in order. */
  show(flow: IncomingFlow, { answer, keys, cipher }: Answered, handlers: SessionHandlers): void {
    const { timers, log } = this.#makings;
    const peer = sessionPeer(flow.accept(answer), keys, {
      side: "host",
      handlers,
      timers,
      cipher,
      onEvent: ({ method, error }) => log.error("session failed", { method, error: describeError(error) }),
    });
    // It was told why by the session, and reads that to the end.
    void this.#viewer?.drain();
    this.#viewer = peer;
    void peer.closed.then(({ reason, by, message }) => {
      if (reason === "tampered") {
        // Not a line that broke: somebody on the way has tried, and that is the server or who sits in it.
        const { session, admin: { name: administrator } } = this;
        log.warn("session tampered with", { session, administrator, error: message });
      }
      if (this.#viewer !== peer) return;
      this.#viewer = null;
      // A shell that outlives its link knows itself whether its administrator has left it for good.
      const hasLeft = reason === "normal" && by === "there" && !this.#outlivesLink;
      if (hasLeft) this.hosted.end("closed");
      else this.hosted.viewerLost();
    });
  }

  /** Why it may not go on when agent.toml is this now; null: it may. */
  refusalUnder(policy: AgentConfig): string | null {
    if (policy === this.#began) return null;
    const { action, targets, admin: { key: adminKey } } = this;
    return mayGoOn(this.#began, policy, { action, targets, adminKey });
  }

  #finish({ ending, exitCode, bytesIn, bytesOut }: SessionResult): EndedSession {
    const viewer = this.#viewer;
    this.#viewer = null;
    void viewer?.drain();
    const durationMs = Math.round(this.#makings.timers.monotonicMs() - this.#beganMs);
    return { session: this.session, ending, exitCode, bytesIn, bytesOut, durationMs };
  }
}

function groundOf(
  { hostName, policy, timers, log }: SessionMakings,
  adminName: string,
  { session, targets }: SessionOpen,
  began: AgentConfig,
): SessionGround {
  const named = (refusal: string | null): string | null =>
    refusal === null ? null : refusalOf(hostName, refusal);
  return {
    session,
    hostName,
    adminName,
    config: began,
    // By what is in force when it is asked; a file that cannot be read ends nothing that runs.
    mayRun: (command) => named(mayRun(policy() ?? began, command)),
    mayConnect: (host, port) => named(mayConnect(policy() ?? began, targets, host, port)),
    timers,
    log,
    // `HostedSession.end` says the same.
    signal: new AbortController().signal,
  };
}

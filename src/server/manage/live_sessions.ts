/**
 * The sessions that are not over, as far as the server knows: what was opened and has no end row. One that lost its link
 * stays here until its host has told its end, perhaps much later. The registry has them too; this is what is quick to
 * ask, and what is only true while the server runs.
 */
import type { Action, HostSession, SessionEnding } from "../../protocol/manage/control_contract.ts";
import type { FlowConnection } from "../../protocol/manage/flow_connection.ts";
import type { AdminLink } from "./admin_links.ts";

/** The flows of a session that somebody is looking at. */
export interface Viewing {
  readonly admin: AdminLink;
  readonly adminFlow: FlowConnection;
  readonly hostFlow: FlowConnection;
}

/** What was opened; keys as hexadecimal digits. */
export interface LiveSessionFacts {
  /** 16 hexadecimal digits. */
  readonly id: string;
  readonly adminKey: string;
  readonly adminName: string;
  readonly hostKey: string;
  readonly hostName: string;
  readonly action: Action;
  /** What a forward declared, as patterns. */
  readonly targets: readonly string[];
  readonly outlivesLink: boolean;
  readonly openedMs: number;
}

/** A session that is not over. */
export class LiveSession {
  readonly facts: LiveSessionFacts;
  /** When what the policy allows is over, by the wall clock; null: never. */
  untilMs: number | null = null;
  /** Who looks at it; null: nobody, or the link is gone. */
  viewing: Viewing | null = null;
  /** The link of the last one who did, to be told of the end; null: nobody did since the server's start. */
  lastAdmin: AdminLink | null = null;
  /** It is not allowed any more, and its host was told; null: it is. */
  verdict: Extract<SessionEnding, "revoked" | "expired"> | null = null;

  constructor(facts: LiveSessionFacts) {
    this.facts = facts;
  }
}

/** All of them. */
export class LiveSessions {
  readonly #byId = new Map<string, LiveSession>();
  readonly #byHost = new Map<string, Set<LiveSession>>();

  /** One by its number, in hexadecimal digits. */
  get(id: string): LiveSession | undefined {
    return this.#byId.get(id);
  }

  /** Those that a host has. */
  ofHost(hostKey: string): ReadonlySet<LiveSession> {
    return this.#byHost.get(hostKey) ?? NONE;
  }

  /** Each one. */
  all(): IterableIterator<LiveSession> {
    return this.#byId.values();
  }

  /** One that was just opened, or was open when the server started. */
  add(session: LiveSession): void {
    const { id, hostKey } = session.facts;
    this.#byId.set(id, session);
    const ofHost = this.#byHost.get(hostKey);
    if (ofHost === undefined) this.#byHost.set(hostKey, new Set([session]));
    else ofHost.add(session);
  }

  /** It is over. */
  remove(session: LiveSession): void {
    const { id, hostKey } = session.facts;
    if (this.#byId.get(id) === session) this.#byId.delete(id);
    const ofHost = this.#byHost.get(hostKey);
    ofHost?.delete(session);
    if (ofHost?.size === 0) this.#byHost.delete(hostKey);
  }

  /**
   * Those that a host says it has and must not go on with: unknown ones, somebody else's, and those that are not allowed
   * any more. A host that was broken into gains nothing by what it says here.
   */
  notAllowed(hostKey: string, told: readonly HostSession[]): string[] {
    return told.filter(({ session, adminKey, action }) => {
      const known = this.#byId.get(session);
      return known === undefined || known.verdict !== null || known.facts.hostKey !== hostKey ||
        known.facts.adminKey !== adminKey.toHex() || known.facts.action !== action;
    }).map(({ session }) => session);
  }
}

const NONE: ReadonlySet<LiveSession> = new Set();

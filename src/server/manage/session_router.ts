/**
 * Joins a session: a flow of the administrator's link and one of the host's.
 *
 * ```
 *   administrator             server                                                host
 *     | -- open -------------> |  form, signature, policy                             |
 *     |                        |  row of the audit, durable                           |
 *     |                        | -- name, head, open -------------------------------> |  its own policy
 *     |                        | <---------------------------------------- answer --- |
 *     | <--- answer, head ---- |                                                      |
 *     | <======================|== bytes that only the two can read ================> |
 *     |                        | <-- ended (control flow), at once or much later ---- |
 *     | <-- ended, head ------ |  row of the audit, durable                           |
 * ```
 *
 * No row, no session: what happened on a host can always be found. The row is made before the host is asked, since a row
 * made afterwards could be missing for a session that is there.
 */
import { signHead } from "../../protocol/manage/audit_head.ts";
import type { Action, SessionEnding, SignedHead } from "../../protocol/manage/control_contract.ts";
import { type ResetCode, ResetError } from "../../protocol/manage/reset_code.ts";
import type { IncomingFlow } from "../../protocol/manage/running_link.ts";
import { decodeOpen, openForHost, type SessionOpen, verifyOpen } from "../../protocol/manage/session_open.ts";
import { isSameBytes, type SigningKey } from "../../protocol/manage/signing_key.ts";
import { splice } from "../../protocol/manage/splice.ts";
import type { Timers } from "../../protocol/rpc/timers.ts";
import type { Clock } from "../../system/clock.ts";
import type { AdminLink } from "./admin_links.ts";
import type { AuditHead } from "./audit.ts";
import { answer, askHost } from "./host_asking.ts";
import type { HostLink, HostLinks } from "./host_links.ts";
import type { HostList } from "./host_list.ts";
import type { Journal } from "./journal.ts";
import type { LivePolicy } from "./live_policy.ts";
import { LiveSession, type LiveSessions, type Viewing } from "./live_sessions.ts";
import { RefusalBudget } from "./refusal_budget.ts";
import type { Registry } from "./registry.ts";
import { endSession } from "./session_verdict.ts";
import { SessionWindows } from "./session_windows.ts";

/** What the router asks and tells. */
export interface SessionRouterParts {
  readonly registry: Pick<Registry, "adminByKey" | "hostByKey" | "sessionOpened" | "sessionEnded" | "audit">;
  readonly policy: Pick<LivePolicy, "decideNew">;
  readonly hosts: HostLinks;
  readonly sessions: LiveSessions;
  readonly list: HostList;
  readonly journal: Journal;
  readonly serverKey: SigningKey;
  readonly clock: Clock;
  readonly timers: Timers;
}

/** An open that nothing speaks against. */
interface GoodOpen {
  readonly open: SessionOpen;
  readonly host: HostLink;
  /** As the policy knows it: taking a shell up again is a shell. */
  readonly action: Action;
  readonly untilMs: number | null;
  /** The session that is taken up again; null: a new one. */
  readonly attached: LiveSession | null;
}

/** An administrator whose opens are refused by hosts: so many at once, then one a second. */
const REFUSALS = { burst: 600, perMs: 1_000 };

export class SessionRouter {
  readonly #parts: SessionRouterParts;
  readonly #budget = new RefusalBudget(REFUSALS);
  readonly #windows = new SessionWindows();

  constructor(parts: SessionRouterParts) {
    this.#parts = parts;
  }

  /** Takes an open of an administrator's link, from its first byte to the end of the session. Never rejects. */
  async route(admin: AdminLink, flow: IncomingFlow): Promise<void> {
    let open: SessionOpen | null = null;
    try {
      open = decodeOpen(flow.parameters);
      const good = await this.#judge(admin, open);
      const windowBytes = this.#windows.enter(admin.keyHex);
      try {
        const { session, head } = await this.#record(admin, good);
        await this.#join(admin, flow, { ...good, windowBytes }, session, head);
      } finally {
        this.#windows.leave(admin.keyHex);
      }
    } catch (error) {
      const { code, message } = this.#refusalOf(error);
      flow.refuse(code, message);
      this.#noteRefused(admin, open, code, message);
    }
  }

  /** What speaks against an open, in the order in which it says least to whom it says it. */
  async #judge(admin: AdminLink, open: SessionOpen): Promise<GoodOpen> {
    const { registry, policy, hosts, sessions, clock } = this.#parts;
    if (!isSameBytes(open.adminKey, admin.key)) {
      throw refused("authentication", "the open names another administrator than this link's");
    }
    if (!await verifyOpen(open)) {
      throw refused("authentication", "the open is not signed by its administrator");
    }
    if (this.#budget.isSpent(admin.keyHex, this.#nowMs())) {
      throw refused("exhausted", "too many of your opens came to nothing, wait a minute");
    }
    // Asked again: he may have been revoked a moment ago, by another process.
    if (registry.adminByKey(admin.key) === null) throw refused("revoked", `${admin.name} was revoked`);
    const member = registry.hostByKey(open.hostKey);
    if (member === null) throw refused("unknown_host", "no host has this key");
    const attached = open.action === "attach" ? attachable(open, sessions.get(open.session)) : null;
    const action = open.action === "attach" ? "shell" : open.action;
    const question = { admin: admin.name, host: member, action, targets: open.targets };
    const decision = policy.decideNew(question, clock.wallMs());
    if (!decision.allowed) throw refused("refused_by_server", decision.reason);
    const host = hosts.online(member.key.toHex());
    if (host === undefined) throw refused("offline", this.#parts.list.offlineText(member));
    if (!isSameBytes(open.linkNonce, host.linkNonce)) {
      throw refused(
        "expired",
        `${member.name} has linked anew since this open was prepared, prepare another`,
      );
    }
    return { open, host, action, untilMs: decision.untilMs, attached };
  }

  /** The row; when this has returned it is durable. */
  async #record(
    admin: AdminLink,
    { open, host, action, untilMs, attached }: GoodOpen,
  ): Promise<{ session: LiveSession; head: SignedHead }> {
    const { registry, sessions, list, serverKey } = this.#parts;
    const openedMs = this.#parts.clock.wallMs();
    const facts = {
      id: open.session,
      adminKey: admin.keyHex,
      adminName: admin.name,
      hostKey: host.keyHex,
      hostName: host.name,
      action,
      targets: open.targets,
      outlivesLink: open.outlivesLink,
      openedMs,
    };
    const session = attached ?? new LiveSession(facts);
    const row = durably(() =>
      registry.sessionOpened({
        session: open.session,
        hostKey: host.key,
        host: host.name,
        adminKey: admin.key,
        admin: admin.name,
        action: open.action,
        targets: open.targets,
        outlivesLink: open.outlivesLink,
        address: admin.address,
      })
    );
    session.untilMs = untilMs;
    if (attached === null) {
      sessions.add(session);
      list.changed();
    }
    return { session, head: await signHead(row, serverKey) };
  }

  async #join(
    admin: AdminLink,
    flow: IncomingFlow,
    { open, host, attached, windowBytes }: GoodOpen & { readonly windowBytes: number },
    session: LiveSession,
    head: SignedHead,
  ): Promise<void> {
    const beganMs = this.#nowMs();
    let viewing: Viewing;
    try {
      const parameters = openForHost(admin.name, head, open.bytes);
      const opened = await askHost(host, parameters, flow.closed, this.#parts.timers, windowBytes);
      viewing = { admin, hostFlow: opened.connection, adminFlow: answer(flow, opened, head, windowBytes) };
    } catch (error) {
      this.#budget.spend(admin.keyHex, this.#nowMs());
      if (attached === null) this.#endUnborn(session, host, Math.round(this.#nowMs() - beganMs));
      throw error;
    }
    this.#parts.journal.sessionOpened(session.facts.id, admin.name, host.name, open.action);
    session.viewing = viewing;
    session.lastAdmin = admin;
    // A verdict that fell while the host was asked found no flows, and on the host nothing to end.
    if (session.verdict !== null) endSession(session, session.verdict, this.#parts.hosts);
    await splice(viewing.adminFlow, viewing.hostFlow);
    if (session.viewing === viewing) session.viewing = null;
    if (session.lastAdmin === admin && !admin.link.isOpen) session.lastAdmin = null;
  }

  /** The row of a session that the host did not begin gets its end. */
  #endUnborn(session: LiveSession, host: HostLink, durationMs: number): void {
    const { registry, sessions, list, journal } = this.#parts;
    sessions.remove(session);
    list.changed();
    const ending: SessionEnding = session.verdict ?? "failed";
    const ended = { session: session.facts.id, ending, exitCode: null, bytesIn: 0, bytesOut: 0, durationMs };
    try {
      registry.sessionEnded(host.key, ended);
    } catch (error) {
      journal.failed("end of a session not written", error, { session: session.facts.id });
    }
  }

  #refusalOf(error: unknown): { code: ResetCode; message: string } {
    if (error instanceof ResetError) {
      if (error.code === "not_audited") this.#parts.journal.failed("session not opened", error);
      // The host's link broke while it was asked: for the administrator that is a host that is not there.
      const code = error.code === "lost" ? "offline" : error.code;
      return { code, message: error.message };
    }
    this.#parts.journal.failed("session not opened", error);
    return { code: "internal", message: "the server failed, its log says why" };
  }

  #noteRefused(admin: AdminLink, open: SessionOpen | null, reason: ResetCode, text: string): void {
    const { registry, journal } = this.#parts;
    let host: string | null = null;
    if (open !== null) host = registry.hostByKey(open.hostKey)?.name ?? null;
    journal.sessionRefused({ admin: admin.name, host, action: open?.action ?? "none", reason, text });
  }

  #nowMs(): number {
    return this.#parts.timers.monotonicMs();
  }
}

/** The session that is to be taken up again: one that outlives its link, of the same two. */
function attachable(open: SessionOpen, session: LiveSession | undefined): LiveSession {
  const isHis = session !== undefined && session.facts.adminKey === open.adminKey.toHex() &&
    session.facts.hostKey === open.hostKey.toHex();
  // One text for all: whether somebody else has a session of this number is none of his business.
  if (!isHis || !session.facts.outlivesLink || session.facts.action !== "shell" || session.verdict !== null) {
    throw refused("refused_by_server", "you have no session of this number that can be taken up again");
  }
  return session;
}

function durably(write: () => AuditHead): AuditHead {
  try {
    return write();
  } catch (error) {
    if (error instanceof ResetError) throw error;
    throw new ResetError(
      "not_audited",
      "here",
      "the row of the audit could not be written, see the server's log",
      {
        cause: error,
      },
    );
  }
}

function refused(code: ResetCode, text: string): ResetError {
  return new ResetError(code, "here", text);
}

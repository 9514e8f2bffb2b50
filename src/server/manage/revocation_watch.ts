/**
 * Ends what is not allowed any more: links of those who were shut out, sessions that the policy allows no longer, a rule
 * whose time is over. Other programs write the registry and policy.toml at any moment, so both are looked at a few times
 * a second; nothing has to tell the server.
 */
import type { Timers } from "../../protocol/rpc/timers.ts";
import type { Clock } from "../../system/clock.ts";
import type { AdminLink, AdminLinks } from "./admin_links.ts";
import type { HostLink, HostLinks } from "./host_links.ts";
import type { HostList } from "./host_list.ts";
import type { Journal } from "./journal.ts";
import type { LivePolicy } from "./live_policy.ts";
import type { LiveSession, LiveSessions } from "./live_sessions.ts";
import type { Registry } from "./registry.ts";
import { endSession, orderEnd, type Verdict } from "./session_verdict.ts";

/** What the watch looks at. */
export interface RevocationWatchParts {
  readonly registry: Pick<Registry, "changes" | "hosts" | "admins" | "sessionEnded">;
  readonly policy: LivePolicy;
  readonly hosts: HostLinks;
  readonly admins: AdminLinks;
  readonly sessions: LiveSessions;
  readonly list: HostList;
  readonly journal: Journal;
  readonly clock: Clock;
  readonly timers: Timers;
  /** The registry was written by somebody else: pins may be others. */
  readonly registryChanged: () => void;
}

/** Time that a host which was shut out has to end what runs on it, before its link goes. */
const LAST_ORDER_MS = 300;

export class RevocationWatch {
  readonly #parts: RevocationWatchParts;
  #seenChanges: number;
  #looking: Promise<void> | null = null;

  constructor(parts: RevocationWatchParts) {
    this.#parts = parts;
    this.#seenChanges = parts.registry.changes();
  }

  /** Looks once; a look that is still under way is joined. Never rejects. */
  look(): Promise<void> {
    this.#looking ??= this.#look()
      .catch((error: unknown) => this.#parts.journal.failed("looking for revocations failed", error))
      .finally(() => this.#looking = null);
    return this.#looking;
  }

  async #look(): Promise<void> {
    const { registry, registryChanged } = this.#parts;
    const changes = registry.changes();
    if (changes !== this.#seenChanges) {
      this.checkMembers();
      // Only now: a look that failed, on a database that is locked or a disk that fails, is to come again.
      this.#seenChanges = changes;
      registryChanged();
    }
    this.#endExpired();
    if (await this.rereadPolicy()) this.#checkSessions();
  }

  /** Reads policy.toml if it has changed; whether it has. */
  async rereadPolicy(): Promise<boolean> {
    const { policy, list, journal } = this.#parts;
    const change = await policy.refresh();
    if (change === "same") return false;
    if (change === "broken") {
      journal.policyBroken(policy.trouble ?? "unknown");
      return false;
    }
    journal.policyChanged();
    list.changed();
    return true;
  }

  /** Ends links and sessions of those who are not members any more. */
  checkMembers(): void {
    const { registry, hosts, admins, list } = this.#parts;
    const knownHosts = new Map(registry.hosts().map((member) => [member.key.toHex(), member]));
    const knownAdmins = new Set(registry.admins().map((member) => member.key.toHex()));
    for (const host of [...hosts.all()]) {
      if (!knownHosts.has(host.keyHex)) void this.#shutOutHost(host);
    }
    for (const admin of [...admins.all()]) {
      if (!knownAdmins.has(admin.keyHex)) shutOutAdmin(admin);
    }
    this.#checkSessions(knownHosts, knownAdmins);
    list.changed();
  }

  /** Asks for every session whether it may go on. */
  #checkSessions(
    knownHosts: ReadonlyMap<string, { readonly tags: readonly string[] }> = this.#knownHosts(),
    knownAdmins: ReadonlySet<string> = this.#knownAdmins(),
  ): void {
    for (const session of [...this.#parts.sessions.all()]) {
      const { hostKey, adminKey } = session.facts;
      const host = knownHosts.get(hostKey);
      if (host === undefined) this.#endOnLostHost(session);
      else if (!knownAdmins.has(adminKey)) this.#end(session, "revoked");
      else this.#askPolicy(session, host.tags);
    }
  }

  #askPolicy(session: LiveSession, tags: readonly string[]): void {
    const { policy, clock } = this.#parts;
    const { adminName, hostName, action, targets } = session.facts;
    const question = { admin: adminName, host: { name: hostName, tags }, action, targets };
    const nowMs = clock.wallMs();
    const decision = policy.decideRunning(question, nowMs);
    if (decision.allowed) session.untilMs = decision.untilMs;
    else if (isOver(session, nowMs)) this.#end(session, "expired");
    else this.#end(session, "revoked", `its policy does not allow ${action} on ${hostName} any more`);
  }

  #endExpired(): void {
    const { sessions, clock, list } = this.#parts;
    const nowMs = clock.wallMs();
    let isAny = false;
    for (const session of [...sessions.all()]) {
      if (!isOver(session, nowMs) || session.verdict !== null) continue;
      isAny = true;
      this.#end(session, "expired");
    }
    if (isAny) list.changed();
  }

  #end(session: LiveSession, verdict: Verdict, text?: string): void {
    if (session.verdict === null) endSession(session, verdict, this.#parts.hosts, text);
  }

  /** Nobody is left who could tell its end. */
  #endOnLostHost(session: LiveSession): void {
    const { registry, sessions, clock, journal, hosts } = this.#parts;
    const { id, hostKey, hostName, openedMs } = session.facts;
    this.#end(session, "revoked", `${hostName} was revoked`);
    // Its link is there for a moment yet: until then it may tell the end itself.
    if (hosts.get(hostKey)?.link.isOpen === true) return;
    sessions.remove(session);
    const durationMs = Math.max(0, Math.round(clock.wallMs() - openedMs));
    try {
      registry.sessionEnded(Uint8Array.fromHex(hostKey), {
        session: id,
        ending: "revoked",
        exitCode: null,
        bytesIn: 0,
        bytesOut: 0,
        durationMs,
      });
    } catch (error) {
      journal.failed("end of a session not written", error, { session: id });
    }
  }

  /** What runs on it ends first, while it can still be told. */
  async #shutOutHost(host: HostLink): Promise<void> {
    const { sessions, timers } = this.#parts;
    const ids = [...sessions.ofHost(host.keyHex)].map(({ facts }) => facts.id);
    const { promise: overtime, resolve } = Promise.withResolvers<void>();
    const callOff = timers.after(LAST_ORDER_MS, resolve);
    await Promise.race([orderEnd(host, ids, "revoked"), overtime]);
    callOff();
    host.close("revoked", `${host.name} was revoked`);
    await host.link.closed;
    for (const session of [...sessions.ofHost(host.keyHex)]) this.#endOnLostHost(session);
  }

  #knownHosts(): Map<string, { readonly tags: readonly string[] }> {
    return new Map(this.#parts.registry.hosts().map((member) => [member.key.toHex(), member]));
  }

  #knownAdmins(): Set<string> {
    return new Set(this.#parts.registry.admins().map((member) => member.key.toHex()));
  }
}

function isOver({ untilMs }: LiveSession, nowMs: number): boolean {
  return untilMs !== null && nowMs > untilMs;
}

function shutOutAdmin(admin: AdminLink): void {
  admin.close("revoked", `${admin.name} was revoked`);
}

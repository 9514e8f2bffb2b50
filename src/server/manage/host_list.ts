/** The list of hosts as administrators see it: each one those that the policy lets him do anything on. */
import type { HostRow } from "../../protocol/manage/control_contract.ts";
import type { Clock } from "../../system/clock.ts";
import { didYouMean } from "../../system/suggest.ts";
import { ChangeSignal } from "./change_signal.ts";
import type { HostLink, HostLinks } from "./host_links.ts";
import type { LivePolicy } from "./live_policy.ts";
import type { LiveSessions } from "./live_sessions.ts";
import type { Member, Registry } from "./registry.ts";

/** What the list is made of. */
export interface HostListParts {
  readonly registry: Pick<Registry, "hosts">;
  readonly policy: Pick<LivePolicy, "mayUse">;
  readonly hosts: HostLinks;
  readonly sessions: LiveSessions;
  readonly clock: Clock;
}

/** A host that was online, as it was when it went. */
type LastSeen = Pick<HostRow, "sinceMs" | "version" | "system">;

export class HostList {
  readonly #parts: HostListParts;
  readonly #signal = new ChangeSignal();
  /** Since the server's start. The registry has it a little later, or not at all where the disk is full. */
  readonly #lastSeen = new Map<string, LastSeen>();
  /** Of the registry; read again after a change. */
  #members: readonly Member[] | null = null;

  constructor(parts: HostListParts) {
    this.#parts = parts;
  }

  /** Counts the changes. */
  get version(): number {
    return this.#signal.version;
  }

  /** A host has come or gone, or what is known of one, or what an administrator may see. */
  changed(): void {
    this.#members = null;
    this.#signal.changed();
  }

  /** A host that was online has gone. */
  gone({ keyHex, registration }: HostLink): void {
    const { version = null, system = null } = registration ?? {};
    this.#lastSeen.set(keyHex, { sinceMs: Math.floor(this.#parts.clock.wallMs()), version, system });
    this.changed();
  }

  /** Why a host cannot be asked. */
  offlineText({ key, name, sinceMs: notedMs }: Pick<Member, "key" | "name" | "sinceMs">): string {
    const sinceMs = this.#lastSeen.get(key.toHex())?.sinceMs ?? notedMs;
    if (sinceMs === null) return `${name} was never online`;
    return `${name} is offline since ${new Date(sinceMs).toISOString().slice(0, 19).replace("T", " ")} UTC`;
  }

  /** Waits for a change since a version. */
  after(version: number, signal: AbortSignal): Promise<void> {
    return this.#signal.after(version, signal);
  }

  /** Rows of the hosts that an administrator may use, by name. */
  rowsFor(admin: string): HostRow[] {
    return this.#usableBy(admin).map((member) => this.#row(member));
  }

  /** What helps somebody who gave a name that no host has; empty if nothing is near. */
  nearest(name: string, admin: string): string {
    return didYouMean(name, this.#usableBy(admin).map((member) => member.name));
  }

  #usableBy(admin: string): Member[] {
    const { registry, policy, clock } = this.#parts;
    this.#members ??= registry.hosts();
    const nowMs = clock.wallMs();
    return this.#members.filter((host) => policy.mayUse({ admin, host }, nowMs));
  }

  #row({ key, name, tags, sinceMs, version, system }: Member): HostRow {
    const keyHex = key.toHex();
    const link = this.#parts.hosts.get(keyHex);
    const sessions = this.#parts.sessions.ofHost(keyHex).size;
    if (link === undefined || link.registration === null) {
      const seen = this.#lastSeen.get(keyHex) ?? { sinceMs, version, system };
      return { name, tags, online: false, latencyMs: null, sessions, ...seen };
    }
    return {
      name,
      tags,
      sinceMs: link.onlineSinceMs,
      online: true,
      latencyMs: link.latencyMs,
      version: link.registration.version,
      system: link.registration.system,
      sessions,
    };
  }
}

/**
 * The registry of a management server: who is let in, by which key and which name, which invitations are open, which
 * sessions run, and the audit. One SQLite file; the running server and the commands beside it have it open at once.
 *
 * Everything but the opening is synchronous, and on the disk when it returns. Whatever is worth a row of the audit writes
 * that row in the same transaction: neither is there without the other.
 */
import type { EndedSession } from "../../protocol/manage/control_contract.ts";
import { fingerprint } from "../../protocol/manage/signing_key.ts";
import { type Clock, systemClock } from "../../system/clock.ts";
import { Audit, type AuditBody, type AuditHead } from "./audit.ts";
import type { DataFolder } from "./data_folder.ts";
import { Database } from "./database.ts";
import { type Bound, Invitations, type Invite, type NewInvite, type ShownToken } from "./invitations.ts";
import { type Member, type MemberFacts, type MemberRole, Members } from "./members.ts";
import { Meta } from "./meta.ts";
import { type OpenedSession, type SessionRecord, SessionRecords } from "./session_records.ts";

export type { Bound, Invite, NewInvite, ShownToken } from "./invitations.ts";
export type { Member, MemberFacts, MemberRole } from "./members.ts";
export type { OpenedSession, SessionRecord } from "./session_records.ts";

/** Where a link comes from, for the audit. */
export interface LinkAddress {
  readonly address: string;
}

/** An open registry. Every method throws `DatabaseFailure` if the database cannot do what is asked. */
export class Registry implements Disposable {
  readonly audit: Audit;
  readonly meta: Meta;
  readonly #database: Database;
  readonly #clock: Clock;
  readonly #members: Members;
  readonly #invitations: Invitations;
  readonly #sessions: SessionRecords;

  /** Of an open database. */
  constructor(database: Database, clock: Clock) {
    this.#database = database;
    this.#clock = clock;
    this.audit = new Audit(database, clock);
    this.meta = new Meta(database);
    this.#members = new Members(database);
    this.#invitations = new Invitations(database, this.#members, this.audit);
    this.#sessions = new SessionRecords(database, this.audit);
  }

  /**
   * Opens the registry of a folder.
   *
   * @throws {Failure} if it is none, damaged, or of a later version
   */
  static async open(folder: DataFolder, { clock = systemClock }: { clock?: Clock } = {}): Promise<Registry> {
    return new Registry(await Database.open(folder.registry), clock);
  }

  hostByKey(key: Uint8Array): Member | null {
    return this.#members.byKey("host", key);
  }

  hostByName(name: string): Member | null {
    return this.#members.byName("host", name);
  }

  adminByKey(key: Uint8Array): Member | null {
    return this.#members.byKey("administrator", key);
  }

  adminByName(name: string): Member | null {
    return this.#members.byName("administrator", name);
  }

  /** Whether this key was let in once, and is not now: revoked, or another key has taken the name. */
  wasRevoked(role: MemberRole, key: Uint8Array): boolean {
    return this.#members.wasRevoked(role, key);
  }

  /** All hosts, by name. */
  hosts(): Member[] {
    return this.#members.all("host");
  }

  /** All administrators, by name. */
  admins(): Member[] {
    return this.#members.all("administrator");
  }

  /** Invitations that are still good for somebody. */
  invites(): Invite[] {
    return this.#invitations.open(this.#nowMs());
  }

  /**
   * Notes an invitation; gives how many earlier ones of the name it has taken back.
   *
   * @throws {Failure} if the name is taken, and nothing is to be replaced
   */
  createInvite(invite: NewInvite): number {
    return this.#invitations.create(invite, this.#nowMs());
  }

  /** Takes a token from whoever has proven a key. The same key may show it again, until it expires. */
  bindToken(shown: ShownToken): Bound {
    return this.#invitations.bind(shown, this.#nowMs());
  }

  /** Shuts a host or an administrator out, with the invitations of that name; false if there is none. */
  revoke(role: MemberRole, name: string): boolean {
    return this.#database.transaction(() => {
      const member = this.#members.byName(role, name);
      if (member === null) return false;
      this.#members.shutOut(role, name, this.#nowMs());
      this.#invitations.revokeAll(role, name, this.#nowMs());
      this.audit.append("revoked", { kind: "member", role, name, key: fingerprint(member.key) });
      return true;
    });
  }

  /** Takes back the invitations of a name that nobody has used; gives how many. */
  revokeInvite(name: string): number {
    return this.#invitations.revoke(name, this.#nowMs());
  }

  /** A number that is another one when some other program has written: PRAGMA data_version. */
  changes(): number {
    return this.#database.changes();
  }

  /** Notes that the link of a host stands, and what the host says of itself. */
  noteOnline(hostKey: Uint8Array, facts: MemberFacts & LinkAddress): void {
    this.#database.transaction(() => {
      this.#members.up("host", hostKey, facts, this.#nowMs());
      const host = this.hostByKey(hostKey);
      const { version, system, address } = facts;
      if (host !== null) this.audit.append("link_up", { host: host.name, version, system, address });
    });
  }

  /** Notes that it is gone. */
  noteOffline(hostKey: Uint8Array, { reason, address }: LinkAddress & { readonly reason: string }): void {
    this.#database.transaction(() => {
      const host = this.hostByKey(hostKey);
      this.#members.down("host", hostKey, this.#nowMs());
      if (host !== null) this.audit.append("link_down", { host: host.name, reason, address });
    });
  }

  /** Notes at a start that no link stands: the last server may have had no time to. */
  noteAllOffline(): void {
    this.#members.allDown(this.#nowMs());
  }

  /** Notes which pins somebody has stored. */
  notePinned(role: MemberRole, key: Uint8Array, generation: number): void {
    this.#members.pinned(role, key, generation);
  }

  /** Generation of the newest pins; 1 after init. */
  pinsGeneration(): number {
    return this.meta.number("pins_generation") ?? 0;
  }

  /** Who has not stored the newest pins. */
  withoutPins(): Member[] {
    return this.#members.behind(this.pinsGeneration());
  }

  /**
   * Writes down that a session opens, before it does.
   *
   * @throws {ResetError} "not_audited", "refused_by_server"
   */
  sessionOpened(opened: OpenedSession): AuditHead {
    return this.#sessions.opened(opened, this.#nowMs());
  }

  /** Writes down that one was refused, and why. */
  sessionRefused(body: AuditBody): AuditHead {
    return this.audit.append("session_refused", body);
  }

  /** Writes down what a host tells about the end of one of its sessions; again is no harm. */
  sessionEnded(hostKey: Uint8Array, ended: EndedSession): AuditHead {
    return this.#sessions.ended(hostKey, ended, this.#nowMs());
  }

  /** Sessions that have not ended, as far as is known here. */
  openSessions(): SessionRecord[] {
    return this.#sessions.open();
  }

  /** One of them, or null. */
  openSession(session: string): SessionRecord | null {
    return this.#sessions.byId(session);
  }

  /** Does several writes as one: all of them or, if `act` throws, none. */
  batch<T>(act: () => T): T {
    return this.#database.transaction(act);
  }

  close(): void {
    this.#database.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #nowMs(): number {
    return Math.floor(this.#clock.wallMs());
  }
}

/**
 * Sessions in the registry. The row of an open and its row of the audit are one transaction, durable before the host is
 * asked; an end is told by the host, again and again until it is acknowledged, and counts once.
 */
import type { Action, EndedSession } from "../../protocol/manage/control_contract.ts";
import { ResetError } from "../../protocol/manage/reset_code.ts";
import { fingerprint, isSameBytes } from "../../protocol/manage/signing_key.ts";
import type { Audit, AuditHead } from "./audit.ts";
import { bytesOf, type Database, DatabaseFailure, type Row, textOf, wholeNumber } from "./database.ts";
import { textList } from "./members.ts";

/** A session that is to be opened, or taken up again. */
export interface OpenedSession {
  /** 16 hexadecimal digits, chosen by the administrator. */
  readonly session: string;
  readonly admin: string;
  readonly adminKey: Uint8Array;
  readonly host: string;
  readonly hostKey: Uint8Array;
  /** "attach": a session that is there is taken up again. */
  readonly action: Action | "attach";
  readonly outlivesLink: boolean;
  /** As declared. */
  readonly targets: readonly string[];
  /** Where the administrator's link comes from. */
  readonly address: string;
}

/** A session that has not ended, as far as the server knows. */
export interface SessionRecord extends Omit<OpenedSession, "action" | "address"> {
  readonly action: Action;
  /** Milliseconds since 1970. */
  readonly openedMs: number;
}

const OPEN = "SELECT * FROM sessions WHERE ended_ms IS NULL";

/** The table of sessions. */
export class SessionRecords {
  readonly #database: Database;
  readonly #audit: Audit;

  /** Of an open database. */
  constructor(database: Database, audit: Audit) {
    this.#database = database;
    this.#audit = audit;
  }

  /** Those that have not ended, the oldest first. */
  open(): SessionRecord[] {
    return this.#database.all(`${OPEN} ORDER BY opened_ms, session`).map(toRecord);
  }

  /** One that has not ended, or null. */
  byId(session: string): SessionRecord | null {
    const row = this.#database.get(`${OPEN} AND session = ?`, session);
    return row === null ? null : toRecord(row);
  }

  /**
   * Writes down that a session opens, before it does.
   *
   * @throws {ResetError} "not_audited" if that is not durable; "refused_by_server" if the number is taken, or there is
   * no such session of this administrator on this host to take up again
   */
  opened(opened: OpenedSession, nowMs: number): AuditHead {
    try {
      return this.#database.transaction(() => {
        if (opened.action === "attach") this.#requireOwn(opened);
        else this.#insert(opened, nowMs);
        const { session, admin, host, action, outlivesLink, targets, address } = opened;
        return this.#audit.append("session_opened", {
          session,
          admin,
          admin_key: fingerprint(opened.adminKey),
          host,
          host_key: fingerprint(opened.hostKey),
          action,
          outlives_link: outlivesLink,
          targets,
          address,
        });
      });
    } catch (error) {
      if (!(error instanceof DatabaseFailure)) throw error;
      throw new ResetError(
        "not_audited",
        "here",
        "the server refuses: the session could not be written into its audit",
        { cause: error },
      );
    }
  }

  /**
   * Writes down what a host tells about an end. Of a session that has ended already, or is none of this host, nothing is
   * written: the newest row is the answer all the same, so that the host stops repeating it.
   *
   * @throws {DatabaseFailure} if it is not durable; the host has to tell it again
   */
  ended(hostKey: Uint8Array, ended: EndedSession, nowMs: number): AuditHead {
    return this.#database.transaction(() => {
      const record = this.byId(ended.session);
      if (record === null || !isSameBytes(record.hostKey, hostKey)) return this.#audit.head();
      this.#database.run("UPDATE sessions SET ended_ms = ? WHERE session = ?", nowMs, ended.session);
      return this.#audit.append("session_ended", {
        session: ended.session,
        admin: record.admin,
        host: record.host,
        action: record.action,
        ending: ended.ending,
        exit_code: ended.exitCode,
        bytes_in: ended.bytesIn,
        bytes_out: ended.bytesOut,
        duration_ms: ended.durationMs,
      });
    });
  }

  #insert(opened: OpenedSession, nowMs: number): void {
    // Also among those that have ended: a number names one session, for ever.
    if (this.#database.get("SELECT session FROM sessions WHERE session = ?", opened.session) !== null) {
      throw refusal(`there was a session ${opened.session} before`);
    }
    this.#database.run(
      `INSERT INTO sessions
         (session, host_key, host, admin_key, admin, action, targets, outlives_link, opened_ms)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      opened.session,
      opened.hostKey,
      opened.host,
      opened.adminKey,
      opened.admin,
      opened.action,
      JSON.stringify(opened.targets),
      opened.outlivesLink ? 1 : 0,
      nowMs,
    );
  }

  #requireOwn({ session, adminKey, hostKey }: OpenedSession): void {
    const record = this.byId(session);
    const isOwn = record !== null && isSameBytes(record.adminKey, adminKey) &&
      isSameBytes(record.hostKey, hostKey);
    // One text for all cases: the number of somebody else's session is not confirmed.
    if (!isOwn) throw refusal(`there is no session ${session} of yours on that host`);
  }
}

function refusal(reason: string): ResetError {
  return new ResetError("refused_by_server", "here", `the server refuses: ${reason}`);
}

function toRecord(row: Row): SessionRecord {
  const action = textOf(row, "action");
  return {
    session: textOf(row, "session"),
    admin: textOf(row, "admin"),
    adminKey: bytesOf(row, "admin_key"),
    host: textOf(row, "host"),
    hostKey: bytesOf(row, "host_key"),
    action: action === "shell" || action === "exec" ? action : "forward",
    outlivesLink: wholeNumber(row, "outlives_link") === 1,
    targets: textList(textOf(row, "targets")),
    openedMs: wholeNumber(row, "opened_ms"),
  };
}

/**
 * What the server writes of links and of what it refuses: one line of log and one row of audit for each event. Whoever
 * causes them may be a stranger, or a program that tries again for ever, so both are throttled together, and the next row
 * says how many are missing. A row that cannot be written is one log line more and ends no link; what a session needs to
 * be durable is written by the registry and not from here.
 */
import type { ResetCode } from "../../protocol/manage/reset_code.ts";
import type { Clock } from "../../system/clock.ts";
import { describeError } from "../../system/failure.ts";
import { type Log, type LogFields, LogThrottle, type LogThrottleOptions } from "../../system/log.ts";
import type { Audit, AuditEvent } from "./audit.ts";
import { MAX_MEMBERS } from "./config.ts";

/** What is needed of the audit. */
export type RowWriter = Pick<Audit, "append">;

/** Somebody whose key is proven and known. */
export interface KnownSide {
  readonly role: "host" | "administrator";
  readonly name: string;
}

/** Why a connection got no link. */
export interface LinkRefusal {
  readonly reason: ResetCode;
  /** IP address and port. */
  readonly address: string;
  /** Who it is, where a key was proven and is known, or was. */
  readonly side?: KnownSide | undefined;
  /** Fingerprint of a key that was proven and is not known. */
  readonly fingerprint?: string | undefined;
}

/** What stands in a row and in its line alike. */
type RowFields = Readonly<Record<string, string | number | null>>;

/** A session that did not come to be. */
export interface SessionRefusal {
  readonly admin: string;
  /** Null: there is no such host. */
  readonly host: string | null;
  readonly action: string;
  readonly reason: ResetCode;
  /** What the administrator was told. */
  readonly text: string;
}

const MINUTE_MS = 60_000;

/** Of strangers, for each reason. */
const STRANGERS: LogThrottleOptions = { perKey: { burst: 20, perMs: MINUTE_MS }, maxKeys: 32 };
/** Of each known name: a link that comes and goes. */
const LINKS: LogThrottleOptions = { perKey: { burst: 20, perMs: MINUTE_MS }, maxKeys: 2 * MAX_MEMBERS };
/** Of each known name: refused links and two links with one key; their programs try for ever. */
const REFUSED_NAMES: LogThrottleOptions = {
  perKey: { burst: 5, perMs: 10 * MINUTE_MS },
  maxKeys: 2 * MAX_MEMBERS,
};
/** Of each administrator. */
const REFUSED_SESSIONS: LogThrottleOptions = { perKey: { burst: 30, perMs: 2_000 }, maxKeys: MAX_MEMBERS };
const FAILURES: LogThrottleOptions = { perKey: { burst: 5, perMs: 10_000 }, maxKeys: 32 };

export class Journal {
  readonly #rows: RowWriter;
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #strangers = new LogThrottle(STRANGERS);
  readonly #links = new LogThrottle(LINKS);
  readonly #refusedNames = new LogThrottle(REFUSED_NAMES);
  readonly #refusedSessions = new LogThrottle(REFUSED_SESSIONS);
  readonly #failures = new LogThrottle(FAILURES);

  constructor(rows: RowWriter, log: Log, clock: Clock) {
    this.#rows = rows;
    this.#log = log;
    this.#clock = clock;
  }

  /** A link stands. */
  linkUp(side: KnownSide, address: string): void {
    this.#note(this.#links, `up ${keyOf(side)}`, "link_up", "info", { ...named(side), address });
  }

  /** It has ended. */
  linkDown(side: KnownSide, address: string, reason: ResetCode | "closed"): void {
    this.#note(this.#links, `down ${keyOf(side)}`, "link_down", "info", { ...named(side), address, reason });
  }

  /** A connection got no link. */
  linkRefused({ reason, address, side, fingerprint }: LinkRefusal): void {
    if (side !== undefined) {
      const fields = { reason, ...named(side), address };
      this.#note(this.#refusedNames, `refused ${keyOf(side)}`, "link_refused", "warn", fields);
    } else {
      const fields = fingerprint === undefined ? { reason, address } : { reason, address, key: fingerprint };
      this.#note(this.#strangers, reason, "link_refused", "warn", fields);
    }
  }

  /** Somebody hung up before he had proven a key, as scanners and watchdogs do: a line of log, and no row. */
  hungUp(address: string): void {
    const { log, suppressed } = this.#strangers.take("hung up", this.#clock.monotonicMs());
    if (log) this.#log.info("hung up before the proof", { address, ...counted(suppressed) });
  }

  /** There was no place for a connection. */
  noPlace(reason: string, address: string): void {
    const { log, suppressed } = this.#strangers.take(`no place ${reason}`, this.#clock.monotonicMs());
    if (log) this.#log.warn("connection refused", { reason, address, ...counted(suppressed) });
  }

  /** A second link came with the key of one that lives. */
  linkContested(host: string, holder: string, newcomer: string): void {
    const fields = { host, holder, newcomer };
    this.#note(this.#refusedNames, `contested ${host}`, "link_contested", "warn", fields);
  }

  /** An administrator's open was refused. */
  sessionRefused({ admin, host, action, reason, text }: SessionRefusal): void {
    const fields = { admin, host, action, reason, text };
    this.#note(this.#refusedSessions, admin, "session_refused", "warn", fields);
  }

  /** A session was opened, or taken up again; its row is written by the registry. */
  sessionOpened(session: string, admin: string, host: string, action: string): void {
    this.#log.info("session_opened", { session, admin, host, action });
  }

  /** It is over, likewise. */
  sessionEnded(session: string, host: string, ending: string): void {
    this.#log.info("session_ended", { session, host, ending });
  }

  /** Who may do what has changed. */
  policyChanged(): void {
    this.#write("policy_changed", { file: "policy.toml" });
    this.#log.info("policy_changed", { file: "policy.toml" });
  }

  /** policy.toml cannot be used as it is now. */
  policyBroken(problem: string): void {
    const { log, suppressed } = this.#strangers.take("policy broken", this.#clock.monotonicMs());
    if (log) this.#log.error("policy.toml is not good", { problem, ...counted(suppressed) });
  }

  /** Something has changed that only another start can take over. */
  restartNeeded(why: string): void {
    const { log, suppressed } = this.#failures.take("restart", this.#clock.monotonicMs());
    if (log) this.#log.warn("restart the server", { why, ...counted(suppressed) });
  }

  /** The CA is being changed. */
  rotating(without: number): void {
    this.#log.info("the CA is being changed", { without_the_new_one: without });
  }

  /** A row that must not stop anything; a failure is told. */
  #write(event: AuditEvent, body: RowFields): void {
    try {
      this.#rows.append(event, body);
    } catch (error) {
      this.failed("audit row not written", error, { event });
    }
  }

  #note(
    throttle: LogThrottle,
    key: string,
    event: AuditEvent,
    level: "info" | "warn",
    fields: RowFields,
  ): void {
    const { log, suppressed } = throttle.take(key, this.#clock.monotonicMs());
    if (!log) return;
    const body = { ...fields, ...counted(suppressed) };
    this.#write(event, body);
    this.#log[level](event, body);
  }

  /** Something is wrong here, and is nobody else's doing. */
  failed(what: string, error: unknown, fields: LogFields = {}): void {
    const { log, suppressed } = this.#failures.take(what, this.#clock.monotonicMs());
    if (log) this.#log.error(what, { ...fields, error: describeError(error), ...counted(suppressed) });
  }
}

/** As rows of sessions call them. */
function named({ role, name }: KnownSide): RowFields {
  return role === "host" ? { host: name } : { admin: name };
}

function keyOf({ role, name }: KnownSide): string {
  return `${role} ${name}`;
}

function counted(suppressed: number): { suppressed?: number } {
  return suppressed === 0 ? {} : { suppressed };
}

/**
 * The audit: who did what, where and when, one row after the other, each with the hash of the one before in its own
 * (docs/wire-formats.md). Whoever changes, removes or reorders rows would have to make every later hash anew, and the
 * heads that clients and agents keep would not fit any more.
 *
 * A row is read as the last one and the next one written in one transaction that holds the write lock, so that several
 * programs can append.
 */
import { rowHash } from "../../protocol/manage/audit_head.ts";
import { isSameBytes } from "../../protocol/manage/signing_key.ts";
import type { Clock } from "../../system/clock.ts";
import { bytesOf, type Database, type Row, textOf, wholeNumber } from "./database.ts";

/** What a row is about. */
export type AuditEvent =
  | "init"
  | "invite_created"
  | "joined"
  | "join_refused"
  | "revoked"
  | "ca_rotated"
  | "link_up"
  | "link_down"
  | "link_refused"
  | "link_contested"
  | "session_opened"
  | "session_refused"
  | "session_ended"
  | "policy_changed";

/** What a row says; never a secret, and never what a session carries. */
export type AuditBody = Readonly<Record<string, string | number | boolean | null | readonly string[]>>;

/** The newest row. */
export interface AuditHead {
  /** From 1 on; 0: the audit is empty. */
  readonly number: number;
  /** 32 bytes; of zeros where the number is 0. */
  readonly hash: Uint8Array<ArrayBuffer>;
}

/** A row as it is printed. */
export interface AuditRow {
  readonly number: number;
  /** Milliseconds since 1970 by the server's clock. */
  readonly atMs: number;
  readonly event: string;
  /** As it was written; text where somebody put something else than JSON there. */
  readonly body: Readonly<Record<string, unknown>> | string;
}

/** Whether the chain holds, and the first row at which it does not. */
export type AuditVerdict =
  | { readonly isSound: true; readonly head: AuditHead }
  | { readonly isSound: false; readonly row: number; readonly problem: string };

const HASH_BYTES = 32;
const NEWEST = "SELECT number, hash FROM audit ORDER BY number DESC LIMIT 1";

/** The audit of a registry. */
export class Audit {
  readonly #database: Database;
  readonly #clock: Clock;

  /** Of an open database. */
  constructor(database: Database, clock: Clock) {
    this.#database = database;
    this.#clock = clock;
  }

  /**
   * Adds a row; it is durable when this returns, together with all else of the transaction around it.
   *
   * @throws {DatabaseFailure} if it could not be made durable; there is no such row then
   */
  append(event: AuditEvent, body: AuditBody): AuditHead {
    return this.#database.transaction(() => {
      const previous = this.head();
      const number = previous.number + 1;
      const atMs = Math.max(0, Math.floor(this.#clock.wallMs()));
      const text = JSON.stringify(body);
      const hash = rowHash({ previous: previous.hash, number, atMs, event, body: text });
      this.#database.run(
        "INSERT INTO audit (number, at_ms, event, body, hash) VALUES (?, ?, ?, ?, ?)",
        number,
        atMs,
        event,
        text,
        hash,
      );
      return { number, hash };
    });
  }

  /** The newest row. */
  head(): AuditHead {
    const row = this.#database.get(NEWEST);
    if (row === null) return { number: 0, hash: new Uint8Array(HASH_BYTES) };
    return { number: wholeNumber(row, "number"), hash: bytesOf(row, "hash") };
  }

  /** The newest `limit` rows, the newest one last. */
  rows({ limit }: { readonly limit: number }): AuditRow[] {
    const newest = "SELECT number, at_ms, event, body FROM audit ORDER BY number DESC LIMIT ?";
    return [...this.#database.each(newest, limit)].reverse().map((row) => ({
      // Whole numbers come as bigint: what somebody put there may be out of range, and is printed all the same.
      number: Number(row["number"]),
      atMs: Number(row["at_ms"]),
      event: textOf(row, "event"),
      body: parseBody(textOf(row, "body")),
    }));
  }

  /**
   * Walks the whole chain.
   *
   * @param kept a head from elsewhere; without one, rows that were cut off at the end cannot be missed
   */
  verify(kept: AuditHead | null = null): AuditVerdict {
    let head: AuditHead = { number: 0, hash: new Uint8Array(HASH_BYTES) };
    for (const row of this.#database.each("SELECT * FROM audit ORDER BY number")) {
      const next = nextHead(head, row);
      if (typeof next === "string") return { isSound: false, row: head.number + 1, problem: next };
      head = next;
      if (kept?.number === head.number && !isSameBytes(kept.hash, head.hash)) {
        return { isSound: false, row: head.number, problem: "it is another one than the head that was kept" };
      }
    }
    if (kept !== null && kept.number > head.number) {
      return {
        isSound: false,
        row: head.number + 1,
        problem: `it and all later ones are missing, but a head of row ${kept.number} was kept`,
      };
    }
    return { isSound: true, head };
  }
}

/** The head after this row, or what is wrong with it. */
function nextHead(previous: AuditHead, row: Row): AuditHead | string {
  const number = previous.number + 1;
  const { number: found, at_ms: atMs, event, body, hash } = row;
  if (found !== BigInt(number)) return `it is missing, the next one there is row ${String(found)}`;
  const isWhole = typeof atMs === "bigint" && atMs >= 0n && atMs <= BigInt(Number.MAX_SAFE_INTEGER) &&
    typeof event === "string" && typeof body === "string" && hash instanceof Uint8Array;
  if (!isWhole) return "it holds something that no row can hold";
  const right = rowHash({ previous: previous.hash, number, atMs: Number(atMs), event, body });
  return isSameBytes(right, new Uint8Array(hash))
    ? { number, hash: right }
    : "its content, or its place in the chain, does not fit its hash";
}

function parseBody(text: string): Readonly<Record<string, unknown>> | string {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? { ...value } : text;
  } catch {
    return text;
  }
}

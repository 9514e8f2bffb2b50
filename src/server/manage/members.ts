/** Hosts and administrators in the registry. Identity is the key; a name is what the operator gave to it. */
import { TOKEN_START } from "../../protocol/manage/join_token.ts";
import { MAX_NAME_BYTES } from "../../protocol/manage/names.ts";
import { quoteVisibly } from "../../system/visible_text.ts";
import {
  bytesOf,
  type Database,
  optionalNumber,
  optionalText,
  type Row,
  textOf,
  wholeNumber,
} from "./database.ts";

/** What somebody is to the server, as in the handshake. */
export type MemberRole = "host" | "administrator";

/** A host or an administrator that is let in. */
export interface Member {
  readonly role: MemberRole;
  readonly name: string;
  /** 32 bytes, Ed25519. */
  readonly key: Uint8Array<ArrayBuffer>;
  /** Of hosts. */
  readonly tags: readonly string[];
  /** Milliseconds since 1970 by the server's clock, as all times here. */
  readonly joinedMs: number;
  /** Of hosts: whether its link stood when that was noted last. */
  readonly online: boolean;
  /** Since when it is what `online` says; null: it never was online. */
  readonly sinceMs: number | null;
  /** Of Postern; null before the first link. */
  readonly version: string | null;
  /** Such as "linux x86_64"; null before the first link. */
  readonly system: string | null;
  /** Generation of the pins that it has stored. */
  readonly pinsGeneration: number;
}

/** What a host says of itself when its link stands. */
export interface MemberFacts {
  readonly version: string;
  readonly system: string;
  readonly pinsGeneration: number;
}

const LIVING = "revoked_ms IS NULL";

/** The table of members. */
export class Members {
  readonly #database: Database;

  /** Of an open database. */
  constructor(database: Database) {
    this.#database = database;
  }

  /** Who has this key, or null. */
  byKey(role: MemberRole, key: Uint8Array): Member | null {
    return memberOf(
      this.#database.get(`SELECT * FROM members WHERE role = ? AND key = ? AND ${LIVING}`, role, key),
    );
  }

  /** Who has this name, or null. */
  byName(role: MemberRole, name: string): Member | null {
    return memberOf(
      this.#database.get(`SELECT * FROM members WHERE role = ? AND name = ? AND ${LIVING}`, role, name),
    );
  }

  /** Whether this key was let in once, and is not now. */
  wasRevoked(role: MemberRole, key: Uint8Array): boolean {
    if (this.byKey(role, key) !== null) return false;
    return this.#database.get("SELECT id FROM members WHERE role = ? AND key = ?", role, key) !== null;
  }

  /** All of one role, by name. */
  all(role: MemberRole): Member[] {
    const rows = this.#database.all(`SELECT * FROM members WHERE role = ? AND ${LIVING} ORDER BY name`, role);
    return rows.map(toMember);
  }

  /** Lets somebody in; gives the row's id. */
  add(member: Pick<Member, "role" | "name" | "key" | "tags">, nowMs: number): number {
    const { role, name, key, tags } = member;
    const row = this.#database.get(
      "INSERT INTO members (role, name, key, tags, joined_ms) VALUES (?, ?, ?, ?, ?) RETURNING id",
      role,
      name,
      key,
      JSON.stringify(tags),
      nowMs,
    );
    return wholeNumber(row ?? {}, "id");
  }

  /** Shuts somebody out; the row stays. */
  shutOut(role: MemberRole, name: string, nowMs: number): boolean {
    return this.#database.run(
      `UPDATE members SET revoked_ms = ? WHERE role = ? AND name = ? AND ${LIVING}`,
      nowMs,
      role,
      name,
    ) > 0;
  }

  /** Notes that a link stands. */
  up(role: MemberRole, key: Uint8Array, facts: MemberFacts, nowMs: number): void {
    this.#database.run(
      `UPDATE members SET online = 1, since_ms = ?, version = ?, system = ?, pins_generation = ?
       WHERE role = ? AND key = ? AND ${LIVING}`,
      nowMs,
      facts.version,
      facts.system,
      facts.pinsGeneration,
      role,
      key,
    );
  }

  /** Notes that a link is gone. */
  down(role: MemberRole, key: Uint8Array, nowMs: number): void {
    this.#database.run(
      `UPDATE members SET online = 0, since_ms = ? WHERE role = ? AND key = ? AND online = 1 AND ${LIVING}`,
      nowMs,
      role,
      key,
    );
  }

  /** Notes that no link stands. */
  allDown(nowMs: number): void {
    this.#database.run("UPDATE members SET online = 0, since_ms = ? WHERE online = 1", nowMs);
  }

  /** Notes which pins are stored at the other side. */
  pinned(role: MemberRole, key: Uint8Array, generation: number): void {
    this.#database.run(
      `UPDATE members SET pins_generation = ? WHERE role = ? AND key = ? AND ${LIVING}`,
      generation,
      role,
      key,
    );
  }

  /** Those that have not stored the pins of this generation. */
  behind(generation: number): Member[] {
    const rows = this.#database.all(
      `SELECT * FROM members WHERE pins_generation <> ? AND ${LIVING} ORDER BY role DESC, name`,
      generation,
    );
    return rows.map(toMember);
  }
}

/** A name as it was typed, for errors; a token that was typed in its place is not repeated. */
export function quoteName(text: string): string {
  const isToken = text.includes(TOKEN_START) || text.length > MAX_NAME_BYTES;
  return isToken ? `a text of ${text.length} characters` : quoteVisibly(text);
}

/** Reads a list of texts that was stored as JSON. */
export function textList(text: string): string[] {
  const value: unknown = JSON.parse(text);
  return Array.isArray(value) ? value.filter((each) => typeof each === "string") : [];
}

function memberOf(row: Row | null): Member | null {
  return row === null ? null : toMember(row);
}

function toMember(row: Row): Member {
  return {
    role: textOf(row, "role") === "host" ? "host" : "administrator",
    name: textOf(row, "name"),
    key: bytesOf(row, "key"),
    tags: textList(textOf(row, "tags")),
    joinedMs: wholeNumber(row, "joined_ms"),
    online: wholeNumber(row, "online") === 1,
    sinceMs: optionalNumber(row, "since_ms"),
    version: optionalText(row, "version"),
    system: optionalText(row, "system"),
    pinsGeneration: wholeNumber(row, "pins_generation"),
  };
}

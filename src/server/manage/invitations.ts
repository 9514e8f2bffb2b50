/**
 * Invitations: a name, and the hash of a secret. The first public key that shows the secret in a proven handshake becomes
 * the member of that name; the same key may show it again until it expires, since the answer may have been lost on the
 * way; every other key is refused, and that is a row of the audit: somebody has a token that was not meant for him, or
 * the one who was meant comes too late.
 *
 * Name and tags come from here, never from the joiner. A name that is taken keeps its old key until the new token is used:
 * an invitation that nobody uses must not lock a living host out.
 */
import type { ResetCode } from "../../protocol/manage/reset_code.ts";
import { fingerprint, isSameBytes } from "../../protocol/manage/signing_key.ts";
import { Failure } from "../../system/failure.ts";
import type { Audit } from "./audit.ts";
import {
  bytesOf,
  type Database,
  optionalNumber,
  optionalText,
  type Row,
  textOf,
  wholeNumber,
} from "./database.ts";
import { type MemberRole, type Members, textList } from "./members.ts";

/** An invitation that can still be used. */
export interface Invite {
  readonly role: MemberRole;
  readonly name: string;
  /** Null: those that the host of this name has at the moment it is replaced. */
  readonly tags: readonly string[] | null;
  /** Takes the place of the member of this name. */
  readonly replaces: boolean;
  readonly createdMs: number;
  /** That moment itself is too late. */
  readonly expiresMs: number;
  /** Whether a key has used it; it may repeat that. */
  readonly used: boolean;
}

/** A new invitation. */
export interface NewInvite extends Pick<Invite, "role" | "name" | "tags" | "replaces" | "expiresMs"> {
  /** 32 bytes, see join_token.ts. */
  readonly secretHash: Uint8Array;
}

/** A token as it was shown. */
export interface ShownToken {
  readonly secretHash: Uint8Array;
  readonly role: MemberRole;
  /** 32 bytes, proven. */
  readonly key: Uint8Array;
  /** Where from, for the audit. */
  readonly address: string;
}

/** Who the joiner is from now on, or why not. */
export type Bound =
  | { readonly role: MemberRole; readonly name: string; readonly tags: readonly string[] }
  | { readonly refused: ResetCode; readonly text: string };

/** A clock that is corrected goes back by no more. */
const MAX_SET_BACK_MS = 600_000;

/** The table of invitations. */
export class Invitations {
  readonly #database: Database;
  readonly #members: Members;
  readonly #audit: Audit;

  /** Of an open database. */
  constructor(database: Database, members: Members, audit: Audit) {
    this.#database = database;
    this.#members = members;
    this.#audit = audit;
  }

  /** Those that nobody has used and that are still good, and those that were used and may be repeated; by name. */
  open(nowMs: number): Invite[] {
    const rows = this.#database.all(
      "SELECT * FROM invites WHERE revoked_ms IS NULL AND expires_ms > ? ORDER BY role DESC, name, id",
      nowMs,
    );
    return rows.map(toInvite);
  }

  /**
   * Makes one; earlier ones of the same name that nobody has used are taken back, so that a lost token is worth nothing.
   *
   * @returns how many were taken back
   * @throws {Failure} if the name is taken, and nothing is to be replaced
   */
  create(invite: NewInvite, nowMs: number): number {
    return this.#database.transaction(() => {
      const { role, name, tags, replaces, expiresMs, secretHash } = invite;
      if (!replaces && this.#members.byName(role, name) !== null) throw nameIsTaken(role, name);
      const takenBack = this.#takeBack(role, name, nowMs);
      this.#database.run(
        `INSERT INTO invites (role, name, tags, replaces, secret_hash, created_ms, expires_ms)
         VALUES (?, ?, ?, ?, ?, ?, ?)`,
        role,
        name,
        tags === null ? null : JSON.stringify(tags),
        replaces ? 1 : 0,
        secretHash,
        nowMs,
        expiresMs,
      );
      this.#audit.append("invite_created", { role, name, tags, replaces, expires_ms: expiresMs });
      return takenBack;
    });
  }

  /** Takes back what was not used yet, of either role. Gives how many. */
  revoke(name: string, nowMs: number): number {
    return this.#database.transaction(() => {
      let count = 0;
      for (const role of ["host", "administrator"] as const) {
        const taken = this.#takeBack(role, name, nowMs);
        if (taken > 0) this.#audit.append("revoked", { kind: "invite", role, name, invitations: taken });
        count += taken;
      }
      return count;
    });
  }

  /** Takes back every invitation of a member that is shut out, also one that it has used: it must not come again by it. */
  revokeAll(role: MemberRole, name: string, nowMs: number): void {
    this.#database.run(
      "UPDATE invites SET revoked_ms = ? WHERE role = ? AND name = ? AND revoked_ms IS NULL",
      nowMs,
      role,
      name,
    );
  }

  /** Takes a token from whoever has proven this key, in one transaction. */
  bind(shown: ShownToken, nowMs: number): Bound {
    return this.#database.transaction(() => {
      const row = this.#database.get("SELECT * FROM invites WHERE secret_hash = ?", shown.secretHash);
      // No row of the audit: anybody can make up a token, and would fill the disk with rows.
      if (row === null) return refusal("the token is not known here");
      const problem = this.#problem(row, shown, nowMs);
      if (problem !== null) return this.#refuse(row, shown, problem);
      return row["bound_key"] === null ? this.#bindFirst(row, shown, nowMs) : this.#again(row);
    });
  }

  #problem(row: Row, { role, key }: ShownToken, nowMs: number): string | null {
    const invite = toInvite(row);
    if (invite.role !== role) return `the token is one for ${withArticle(invite.role)}`;
    if (optionalNumber(row, "revoked_ms") !== null) return "the token was revoked";
    if (invite.used && !isSameBytes(bytesOf(row, "bound_key"), key)) {
      return "the token was used by another key";
    }
    if (nowMs >= invite.expiresMs) return "the token has expired";
    // A clock that begins in 1970, or was set back, would make every old token good again.
    if (nowMs < invite.createdMs - MAX_SET_BACK_MS) {
      return "the token is newer than the server's clock, which is wrong";
    }
    if (invite.used) return null;
    const taken = this.#members.byName(role, invite.name);
    if (taken !== null && !invite.replaces) return `the name ${invite.name} is taken`;
    const known = this.#members.byKey(role, key);
    return known !== null && known.name !== invite.name ? `this key has joined as ${known.name}` : null;
  }

  #bindFirst(row: Row, { key, address }: ShownToken, nowMs: number): Bound {
    const { role, name, tags: ownTags } = toInvite(row);
    const replaced = this.#members.byName(role, name);
    const tags = ownTags ?? replaced?.tags ?? [];
    if (replaced !== null) this.#members.shutOut(role, name, nowMs);
    const member = this.#members.add({ role, name, key: new Uint8Array(key), tags }, nowMs);
    this.#database.run(
      "UPDATE invites SET bound_key = ?, member = ? WHERE id = ?",
      key,
      member,
      wholeNumber(row, "id"),
    );
    this.#audit.append("joined", {
      role,
      name,
      tags,
      key: fingerprint(key),
      replaced: replaced === null ? null : fingerprint(replaced.key),
      address,
    });
    return { role, name, tags };
  }

  /** The answer that may have been lost, once more. */
  #again(row: Row): Bound {
    const { role, name } = toInvite(row);
    const member = this.#members.byKey(role, bytesOf(row, "bound_key"));
    return member === null ? refusal(`${name} was revoked`) : { role, name, tags: member.tags };
  }

  #refuse(row: Row, { key, address }: ShownToken, reason: string): Bound {
    const { role, name } = toInvite(row);
    this.#audit.append("join_refused", { role, name, reason, key: fingerprint(key), address });
    return refusal(reason);
  }

  #takeBack(role: MemberRole, name: string, nowMs: number): number {
    return this.#database.run(
      `UPDATE invites SET revoked_ms = ?
       WHERE role = ? AND name = ? AND revoked_ms IS NULL AND bound_key IS NULL AND expires_ms > ?`,
      nowMs,
      role,
      name,
      nowMs,
    );
  }
}

function refusal(reason: string): Bound {
  return { refused: "token", text: `the server refuses: ${reason}` };
}

function nameIsTaken(role: MemberRole, name: string): Failure {
  const word = role === "host" ? "host" : "admin";
  return new Failure(`cannot invite ${word} ${name}: there is one of this name`, {
    hint: "the same line with --replace invites another key to take its place",
  });
}

function withArticle(role: MemberRole): string {
  return role === "host" ? "a host" : "an administrator";
}

function toInvite(row: Row): Invite {
  const tags = optionalText(row, "tags");
  return {
    role: textOf(row, "role") === "host" ? "host" : "administrator",
    name: textOf(row, "name"),
    tags: tags === null ? null : textList(tags),
    replaces: wholeNumber(row, "replaces") === 1,
    createdMs: wholeNumber(row, "created_ms"),
    expiresMs: wholeNumber(row, "expires_ms"),
    used: row["bound_key"] !== null,
  };
}

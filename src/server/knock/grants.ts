/**
 * `[keys.<file stem>]` of config.toml: what one key may do, and until when. Nothing here is lenient: a field
 * that we ignored because of a typo would leave a door open that the operator believes shut.
 */
import { TomlDate } from "smol-toml";
import { commandHash, parseCommandHash } from "../../protocol/knock/command_hash.ts";
import type { CountRange, TomlFields } from "../../system/toml_fields.ts";

export interface KeyGrant {
  /** Hashes of the commands this key may run; null is every command, an empty set is none. */
  readonly allow: ReadonlySet<bigint> | null;
  /** Overrides the file's `max_packet_age_seconds` for this key; 0 is no limit, null is not set. */
  readonly maxPacketAgeSeconds: number | null;
  /** Unix time in ms after which the key is treated as if it did not exist; null is never. */
  readonly notAfterMs: number | null;
  readonly disabled: boolean;
}

/** What a key without a table of its own may do: everything, as in ruroco. */
export const OPEN_GRANT: KeyGrant = {
  allow: null,
  maxPacketAgeSeconds: null,
  notAfterMs: null,
  disabled: false,
};

/** Of a `[keys.<stem>]` table. */
export const GRANT_FIELDS = ["allow", "max_packet_age_seconds", "not_after", "disabled"];
const ALLOW_FORMS = 'a list of command names or hashes, such as ["open_ssh", "#9b93083959d8550a"]';
const NOT_AFTER_FORMS = "a date and time with a zone and without quotes, such as 2027-01-31T18:00:00Z";
/** Up to a century: enough for any wish, far from the limits of the arithmetic in nanoseconds. */
export const SECONDS_RANGE: CountRange = { min: 0, max: 100 * 366 * 24 * 60 * 60 };

/** @throws {Failure} naming file, line and key */
export function readGrants(root: TomlFields): Map<string, KeyGrant> {
  const grants = new Map<string, KeyGrant>();
  const keys = root.table("keys");
  for (const stem of keys?.names() ?? []) {
    const table = keys?.table(stem);
    if (table !== undefined) grants.set(stem, readGrant(table));
  }
  return grants;
}

function readGrant(table: TomlFields): KeyGrant {
  table.requireKnown(GRANT_FIELDS);
  return {
    allow: readAllow(table),
    maxPacketAgeSeconds: table.count("max_packet_age_seconds", SECONDS_RANGE) ?? null,
    notAfterMs: readNotAfter(table),
    disabled: table.flag("disabled") ?? false,
  };
}

/** @throws {Failure} naming file, line and key */
export function readAllow(table: TomlFields): Set<bigint> | null {
  const names = table.texts("allow", ALLOW_FORMS);
  if (names === undefined) return null;
  return new Set(names.map((name) => name.startsWith("#") ? readHash(table, name) : commandHash(name)));
}

function readHash(table: TomlFields, text: string): bigint {
  try {
    return parseCommandHash(text);
  } catch {
    return table.refuseElement("allow", text, "# and 16 hexadecimal digits");
  }
}

/** @throws {Failure} naming file, line and key */
export function readNotAfter(table: TomlFields): number | null {
  const value = table.value("not_after");
  if (value === undefined) return null;
  if (!(value instanceof TomlDate)) return table.refuse("not_after", NOT_AFTER_FORMS);
  // A local time would mean another moment on a server in another zone, so it is refused, not guessed.
  if (value.isLocal() || Number.isNaN(value.getTime())) {
    return table.fail(
      "not_after",
      `found ${value.toISOString()} without a zone, accepted is ${NOT_AFTER_FORMS}`,
    );
  }
  return value.getTime();
}

/** Whether a key with this grant is good at this moment; `not_after` itself is still good. */
export function isInForce(grant: KeyGrant, nowMs: number): boolean {
  return !grant.disabled && (grant.notAfterMs === null || nowMs <= grant.notAfterMs);
}

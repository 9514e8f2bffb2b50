/**
 * What a config.toml takes from keys, read leniently in one direction only: so that it is taken also when the file
 * is refused for something else. An operator who disables a stolen key and makes a typo elsewhere must still be rid
 * of it, and what cannot be understood counts as taken away.
 *
 * A file that is no TOML at all takes nothing: what it was to say cannot be told. The keys then stay as they were, the
 * failed reload is in the log and in the status file, and removing the key's file takes the key away all the same.
 * Nor does a field of an unknown name take anything.
 */
import { Failure } from "../../system/failure.ts";
import { TomlFields } from "../../system/toml_fields.ts";
import type { TomlSource } from "../../system/toml_file.ts";
import { readAllow, readNotAfter } from "./grants.ts";
import type { JudgeKey } from "./judge.ts";

/** The most that a key may do by its table; null is no limit. */
export interface Restriction {
  readonly allow: ReadonlySet<bigint> | null;
  readonly notAfterMs: number | null;
}

/** By file stem; `revoked` is a key that must go. A stem that is not in here has no table. */
export function readRestrictions(source: TomlSource): Map<string, Restriction | "revoked"> {
  const restrictions = new Map<string, Restriction | "revoked">();
  const keys = attempt(() => new TomlFields(source).table("keys"), undefined);
  for (const stem of keys?.names() ?? []) {
    const table = attempt(() => keys?.table(stem), undefined);
    restrictions.set(stem, table === undefined ? "revoked" : readRestriction(table));
  }
  return restrictions;
}

function readRestriction(table: TomlFields): Restriction | "revoked" {
  const notAfterMs = attempt(() => readNotAfter(table), "unreadable");
  const isDisabled = attempt(() => table.flag("disabled") ?? false, true);
  if (isDisabled || notAfterMs === "unreadable") return "revoked";
  return { allow: attempt(() => readAllow(table), new Set<bigint>()), notAfterMs };
}

function attempt<T, U>(read: () => T, instead: U): T | U {
  try {
    return read();
  } catch (error) {
    if (error instanceof Failure) return instead;
    throw error;
  }
}

/** The key with no more than the restriction leaves it; the very same object if that is all it has. */
export function restrict(key: JudgeKey, restriction: Restriction): JudgeKey {
  const allow = intersection(key.allow, restriction.allow);
  const notAfterMs = earlier(key.notAfterMs, restriction.notAfterMs);
  const isNarrower = allow?.size !== key.allow?.size || notAfterMs !== key.notAfterMs;
  return isNarrower ? { ...key, allow, notAfterMs } : key;
}

function intersection(
  a: ReadonlySet<bigint> | null,
  b: ReadonlySet<bigint> | null,
): ReadonlySet<bigint> | null {
  if (a === null || b === null) return a ?? b;
  return new Set([...a].filter((hash) => b.has(hash)));
}

function earlier(a: number | null, b: number | null): number | null {
  return a === null || b === null ? a ?? b : Math.min(a, b);
}

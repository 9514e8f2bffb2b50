/** What one entry of commands.toml says, and how it is checked. Messages name commands and fields, never contents. */
import { commandHash, formatCommandHash } from "../../protocol/knock/command_hash.ts";
import { suggest } from "../../system/suggest.ts";
import { configFailure, formatKeyPath, type TomlSource } from "../../system/toml_file.ts";
import { Fields, isTable, typeName } from "./fields.ts";

/** How a command that opens something closes it again. */
export interface LeaseTerms {
  /** Shell text; may run more than once for one start, so it must be idempotent. */
  readonly undo: string;
  readonly undoAfterMs: number;
  /** What a knock does while the lease is held: only move its date, or also run the command again. */
  readonly onRenew: "keep" | "run";
}

/** One command as configured. */
export interface CommandSpec {
  readonly name: string;
  /** u64 of `commandHash(name)`: all the commander is told. */
  readonly hash: bigint;
  /** Shell text. */
  readonly cmd: string;
  readonly timeoutMs: number;
  /** 0: none. */
  readonly cooldownMs: number;
  /** How many may run at once. */
  readonly concurrency: number;
  /** null: nothing to undo. */
  readonly lease: LeaseTerms | null;
}

const FIELDS = [
  "cmd",
  "timeout_sec",
  "undo",
  "undo_after_sec",
  "on_renew",
  "cooldown_sec",
  "concurrency",
] as const;
const DEFAULT_TIMEOUT_SEC = 30;
// Longest delay of a timer (2^31 - 1 ms), rounded down.
const MAX_TIMEOUT_SEC = 2_000_000;
const MAX_UNDO_AFTER_SEC = 10 * 366 * 86_400;
const MAX_CONCURRENCY = 64;
const MS_PER_SEC = 1000;

/**
 * Parses the content of a commands file.
 *
 * @throws {Failure} naming file, line, command and field
 */
export function parseCommands(
  source: TomlSource,
  hash: (name: string) => bigint = commandHash,
): CommandSpec[] {
  const top = new Fields(source, [], source.table);
  for (const name of top.names()) {
    if (name !== "commands") top.fail(name, "found an unknown table or key, accepted is the table commands");
  }
  const table = source.table["commands"];
  if (!isTable(table)) {
    return top.fail("commands", `found ${typeName(table)}, accepted is a table of commands`);
  }
  const byHash = new Map<bigint, CommandSpec>();
  for (const [name, value] of Object.entries(table)) {
    const spec = parseCommand(source, name, value, hash(name));
    const twin = byHash.get(spec.hash);
    if (twin !== undefined) {
      throw configFailure(
        source,
        ["commands", name],
        `found the hash #${formatCommandHash(spec.hash)} that command ${
          formatKeyPath([twin.name])
        } has too, ` +
          "accepted is another name for one of them",
      );
    }
    byHash.set(spec.hash, spec);
  }
  return [...byHash.values()];
}

function parseCommand(source: TomlSource, name: string, value: unknown, hash: bigint): CommandSpec {
  const path = ["commands", name];
  if (name === "") throw configFailure(source, path, "found an empty name, accepted is any other text");
  if (typeof value === "string") {
    const fields = new Fields(source, path, { cmd: value });
    return { name, hash, cmd: shellText(fields, "cmd"), ...limits(fields), lease: null };
  }
  if (!isTable(value)) {
    throw configFailure(source, path, `found ${typeName(value)}, accepted is shell text or a table with cmd`);
  }
  const fields = new Fields(source, path, value);
  for (const field of fields.names()) {
    if (FIELDS.some((known) => known === field)) continue;
    const meant = suggest(field, FIELDS);
    fields.fail(
      field,
      `found an unknown field, accepted are ${FIELDS.join(", ")}` +
        (meant === undefined ? "" : `; did you mean ${meant}?`),
    );
  }
  return { name, hash, cmd: shellText(fields, "cmd"), ...limits(fields), lease: parseLease(fields) };
}

function limits(fields: Fields): Pick<CommandSpec, "timeoutMs" | "cooldownMs" | "concurrency"> {
  return {
    timeoutMs: (fields.count("timeout_sec", 1, MAX_TIMEOUT_SEC) ?? DEFAULT_TIMEOUT_SEC) * MS_PER_SEC,
    cooldownMs: (fields.count("cooldown_sec", 0, MAX_TIMEOUT_SEC) ?? 0) * MS_PER_SEC,
    concurrency: fields.count("concurrency", 1, MAX_CONCURRENCY) ?? 1,
  };
}

function parseLease(fields: Fields): LeaseTerms | null {
  if (!fields.has("undo")) {
    for (const field of ["undo_after_sec", "on_renew"]) {
      if (fields.has(field)) fields.fail(field, "found it without undo, accepted is it together with undo");
    }
    return null;
  }
  const undo = shellText(fields, "undo");
  const undoAfterSec = fields.count("undo_after_sec", 1, MAX_UNDO_AFTER_SEC) ??
    fields.fail(
      "undo_after_sec",
      "found nothing, accepted beside undo is the number of seconds until it runs",
    );
  const onRenew = fields.text("on_renew") ?? "keep";
  if (onRenew !== "keep" && onRenew !== "run") {
    return fields.fail("on_renew", 'found other text, accepted is "keep" or "run"');
  }
  return { undo, undoAfterMs: undoAfterSec * MS_PER_SEC, onRenew };
}

function shellText(fields: Fields, name: string): string {
  const text = fields.text(name) ?? "";
  if (text.trim() === "") fields.fail(name, "found nothing, accepted is shell text");
  return text;
}

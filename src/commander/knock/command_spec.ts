/** What one entry of commands.toml says, and how it is checked. Messages name commands and fields, never contents. */
import { commandHash, formatCommandHash } from "../../protocol/knock/command_hash.ts";
import { type CountRange, TomlFields } from "../../system/toml_fields.ts";
import { formatKeyPath, type TomlSource } from "../../system/toml_file.ts";

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

/** Of a command that is a table. */
export const COMMAND_FIELDS = [
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
const TIMEOUT_SEC_RANGE: CountRange = { min: 1, max: MAX_TIMEOUT_SEC };
const COOLDOWN_SEC_RANGE: CountRange = { min: 0, max: MAX_TIMEOUT_SEC };
const UNDO_AFTER_SEC_RANGE: CountRange = { min: 1, max: 10 * 366 * 86_400 };
const CONCURRENCY_RANGE: CountRange = { min: 1, max: 64 };
const MS_PER_SEC = 1000;

/**
 * Parses the content of a commands file.
 *
 * @param source a secret one, so that no message quotes it
 * @throws {Failure} naming file, line, command and field
 */
export function parseCommands(
  source: TomlSource,
  hash: (name: string) => bigint = commandHash,
): CommandSpec[] {
  const top = new TomlFields(source);
  for (const name of top.names()) {
    if (name !== "commands") top.fail(name, "found an unknown table or key, accepted is the table commands");
  }
  const commands = requireTable(top, "commands", "a table of commands");
  const byHash = new Map<bigint, CommandSpec>();
  for (const name of commands.names()) {
    const spec = parseCommand(source, commands, name, hash(name));
    const twin = byHash.get(spec.hash);
    if (twin !== undefined) {
      const found = `#${formatCommandHash(spec.hash)} that command ${formatKeyPath([twin.name])} has too`;
      commands.fail(name, `found the hash ${found}, accepted is another name for one of them`);
    }
    byHash.set(spec.hash, spec);
  }
  return [...byHash.values()];
}

function parseCommand(source: TomlSource, commands: TomlFields, name: string, hash: bigint): CommandSpec {
  if (name === "") commands.fail(name, "found an empty name, accepted is any other text");
  const value = commands.value(name);
  const fields = typeof value === "string"
    ? new TomlFields(source, ["commands", name], { cmd: value })
    : requireTable(commands, name, "shell text or a table with cmd");
  fields.requireKnown(COMMAND_FIELDS);
  return { name, hash, cmd: shellText(fields, "cmd"), ...limits(fields), lease: parseLease(fields) };
}

function requireTable(fields: TomlFields, name: string, accepted: string): TomlFields {
  return fields.table(name, accepted) ?? fields.refuse(name, accepted);
}

function limits(fields: TomlFields): Pick<CommandSpec, "timeoutMs" | "cooldownMs" | "concurrency"> {
  return {
    timeoutMs: (fields.count("timeout_sec", TIMEOUT_SEC_RANGE) ?? DEFAULT_TIMEOUT_SEC) * MS_PER_SEC,
    cooldownMs: (fields.count("cooldown_sec", COOLDOWN_SEC_RANGE) ?? 0) * MS_PER_SEC,
    concurrency: fields.count("concurrency", CONCURRENCY_RANGE) ?? 1,
  };
}

function parseLease(fields: TomlFields): LeaseTerms | null {
  if (!fields.has("undo")) {
    for (const field of ["undo_after_sec", "on_renew"]) {
      if (fields.has(field)) fields.fail(field, "found it without undo, accepted is it together with undo");
    }
    return null;
  }
  const undo = shellText(fields, "undo");
  const undoAfterSec = fields.count("undo_after_sec", UNDO_AFTER_SEC_RANGE) ??
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

function shellText(fields: TomlFields, name: string): string {
  const text = fields.text(name) ?? "";
  if (text.trim() === "") fields.fail(name, "found nothing, accepted is shell text");
  return text;
}

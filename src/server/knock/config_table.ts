/** Reads one TOML table field by field; every problem names file, line, key, what was found, what is accepted. */
import { configFailure } from "../../system/toml_file.ts";
import type { TomlSource } from "../../system/toml_file.ts";

const SHOWN_CHARS = 60;

/** What stands in the file, short enough for one line. Never called for values that could be secret. */
export function describeFound(value: unknown): string {
  if (value === undefined) return "nothing";
  if (typeof value === "string") {
    return JSON.stringify(value.length > SHOWN_CHARS ? `${value.slice(0, SHOWN_CHARS)}...` : value);
  }
  if (typeof value === "number" || typeof value === "bigint" || typeof value === "boolean") {
    return String(value);
  }
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (value instanceof Date) return "a date";
  return "a table";
}

export interface CountRange {
  readonly min: number;
  readonly max: number;
}

export class ConfigTable {
  readonly #source: TomlSource;
  readonly #path: readonly string[];
  readonly #fields: Record<string, unknown>;

  constructor(
    source: TomlSource,
    path: readonly string[] = [],
    fields: Record<string, unknown> = source.table,
  ) {
    this.#source = source;
    this.#path = path;
    this.#fields = fields;
  }

  names(): string[] {
    return Object.keys(this.#fields);
  }

  /** The raw value, or undefined if the table has no such field of its own. */
  value(name: string): unknown {
    return Object.hasOwn(this.#fields, name) ? this.#fields[name] : undefined;
  }

  /** @throws {Failure} always, naming file, line and the field */
  fail(name: string, problem: string): never {
    throw configFailure(this.#source, [...this.#path, name], problem);
  }

  #refuse(name: string, accepted: string): never {
    return this.fail(name, `found ${describeFound(this.value(name))}, accepted ${accepted}`);
  }

  text(name: string, accepted: string): string | undefined {
    const value = this.value(name);
    if (value === undefined || typeof value === "string") return value;
    return this.#refuse(name, accepted);
  }

  /** An absent list is undefined; each element must be a string. */
  texts(name: string, accepted: string): string[] | undefined {
    const value = this.value(name);
    if (value === undefined) return undefined;
    if (!Array.isArray(value)) return this.#refuse(name, accepted);
    return value.map((element: unknown) => {
      if (typeof element === "string") return element;
      return this.fail(name, `found ${describeFound(element)} in the list, accepted ${accepted}`);
    });
  }

  /** A whole number, written with or without digits' underscores, within the range. */
  count(name: string, range: CountRange): number | undefined {
    const value = this.value(name);
    if (value === undefined) return undefined;
    const count = typeof value === "bigint" ? Number(value) : value;
    if (
      typeof count === "number" && Number.isSafeInteger(count) && count >= range.min && count <= range.max
    ) {
      return count;
    }
    return this.#refuse(name, `a whole number from ${range.min} to ${range.max}`);
  }

  flag(name: string): boolean | undefined {
    const value = this.value(name);
    if (value === undefined || typeof value === "boolean") return value;
    return this.#refuse(name, "true or false");
  }

  table(name: string): ConfigTable | undefined {
    const value = this.value(name);
    if (value === undefined) return undefined;
    if (typeof value !== "object" || value === null || Array.isArray(value) || value instanceof Date) {
      return this.#refuse(name, "a table");
    }
    return new ConfigTable(this.#source, [...this.#path, name], value as Record<string, unknown>);
  }
}

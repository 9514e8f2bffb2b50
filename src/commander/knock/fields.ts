/** Reads the fields of one TOML table. Problems name the type of what was found, never the text: it may be secret. */
import { configFailure, type TomlSource } from "../../system/toml_file.ts";

export class Fields {
  readonly #source: TomlSource;
  readonly #path: readonly string[];
  readonly #table: Record<string, unknown>;

  constructor(source: TomlSource, path: readonly string[], table: Record<string, unknown>) {
    this.#source = source;
    this.#path = path;
    this.#table = table;
  }

  names(): string[] {
    return Object.keys(this.#table);
  }

  has(name: string): boolean {
    return Object.hasOwn(this.#table, name);
  }

  /** @throws {Failure} always, naming file, line and the field; `problem` reads "found ..., accepted ..." */
  fail(name: string, problem: string): never {
    throw configFailure(this.#source, [...this.#path, name], problem);
  }

  /** A string without NUL, which no path and no argument of a program can hold. */
  text(name: string): string | undefined {
    if (!this.has(name)) return undefined;
    const value = this.#table[name];
    if (typeof value !== "string") return this.fail(name, `found ${typeName(value)}, accepted is text`);
    if (value.includes("\0")) return this.fail(name, "found text with a NUL, accepted is text without");
    return value;
  }

  /** A whole number from `min` to `max`. */
  count(name: string, min: number, max: number): number | undefined {
    if (!this.has(name)) return undefined;
    const value = this.#table[name];
    if (typeof value === "number" && Number.isInteger(value) && value >= min && value <= max) return value;
    const found = typeof value === "number" ? String(value) : typeName(value);
    return this.fail(name, `found ${found}, accepted is a whole number from ${min} to ${max}`);
  }

  flag(name: string): boolean | undefined {
    if (!this.has(name)) return undefined;
    const value = this.#table[name];
    if (typeof value === "boolean") return value;
    return this.fail(name, `found ${typeName(value)}, accepted is true or false`);
  }
}

/** The type of a TOML value in an operator's words. */
export function typeName(value: unknown): string {
  if (value === undefined) return "nothing";
  if (typeof value === "string") return value === "" ? "empty text" : "text";
  if (typeof value === "number" || typeof value === "bigint") return "a number";
  if (typeof value === "boolean") return "true or false";
  if (Array.isArray(value)) return "a list";
  if (value instanceof Date) return "a date";
  return "a table";
}

/** True for a TOML table, inline or not. */
export function isTable(value: unknown): value is Record<string, unknown> {
  return typeName(value) === "a table";
}

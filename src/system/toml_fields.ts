/** Reads one TOML table field by field; every problem names file, line, key, what was found, what is accepted. */
import { didYouMean } from "./suggest.ts";
import { configFailure, type TomlSource } from "./toml_file.ts";
import { quoteVisibly } from "./visible_text.ts";

/** Longest text that is quoted whole. */
const SHOWN_CHARS = 60;

/** Both ends are accepted. */
export interface CountRange {
  readonly min: number;
  readonly max: number;
}

/**
 * The fields of one table. An absent field is undefined, one of another type a `Failure`. What was found is quoted,
 * unless the source is secret: then only its type is named.
 */
export class TomlFields {
  readonly #source: TomlSource;
  readonly #path: readonly string[];
  readonly #fields: Readonly<Record<string, unknown>>;

  /**
   * @param path where the table stands; the top of the file when not given
   * @param fields the table's content
   */
  constructor(
    source: TomlSource,
    path: readonly string[] = [],
    fields: Readonly<Record<string, unknown>> = source.table,
  ) {
    this.#source = source;
    this.#path = path;
    this.#fields = fields;
  }

  names(): string[] {
    return Object.keys(this.#fields);
  }

  has(name: string): boolean {
    return Object.hasOwn(this.#fields, name);
  }

  /** The raw value. */
  value(name: string): unknown {
    return this.has(name) ? this.#fields[name] : undefined;
  }

  /** @throws {Failure} always, naming file, line and the field; `problem` reads "found ..., accepted is ..." */
  fail(name: string, problem: string): never {
    throw configFailure(this.#source, [...this.#path, name], problem);
  }

  /**
   * Refuses the value of a field.
   *
   * @param accepted in words, such as "a path"
   * @throws {Failure} always
   */
  refuse(name: string, accepted: string): never {
    return this.fail(name, `found ${this.#describe(this.value(name))}, accepted is ${accepted}`);
  }

  /** Refuses one element of a list, as `refuse` does a whole value. */
  refuseElement(name: string, element: unknown, accepted: string): never {
    return this.fail(name, `found ${this.#describe(element)} in the list, accepted is ${accepted}`);
  }

  /** Refuses every field that is not known, with what was probably meant. */
  requireKnown(known: readonly string[]): void {
    for (const name of this.names()) {
      if (known.includes(name)) continue;
      this.fail(name, `found an unknown field, accepted are ${known.join(", ")}${didYouMean(name, known)}`);
    }
  }

  /** A string without NUL, which no path and no argument of a program can hold. */
  text(name: string, accepted = "text"): string | undefined {
    const value = this.value(name);
    if (value === undefined) return undefined;
    if (typeof value !== "string") return this.refuse(name, accepted);
    if (value.includes("\0")) return this.fail(name, "found text with a NUL, accepted is text without");
    return value;
  }

  /** A list of strings. They may hold a NUL, as names of commands may. */
  texts(name: string, accepted: string): string[] | undefined {
    const value = this.value(name);
    if (value === undefined) return undefined;
    if (!Array.isArray(value)) return this.refuse(name, accepted);
    return value.map((element: unknown) =>
      typeof element === "string" ? element : this.refuseElement(name, element, accepted)
    );
  }

  /** A whole number within the range. */
  count(name: string, range: CountRange): number | undefined {
    const value = this.value(name);
    if (value === undefined) return undefined;
    const isCount = typeof value === "number" && Number.isSafeInteger(value) &&
      value >= range.min && value <= range.max;
    return isCount ? value : this.refuse(name, `a whole number from ${range.min} to ${range.max}`);
  }

  flag(name: string): boolean | undefined {
    const value = this.value(name);
    if (value === undefined || typeof value === "boolean") return value;
    return this.refuse(name, "true or false");
  }

  table(name: string, accepted = "a table"): TomlFields | undefined {
    const value = this.value(name);
    if (value === undefined) return undefined;
    if (!isTable(value)) return this.refuse(name, accepted);
    return new TomlFields(this.#source, [...this.#path, name], value);
  }

  #describe(value: unknown): string {
    return this.#source.isSecret ? typeName(value) : quoteShort(value);
  }
}

/** What stands in the file, short enough for one line. */
function quoteShort(value: unknown): string {
  if (typeof value === "string") {
    return quoteVisibly(value.length > SHOWN_CHARS ? `${value.slice(0, SHOWN_CHARS)}...` : value);
  }
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  return Array.isArray(value) ? `a list of ${value.length}` : typeName(value);
}

/** The type of a TOML value in an operator's words. */
function typeName(value: unknown): string {
  if (value === undefined) return "nothing";
  if (typeof value === "string") return value === "" ? "empty text" : "text";
  if (typeof value === "number") return "a number";
  if (typeof value === "boolean") return "true or false";
  if (Array.isArray(value)) return "a list";
  return value instanceof Date ? "a date" : "a table";
}

function isTable(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Date);
}

import { parse, TomlError } from "smol-toml";
import { Failure } from "./failure.ts";
import { scanKeyLines } from "./toml_lines.ts";
import { quoteVisibly } from "./visible_text.ts";

/** A TOML file that was read and parsed, with what an error message about it needs. */
export interface TomlSource {
  readonly path: string;
  readonly text: string;
  /** True when no message may quote a value of it. */
  readonly isSecret: boolean;
  /** The document; tables are objects without a prototype. */
  readonly table: Record<string, unknown>;
  /** The line (from 1) on which a key or table stands; undefined when unsure. */
  lineOf(keyPath: readonly string[]): number | undefined;
}

/** Reasons of smol-toml that an operator meets, in our words: its own message quotes lines of the file. */
const PARSE_REASONS: ReadonlyMap<string, string> = new Map([
  ["trying to redefine an already defined table or value", "this key or table was already given above"],
  ["invalid value", "this is no TOML value; text needs quotes"],
  ["control characters are not allowed in strings", "a string is not closed on its line"],
  ["integer value cannot be represented losslessly", "this number is too large"],
  ["each key-value declaration must be followed by an end-of-line", "something follows the value"],
  ["unrecognised escape sequence", "unknown escape; single quotes take backslashes as they are"],
]);

/**
 * Reads and parses a TOML file. No error ever quotes the content of the file; with `secret` it gives line and column
 * alone, otherwise the kind of mistake as well.
 *
 * @throws {Failure} naming `path` when it cannot be read, is not UTF-8 or not TOML
 */
export async function readTomlFile(path: string, options: { secret?: boolean } = {}): Promise<TomlSource> {
  return parseTomlBytes(path, await readBytes(path), options);
}

/** `readTomlFile` for a file that was already read. */
export function parseTomlBytes(
  path: string,
  bytes: Uint8Array,
  options: { secret?: boolean } = {},
): TomlSource {
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new Failure(`could not read ${path}: found bytes that are not UTF-8, accepted is TOML in UTF-8`);
  }
  return parseTomlSource(path, text, options);
}

/** The same for its text. */
export function parseTomlSource(path: string, text: string, options: { secret?: boolean } = {}): TomlSource {
  const isSecret = options.secret === true;
  let table: Record<string, unknown>;
  try {
    table = parse(text);
  } catch (error) {
    // Deliberately without `cause`: the parser's message quotes the lines around the mistake.
    throw parseFailure(path, error, isSecret);
  }
  let lines: Map<string, number> | undefined;
  return {
    path,
    text,
    isSecret,
    table,
    lineOf(keyPath: readonly string[]): number | undefined {
      lines ??= scanKeyLines(text);
      return lines.get(JSON.stringify(keyPath));
    },
  };
}

/**
 * A failure about one key: `FILE:LINE: key: problem`, where `problem` reads "found ..., accepted is ...". When the
 * key itself has no line, that of the table around it is given.
 */
export function configFailure(source: TomlSource, keyPath: readonly string[], problem: string): Failure {
  return new Failure(`${keyLocation(source, keyPath)}: ${formatKeyPath(keyPath)}: ${problem}`);
}

/** `FILE:LINE` of a key, or of the innermost table around it whose line is known, or `FILE`. */
export function keyLocation(source: TomlSource, keyPath: readonly string[]): string {
  for (let depth = keyPath.length; depth > 0; depth--) {
    const line = source.lineOf(keyPath.slice(0, depth));
    if (line !== undefined) return `${source.path}:${line}`;
  }
  return source.path;
}

/** A key path as it would be written in TOML: dotted, parts quoted where they must be. */
export function formatKeyPath(keyPath: readonly string[]): string {
  return keyPath.map((part) => /^[A-Za-z0-9_-]+$/.test(part) ? part : quoteVisibly(part)).join(".");
}

async function readBytes(path: string): Promise<Uint8Array> {
  try {
    return await Deno.readFile(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) {
      throw new Failure(`could not read ${path}: there is no such file`, {
        cause: error,
        hint: "postern client setup makes one; or name another with --config",
      });
    }
    throw new Failure(`could not read ${path}`, {
      cause: error,
      hint: error instanceof Deno.errors.PermissionDenied
        ? `chmod a+r ${path}; server and commander both read it`
        : undefined,
    });
  }
}

function parseFailure(path: string, error: unknown, secret: boolean): Failure {
  if (!(error instanceof TomlError)) return new Failure(`could not read ${path}: found no valid TOML`);
  const place = `${path}:${error.line}:${error.column}`;
  if (secret) return new Failure(`${place}: found no valid TOML`);
  const firstLine = error.message.split("\n", 1)[0] ?? "";
  const reason = PARSE_REASONS.get(firstLine.replace("Invalid TOML document: ", ""));
  return new Failure(`${place}: found no valid TOML${reason === undefined ? "" : ` (${reason})`}`);
}

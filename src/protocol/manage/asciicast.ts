/**
 * Recordings of terminals in asciicast v2 (https://docs.asciinema.org/manual/asciicast/v2/): a line of JSON that is the
 * header, then a line for each event.
 *
 * ```
 * {"version":2,"width":80,"height":24,"timestamp":1763712600,"env":{"TERM":"xterm-256color"}}
 * [0.012345,"o","$ "]
 * [4.5,"r","132x40"]
 * ```
 *
 * Only what was shown is recorded, never what was typed: that holds passwords.
 */

/** The first line. */
export interface AsciicastHeader {
  /** Characters in a line, 1 to 65,535. */
  readonly width: number;
  /** Lines, 1 to 65,535. */
  readonly height: number;
  /** Seconds since 1970 when it began; null where that is not told. */
  readonly timestamp: number | null;
  /** Of the whole; null where it is not told. */
  readonly title: string | null;
  /** Value of TERM; null where it is not told. */
  readonly term: string | null;
}

/** A further line. */
export type AsciicastEvent =
  | { readonly kind: "output"; readonly atMs: number; readonly text: string }
  | { readonly kind: "resize"; readonly atMs: number; readonly rows: number; readonly columns: number }
  /** One that is not shown: what was typed, a marker, or of a later version. */
  | { readonly kind: "other"; readonly atMs: number };

const MAX_SIZE = 0xffff;
const MS_PER_SECOND = 1000, US_PER_MS = 1000;

/**
 * Writes the lines of a recording. Output may be cut anywhere, also inside of a character: what is not whole yet waits
 * for its rest.
 */
export class AsciicastEncoder {
  // `ignoreBOM` keeps a byte order mark as what it is, a part of the output.
  readonly #decoder = new TextDecoder("utf-8", { ignoreBOM: true });

  /** The first line, with its newline. */
  header({ width, height, timestamp, title, term }: AsciicastHeader): string {
    const line = {
      version: 2,
      width,
      height,
      ...(timestamp === null ? {} : { timestamp: Math.floor(timestamp) }),
      ...(title === null ? {} : { title }),
      ...(term === null ? {} : { env: { TERM: term } }),
    };
    return `${JSON.stringify(line)}\n`;
  }

  /**
   * One event of output; empty text where no character is whole yet. Bytes that are no UTF-8 become U+FFFD.
   *
   * @param atMs milliseconds since the beginning
   */
  output(bytes: Uint8Array, atMs: number): string {
    return eventLine(atMs, "o", this.#decoder.decode(bytes, { stream: true }));
  }

  /** The window has another size. */
  resize(rows: number, columns: number, atMs: number): string {
    return eventLine(atMs, "r", `${columns}x${rows}`);
  }

  /** What still waits for its rest, at the end of the recording; mostly empty. */
  end(atMs: number): string {
    return eventLine(atMs, "o", this.#decoder.decode());
  }
}

function eventLine(atMs: number, code: string, data: string): string {
  if (data === "") {
    return "";
  }
  const seconds = Math.round(Math.max(0, atMs) * US_PER_MS) / (MS_PER_SECOND * US_PER_MS);
  return `${JSON.stringify([seconds, code, data])}\n`;
}

/**
 * Reads the first line.
 *
 * @throws {TypeError} saying what is wrong with it, without quoting it
 */
export function parseAsciicastHeader(line: string): AsciicastHeader {
  const header = parsed(line);
  if (header === null || typeof header !== "object" || Array.isArray(header)) {
    throw new TypeError("its first line is no header of asciicast");
  }
  const { version, width, height, timestamp, title, env } = header as Record<string, unknown>;
  if (version !== 2) {
    throw new TypeError("its first line is no header of asciicast version 2");
  }
  if (!isSize(width) || !isSize(height)) {
    throw new TypeError(`its header has no width and height of 1 to ${MAX_SIZE}`);
  }
  const term = env !== null && typeof env === "object" ? (env as Record<string, unknown>)["TERM"] : undefined;
  return {
    width,
    height,
    timestamp: typeof timestamp === "number" && Number.isFinite(timestamp) ? timestamp : null,
    title: typeof title === "string" ? title : null,
    term: typeof term === "string" ? term : null,
  };
}

/**
 * Reads a further line.
 *
 * @throws {TypeError} saying what is wrong with it, without quoting it
 */
export function parseAsciicastEvent(line: string): AsciicastEvent {
  const event = parsed(line);
  const [seconds, code, data, ...more] = Array.isArray(event) ? event as unknown[] : [];
  if (
    typeof seconds !== "number" || !(seconds >= 0) || !Number.isFinite(seconds) || typeof code !== "string" ||
    typeof data !== "string" || more.length > 0
  ) {
    throw new TypeError("it has a line that is no event: accepted is [seconds, code, text]");
  }
  const atMs = seconds * MS_PER_SECOND;
  if (code === "o") {
    return { kind: "output", atMs, text: data };
  }
  return code === "r" ? { kind: "resize", atMs, ...parseSize(data) } : { kind: "other", atMs };
}

function parseSize(text: string): { rows: number; columns: number } {
  const [, columns, rows] = /^([0-9]{1,5})x([0-9]{1,5})$/.exec(text) ?? [];
  const size = { rows: Number(rows), columns: Number(columns) };
  if (!isSize(size.rows) || !isSize(size.columns)) {
    throw new TypeError("it has a line that is no change of size: accepted is COLUMNSxROWS");
  }
  return size;
}

function isSize(value: unknown): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= 1 && value <= MAX_SIZE;
}

function parsed(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    throw new TypeError("it has a line that is no JSON");
  }
}

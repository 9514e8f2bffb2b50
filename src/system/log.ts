import { type Clock, systemClock } from "./clock.ts";
import { quoteVisibly } from "./visible_text.ts";
import { withoutKeys } from "./without_keys.ts";

export { LogThrottle, type LogThrottleOptions } from "./log_throttle.ts";

export type LogLevel = "debug" | "info" | "warn" | "error";
export type LogFormat = "text" | "json";
export type LogFields = Record<string, string | number | bigint | boolean | null>;

export interface LogOptions {
  /** Which program speaks: `server`, `commander`. */
  role: string;
  format: LogFormat;
  /** Takes one finished line with its newline. @default standard error */
  write?: (line: string) => void;
  clock?: Clock;
  /** Lines below this level are dropped. @default "info" */
  minLevel?: LogLevel;
}

const LEVELS: readonly LogLevel[] = ["debug", "info", "warn", "error"];

// What may stand without quotes. Everything else (blanks, quotes, `=`, backslashes, control and bidi characters) is
// written as a JSON string literal, so that no value can look like another field or another line.
const PLAIN_VALUE = /^[A-Za-z0-9_.:/@%+,#[\]~*-]+$/;
const PLAIN_MESSAGE = /^[A-Za-z0-9_.:/@%+,#[\]~*();' -]+$/;

/**
 * Log of a long-running program: one line per call, in which nothing that looks like a key is shown.
 *
 *     2026-11-21T08:50:00.123Z WARN server: packet refused reason=replayed peer=192.0.2.7 suppressed=3
 *     {"time":"2026-...Z","level":"warn","role":"server","message":"packet refused","reason":"replayed",...}
 */
export class Log {
  readonly #role: string;
  readonly #format: LogFormat;
  readonly #write: (line: string) => void;
  readonly #clock: Clock;
  readonly #minLevel: number;

  constructor(options: LogOptions) {
    this.#role = options.role;
    this.#format = options.format;
    this.#write = options.write ?? writeToStderr;
    this.#clock = options.clock ?? systemClock;
    this.#minLevel = LEVELS.indexOf(options.minLevel ?? "info");
  }

  debug(message: string, fields: LogFields = {}): void {
    this.#log("debug", message, fields);
  }

  info(message: string, fields: LogFields = {}): void {
    this.#log("info", message, fields);
  }

  warn(message: string, fields: LogFields = {}): void {
    this.#log("warn", message, fields);
  }

  error(message: string, fields: LogFields = {}): void {
    this.#log("error", message, fields);
  }

  #log(level: LogLevel, message: string, fields: LogFields): void {
    if (LEVELS.indexOf(level) < this.#minLevel) return;
    const time = new Date(this.#clock.wallMs()).toISOString();
    const format = this.#format === "json" ? formatJson : formatText;
    // Over the finished line, so that no field is forgotten: a key can stand in a file's name, or in what a command says.
    this.#write(withoutKeys(format(time, level, this.#role, message, fields)) + "\n");
  }
}

function formatText(
  time: string,
  level: LogLevel,
  role: string,
  message: string,
  fields: LogFields,
): string {
  let line = `${time} ${level.toUpperCase()} ${role}: `;
  line += PLAIN_MESSAGE.test(message) ? message : quoteVisibly(message);
  for (const [name, value] of Object.entries(fields)) {
    const text = String(value);
    line += ` ${name}=${PLAIN_VALUE.test(text) ? text : quoteVisibly(text)}`;
  }
  return line;
}

function formatJson(
  time: string,
  level: LogLevel,
  role: string,
  message: string,
  fields: LogFields,
): string {
  const head = { time, level, role, message };
  const parts: string[] = [];
  // The head comes twice so that it stands first in the line and wins over a field of the same name.
  for (const [name, value] of Object.entries({ ...head, ...fields, ...head })) {
    parts.push(`${quoteVisibly(name)}:${formatJsonValue(value)}`);
  }
  return `{${parts.join(",")}}`;
}

function formatJsonValue(value: string | number | bigint | boolean | null): string {
  // Counters exceed what JSON readers keep of a number, so a bigint is written as a string of its digits.
  if (typeof value === "string" || typeof value === "bigint") return quoteVisibly(String(value));
  return JSON.stringify(value);
}

const encoder = new TextEncoder();

function writeToStderr(line: string): void {
  const bytes = encoder.encode(line);
  try {
    for (let offset = 0; offset < bytes.length;) offset += Deno.stderr.writeSync(bytes.subarray(offset));
  } catch {
    // A closed or full standard error must not end a daemon.
  }
}

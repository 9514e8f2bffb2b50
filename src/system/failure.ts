import { escapeHidden } from "./visible_text.ts";

/** What may be said about a `Failure` beside its message. */
export interface FailureOptions {
  /** The next command or step that helps; printed on a line of its own. */
  hint?: string | undefined;
  /** What the hint announces, such as a command of several lines, each printed on a line of its own. */
  hintLines?: readonly string[];
  cause?: unknown;
}

/**
 * Something the user can understand and act on; ends the program with exit code 1. The message reads "what could
 * not be done: what was found, what is accepted", without a final period and without any secret.
 */
export class Failure extends Error {
  /** The next command or step that helps. */
  readonly hint: string | undefined;
  /** What the hint announces, a line each. */
  readonly hintLines: readonly string[];

  /** Makes one, with a message in the form above. */
  constructor(message: string, options: FailureOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "Failure";
    this.hint = options.hint;
    this.hintLines = options.hintLines ?? [];
  }
}

/** The command line itself is wrong; ends the program with exit code 2. */
export class UsageFailure extends Failure {
  /** Makes one, with a message in the form of every `Failure`. */
  constructor(message: string, options: FailureOptions = {}) {
    super(message, options);
    this.name = "UsageFailure";
  }
}

/** Longest cause chain that is followed, so that a cycle ends. */
const MAX_CAUSES = 8;

/**
 * Describes anything that was thrown in one line: its message, then the message of each cause that says something
 * new, then (for an `AggregateError`) each of its errors. Invisible characters are escaped.
 */
export function describeError(error: unknown): string {
  const parts: string[] = [];
  let current: unknown = error;
  for (let depth = 0; depth < MAX_CAUSES && current !== undefined && current !== null; depth++) {
    const text = describeOne(current);
    if (!parts.some((part) => part.includes(text))) parts.push(text);
    current = current instanceof Error ? current.cause : undefined;
  }
  return escapeHidden(parts.join(": ") || "unknown error");
}

function describeOne(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) {
    const each = error.errors.map(describeOne).join("; ");
    return error.message === "" ? each : `${error.message}: ${each}`;
  }
  if (error instanceof Error) return error.message === "" ? error.name : error.message;
  return String(error);
}

/** A child process whose lines can be waited for. Shared by the demo and the end-to-end tests. */

/** One line that the process wrote, parsed when it is JSON. */
export interface LogLine {
  readonly text: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

export interface LoggedProcessOptions {
  readonly cwd?: string;
  readonly env?: Record<string, string>;
  /** Words before `deno`: a program that runs it in another surrounding, such as `ip netns exec NAME`. */
  readonly launcher?: readonly string[];
  /** Where its lines are read: a service logs on standard error, a client reports on standard output. @default "stderr" */
  readonly reads?: "stdout" | "stderr";
}

export class ChildGone extends Error {
  override readonly name = "ChildGone";
}

const decoder = new TextDecoder();

function parseLine(text: string): LogLine {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && value !== null) {
      return { text, fields: value as Record<string, unknown> };
    }
  } catch {
    // Not every line is ours (a crash of the runtime, say): kept as text.
  }
  return { text, fields: {} };
}

/**
 * Starts `deno` with the given words and reads what it writes line by line. Lines are kept, so a wait that begins after
 * the line was written still finds it.
 */
export class LoggedProcess implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #lines: LogLine[] = [];
  readonly #waiters = new Set<() => void>();
  readonly #reading: Promise<void>;
  #ended = false;

  constructor(args: readonly string[], options: LoggedProcessOptions = {}) {
    const { launcher = [], reads = "stderr", ...others } = options;
    const [program = "", ...words] = [...launcher, Deno.execPath(), ...args];
    this.#child = new Deno.Command(program, {
      args: words,
      ...others,
      stdin: "null",
      stdout: reads === "stdout" ? "piped" : "null",
      stderr: reads === "stderr" ? "piped" : "null",
    }).spawn();
    this.#reading = this.#read(this.#child[reads]);
  }

  get pid(): number {
    return this.#child.pid;
  }

  get lines(): readonly LogLine[] {
    return this.#lines;
  }

  get status(): Promise<Deno.CommandStatus> {
    return this.#child.status;
  }

  async #read(stream: ReadableStream<Uint8Array>): Promise<void> {
    let rest = "";
    for await (const chunk of stream) {
      const parts = (rest + decoder.decode(chunk, { stream: true })).split("\n");
      rest = parts.pop() ?? "";
      for (const text of parts) this.#lines.push(parseLine(text));
      this.#wake();
    }
    if (rest !== "") this.#lines.push(parseLine(rest));
    this.#ended = true;
    this.#wake();
  }

  #wake(): void {
    for (const waiter of this.#waiters) waiter();
  }

  /**
   * Resolves with the first line at or after `from` that satisfies the predicate.
   *
   * @throws {ChildGone} if the process ended, or `timeoutMs` went by, without such a line; the message holds
   * what the process did say.
   */
  async line(
    matches: (line: LogLine) => boolean,
    options: { from?: number; timeoutMs?: number } = {},
  ): Promise<LogLine> {
    const deadline = performance.now() + (options.timeoutMs ?? 10_000);
    let next = options.from ?? 0;
    while (true) {
      for (; next < this.#lines.length; next++) {
        const line = this.#lines[next];
        if (line !== undefined && matches(line)) return line;
      }
      const leftMs = deadline - performance.now();
      if (this.#ended || leftMs <= 0) {
        const why = this.#ended ? "the process ended" : "the time ran out";
        const said = this.#lines.map((line) => `  ${line.text}`).join("\n");
        throw new ChildGone(`No such line: ${why}; the process said:\n${said}`);
      }
      await this.#activity(leftMs);
    }
  }

  async #activity(timeoutMs: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, timeoutMs);
    this.#waiters.add(resolve);
    await promise;
    this.#waiters.delete(resolve);
    clearTimeout(timer);
  }

  kill(signal: Deno.Signal): void {
    try {
      this.#child.kill(signal);
    } catch {
      // Already gone: what the caller wanted.
    }
  }

  /** Ends the process and waits until it is gone and its last line was read. */
  async stop(signal: Deno.Signal = "SIGTERM"): Promise<Deno.CommandStatus> {
    this.kill(signal);
    const status = await this.#child.status;
    await this.#reading;
    return status;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop("SIGKILL");
  }
}

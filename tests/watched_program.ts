/** A program at work, whose output is read as it comes; it is killed when it takes too long. */

/** How a program is started. */
export interface WatchedProgramOptions {
  readonly args: readonly string[];
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
  /** When it is killed. */
  readonly timeoutMs: number;
}

/** One program. */
export class WatchedProgram {
  /** What it says on standard error, once it has ended. */
  readonly errors: Promise<string>;
  readonly #child: Deno.ChildProcess;
  readonly #output: ReadableStreamDefaultReader<string>;
  readonly #watchdog: ReturnType<typeof setTimeout>;
  #text = "";

  /** Starts it, without input and without colours. */
  constructor(command: string, { args, cwd, env, timeoutMs }: WatchedProgramOptions) {
    this.#child = new Deno.Command(command, {
      args: [...args],
      cwd,
      env: { NO_COLOR: "1", ...env },
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.#output = this.#child.stdout.pipeThrough(new TextDecoderStream()).getReader();
    this.errors = new Response(this.#child.stderr).text();
    this.#watchdog = setTimeout(() => this.#kill(), timeoutMs);
  }

  /** What it has printed so far. */
  get text(): string {
    return this.#text;
  }

  /** Reads on until there is enough; false if it ended before. */
  async readUntil(isEnough: (text: string) => boolean): Promise<boolean> {
    while (!isEnough(this.#text)) {
      const { value } = await this.#output.read();
      if (value === undefined) return false;
      this.#text += value;
    }
    return true;
  }

  /** Reads on to its own end; whether that was a good one. */
  async finished(): Promise<boolean> {
    await this.readUntil(() => false);
    return (await this.#child.status).success;
  }

  /** Kills it if it still runs, and gives what it said on standard error. */
  async end(): Promise<string> {
    this.#kill();
    clearTimeout(this.#watchdog);
    await this.#child.status;
    await this.#output.cancel();
    return await this.errors;
  }

  #kill(): void {
    try {
      this.#child.kill("SIGKILL");
    } catch {
      // It has gone already.
    }
  }
}

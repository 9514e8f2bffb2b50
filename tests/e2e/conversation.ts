/** A program that is talked with line by line over its standard input and output. */
import { until } from "./until.ts";

export class Conversation implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #input: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>>;
  readonly #reading: Promise<void[]>;
  #isInputOpen = true;
  /** All it has written so far. */
  output = "";
  errors = "";

  constructor(words: readonly string[], options: { cwd?: string } = {}) {
    const [program = "", ...args] = words;
    this.#child = new Deno.Command(program, {
      ...options,
      args,
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.#input = this.#child.stdin.getWriter();
    this.#reading = Promise.all([
      this.#read(this.#child.stdout, (text) => this.output += text),
      this.#read(this.#child.stderr, (text) => this.errors += text),
    ]);
  }

  async #read(stream: ReadableStream<Uint8Array<ArrayBuffer>>, take: (text: string) => void): Promise<void> {
    for await (const text of stream.pipeThrough(new TextDecoderStream())) take(text);
  }

  async say(line: string): Promise<void> {
    await this.#input.write(new TextEncoder().encode(`${line}\n`));
  }

  /** Waits until everything it has written is exactly this. */
  async hears(output: string): Promise<void> {
    try {
      await until(`it says ${JSON.stringify(output)}`, () => this.output === output);
    } catch (error) {
      throw new Error(`it said ${JSON.stringify(this.output)}, and: ${this.errors}`, { cause: error });
    }
  }

  /** Closes its input and waits for its end; returns its exit code. */
  async end(): Promise<number> {
    if (this.#isInputOpen) {
      this.#isInputOpen = false;
      // It may have ended before us.
      await this.#input.close().catch(() => {});
    }
    const { code } = await this.#child.status;
    await this.#reading;
    return code;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#child.kill("SIGKILL");
    } catch {
      // It has ended.
    }
    await this.end();
  }
}

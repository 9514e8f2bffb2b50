/** Somebody's terminal, for the demo, the end-to-end tests and the bench. Needs script(1). */
import { repositoryFolder, type StartOptions } from "./lab.ts";

/** A program of ours in a pseudo-terminal, as in somebody's window. */
export class Terminal implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #keys: WritableStreamDefaultWriter<Uint8Array>;
  readonly #reading: Promise<void>;
  readonly #waiting = new Set<() => void>();
  #hasEnded = false;
  screen = "";

  /** @param denoWords what `deno` is called with */
  constructor(denoWords: readonly string[], { launcher = [] }: StartOptions = {}) {
    const words = [...launcher, Deno.execPath(), ...denoWords].map((word) =>
      `'${word.replaceAll("'", `'\\''`)}'`
    );
    this.#child = new Deno.Command("script", {
      args: ["-qfec", words.join(" "), "/dev/null"],
      cwd: repositoryFolder,
      stdin: "piped",
      stdout: "piped",
      stderr: "null",
    }).spawn();
    this.#keys = this.#child.stdin.getWriter();
    this.#reading = this.#read();
  }

  async type(text: string): Promise<void> {
    await this.#keys.write(new TextEncoder().encode(text));
  }

  /**
   * Waits until the screen has shown something.
   *
   * @param from how much of the screen is passed over
   */
  async shows(pattern: RegExp, { timeoutMs = 30_000, from = 0 } = {}): Promise<void> {
    const deadlineMs = performance.now() + timeoutMs;
    while (!pattern.test(this.screen.slice(from))) {
      if (this.#hasEnded || performance.now() > deadlineMs) {
        throw new Error(`the terminal never showed ${pattern.source}; it showed:\n${this.screen}`);
      }
      await this.#change();
    }
  }

  /** Exit code of the client. */
  async end(): Promise<number> {
    const { code } = await this.#child.status;
    await this.#reading;
    return code;
  }

  async #change(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, 1_000);
    this.#waiting.add(resolve);
    await promise;
    this.#waiting.delete(resolve);
    clearTimeout(timer);
  }

  async #read(): Promise<void> {
    const decoder = new TextDecoder();
    for await (const chunk of this.#child.stdout) {
      this.screen += decoder.decode(chunk, { stream: true });
      for (const wake of this.#waiting) wake();
    }
    this.#hasEnded = true;
    for (const wake of this.#waiting) wake();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#keys.close().catch(() => {});
    try {
      this.#child.kill("SIGKILL");
    } catch {
      // It has ended.
    }
    await this.#reading;
    await this.#child.status;
  }
}

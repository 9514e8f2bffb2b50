/** A server or a commander that runs only to be tried. */
import { Failure } from "../../system/failure.ts";
import { lastWords, programCommand } from "./child_program.ts";

const POLL_MS = 20;
const STOP_TIMEOUT_MS = 5000;
/** Ends it by itself if the update that started it was killed. */
const LIFETIME_SECONDS = 120;
const KILL_AFTER_SECONDS = 5;
const MAX_KEPT_CHARS = 4000;

export class TrialProcess implements AsyncDisposable {
  readonly #name: string;
  readonly #child: Deno.ChildProcess;
  readonly #reading: Promise<unknown>;
  #said = "";
  #status: Deno.CommandStatus | null = null;

  /** @param name in failures */
  constructor(name: string, path: string, configPath: string) {
    this.#name = name;
    this.#child = programCommand("timeout", [
      `--kill-after=${KILL_AFTER_SECONDS}`,
      String(LIFETIME_SECONDS),
      path,
      "--config",
      configPath,
    ]).spawn();
    this.#child.status.then((status) => this.#status = status);
    this.#reading = Promise.all([this.#read(this.#child.stdout), this.#read(this.#child.stderr)]);
  }

  /** The end of what it said. */
  lastWords(): string {
    return lastWords(this.#said);
  }

  /**
   * Waits until the probe says yes.
   *
   * @throws {Failure} if the process ends, or the time is over
   */
  async until(probe: () => Promise<boolean>, what: string, timeoutMs: number): Promise<void> {
    const deadlineMs = performance.now() + timeoutMs;
    while (!(await probe())) {
      if (this.#status !== null) {
        await this.#reading;
        throw this.#failure(`ended with exit code ${this.#status.code} before ${what}`);
      }
      if (performance.now() >= deadlineMs) {
        throw this.#failure(`took more than ${timeoutMs} ms until ${what}`);
      }
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#kill("SIGTERM");
    const timer = setTimeout(() => this.#kill("SIGKILL"), STOP_TIMEOUT_MS);
    await this.#child.status;
    clearTimeout(timer);
    await this.#reading;
  }

  #kill(signal: Deno.Signal): void {
    try {
      this.#child.kill(signal);
    } catch {
      // It has ended already.
    }
  }

  #failure(what: string): Failure {
    const words = this.lastWords();
    return new Failure(`${this.#name} ${what}${words === "" ? "" : `; it said: ${words}`}`);
  }

  async #read(stream: ReadableStream<Uint8Array>): Promise<void> {
    const decoder = new TextDecoder();
    for await (const chunk of stream) {
      this.#said = (this.#said + decoder.decode(chunk, { stream: true })).slice(-MAX_KEPT_CHARS);
    }
  }
}

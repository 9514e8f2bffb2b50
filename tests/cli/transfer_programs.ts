/** The commands of a transfer as real processes, each with exactly the permissions it ships with. */
import assert from "node:assert/strict";
import { shippedFlags, startRelay } from "../../scripts/transfer_lab.ts";
import type { LoggedProcess } from "../../scripts/process.ts";
import { until } from "../e2e/until.ts";
import { moduleCache } from "./module_cache.ts";

const mainPath = new URL("../../main.ts", import.meta.url).pathname;
const denoDir = await moduleCache();

/** How a command is started. */
export interface StartOptions {
  /** Where it works. */
  readonly folder: string;
  /** Its HOME, where its state lies; without one it has no state folder. */
  readonly home?: string | undefined;
  readonly env?: Readonly<Record<string, string>>;
  /** Its standard input; null: nothing comes and it does not end. @default "" */
  readonly stdin?: string | null;
}

/** One command that runs. */
export class Program implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #reading: Promise<unknown>;
  stdout = "";
  stderr = "";
  #hasEnded = false;

  private constructor(child: Deno.ChildProcess) {
    this.#child = child;
    this.#reading = Promise.all([
      read(child.stdout, (text) => this.stdout += text),
      read(child.stderr, (text) => this.stderr += text),
    ]);
    void child.status.then(() => this.#hasEnded = true);
  }

  /** Starts one. Not with `--no-prompt`: whoever asks for more than it was granted would wait for ever. */
  static async start(words: readonly string[], options: StartOptions): Promise<Program> {
    const child = new Deno.Command(Deno.execPath(), {
      args: ["run", ...await flagsOf(words, options.home), mainPath, ...words],
      cwd: options.folder,
      clearEnv: true,
      env: environmentOf(options),
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    const program = new Program(child);
    const { stdin = "" } = options;
    if (stdin !== null) {
      const input = child.stdin.getWriter();
      await input.write(new TextEncoder().encode(stdin)).catch(() => {});
      await input.close().catch(() => {});
    }
    return program;
  }

  /** Waits until it has said something. */
  async says(stream: "stdout" | "stderr", pattern: RegExp): Promise<RegExpExecArray> {
    try {
      const found = await until(`it says ${pattern}`, () => pattern.exec(this[stream]) ?? this.#hasEnded);
      if (found !== true) return found;
      const last = pattern.exec(this[stream]);
      if (last !== null) return last;
      throw new Error("it has ended");
    } catch (error) {
      throw new Error(`it said:\n${this.stdout}\n---\n${this.stderr}`, { cause: error });
    }
  }

  /** The code that a share has printed. */
  async code(): Promise<string> {
    const [, code = ""] = await this.says("stdout", /^([0-9]+(?:-[a-z]+)+)\n/);
    return code;
  }

  kill(signal: Deno.Signal): void {
    this.#child.kill(signal);
  }

  /** Waits for its end. */
  async exit(): Promise<number> {
    const { code } = await this.#child.status;
    await this.#reading;
    return code;
  }

  /** The same, with what it said if it is not the one expected. */
  async ends(code: number): Promise<void> {
    const found = await this.exit();
    assert.equal(
      found,
      code,
      `it ended with ${found}, expected ${code}, and said:\n${this.stdout}\n---\n${this.stderr}`,
    );
  }

  /** Its lines of JSON, each as it stood there. */
  get events(): Record<string, unknown>[] {
    return this.stdout.split("\n").filter((line) => line !== "").map((line) => JSON.parse(line));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#hasEnded) this.#child.kill("SIGKILL");
    await this.#child.stdin.close().catch(() => {});
    await this.exit();
  }
}

/** `deno run ARGS` as a shell reads it, for a terminal. */
export async function shellLine(words: readonly string[], home?: string): Promise<string> {
  return [Deno.execPath(), "run", ...await flagsOf(words, home), mainPath, ...words]
    .map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(" ");
}

export function environmentOf(
  { home, env = {} }: Omit<StartOptions, "folder" | "stdin">,
): Record<string, string> {
  return {
    PATH: Deno.env.get("PATH") ?? "",
    DENO_DIR: denoDir,
    ...(home === undefined ? {} : { HOME: home }),
    ...env,
  };
}

/** The table looks into the environment for the state folder, so that must be the command's own. */
async function flagsOf(words: readonly string[], home: string | undefined): Promise<string[]> {
  const before = { HOME: Deno.env.get("HOME"), XDG_STATE_HOME: Deno.env.get("XDG_STATE_HOME") };
  try {
    Deno.env.delete("XDG_STATE_HOME");
    if (home === undefined) Deno.env.delete("HOME");
    else Deno.env.set("HOME", home);
    return await shippedFlags(words);
  } finally {
    for (const [name, value] of Object.entries(before)) {
      if (value !== undefined) Deno.env.set(name, value);
    }
  }
}

async function read(stream: ReadableStream<Uint8Array>, take: (text: string) => void): Promise<void> {
  const decoder = new TextDecoder();
  for await (const chunk of stream) take(decoder.decode(chunk, { stream: true }));
}

const RANDOM_AT_ONCE = 65_536;

/** Writes a file that cannot be compressed: what is small on its way is through before anybody can look. */
export async function writeRandom(path: string, sizeBytes: number): Promise<void> {
  using file = await Deno.open(path, { write: true, create: true });
  for (let left = sizeBytes; left > 0; left -= RANDOM_AT_ONCE) {
    await file.write(crypto.getRandomValues(new Uint8Array(Math.min(left, RANDOM_AT_ONCE))));
  }
}

/** A relay, and a folder for each side. */
export class TransferPlace implements AsyncDisposable {
  readonly folder: string;
  readonly relay: string;
  readonly #process: LoggedProcess;

  private constructor(folder: string, relay: { readonly process: LoggedProcess; readonly port: number }) {
    this.folder = folder;
    this.relay = `127.0.0.1:${relay.port}`;
    this.#process = relay.process;
  }

  static async make(relayWords: readonly string[] = []): Promise<TransferPlace> {
    const folder = await Deno.makeTempDir({ prefix: "postern-transfer-" });
    for (const name of ["out", "in", "home-out", "home-in"]) await Deno.mkdir(`${folder}/${name}`);
    return new TransferPlace(folder, await startRelay(relayWords));
  }

  get out(): string {
    return `${this.folder}/out`;
  }

  get in(): string {
    return `${this.folder}/in`;
  }

  /** Starts a share in `out`. */
  share(words: readonly string[], options: Partial<StartOptions> = {}): Promise<Program> {
    return Program.start(["client", "share", ...words, "--relay", this.relay], {
      folder: this.out,
      home: `${this.folder}/home-out`,
      ...options,
    });
  }

  /** Starts a receive in `in`. */
  receive(words: readonly string[], options: Partial<StartOptions> = {}): Promise<Program> {
    return Program.start(["client", "receive", ...words, "--relay", this.relay], {
      folder: this.in,
      home: `${this.folder}/home-in`,
      ...options,
    });
  }

  /** Ends the relay; nobody can be reached any more. */
  async endRelay(): Promise<void> {
    await this.#process.stop();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process.stop("SIGKILL");
    await Deno.remove(this.folder, { recursive: true });
  }
}

/** Two ends of a program in processes of their own, or in two threads of one, kept ready between loads. */
import type { Load, Measured } from "./load.ts";
import type { Payload, Wire } from "./subject.ts";

const SERVER_PATH = new URL("./server_process.ts", import.meta.url).pathname;
const CLIENT_PATH = new URL("./client_process.ts", import.meta.url).pathname;
/** A load that takes longer than asked by this much hangs. */
const GRACE_MS = 30_000;

/** Which ends, and how they meet. */
export interface PairOptions {
  /** A word of programs.ts. */
  readonly program: string;
  readonly way: Wire | "worker" | "memory";
  readonly payload: Payload;
  /** For Unix sockets. */
  readonly folder: string;
}

let sockets = 0;

export class Pair implements AsyncDisposable {
  readonly #processes: readonly LineProcess[];
  readonly #client: LineProcess;

  private constructor(client: LineProcess, server: LineProcess | null) {
    this.#client = client;
    this.#processes = server === null ? [client] : [client, server];
  }

  static async start({ program, way, payload, folder }: PairOptions): Promise<Pair> {
    if (way === "worker" || way === "memory") {
      return new Pair(new LineProcess(CLIENT_PATH, [program, way, "-", payload]), null);
    }
    const listen = way === "unix" ? `${folder}/rpc-${sockets++}.sock` : "127.0.0.1:0";
    const server = new LineProcess(SERVER_PATH, [program, way, listen, payload]);
    const { address } = JSON.parse(await server.line(GRACE_MS));
    return new Pair(new LineProcess(CLIENT_PATH, [program, way, address, payload]), server);
  }

  /** Runs one load. */
  async run(load: Load): Promise<Measured> {
    await this.#client.write(`${JSON.stringify(load)}\n`);
    return JSON.parse(await this.#client.line(load.forMs + GRACE_MS));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#processes.map((each) => each.end()));
  }
}

/** A measuring process that answers in lines. */
class LineProcess {
  readonly #child: Deno.ChildProcess;
  readonly #input: WritableStreamDefaultWriter<Uint8Array>;
  readonly #output: ReadableStreamDefaultReader<string>;
  #rest = "";

  constructor(path: string, args: readonly string[]) {
    this.#child = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--quiet", "--no-check", path, ...args],
      stdin: "piped",
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    this.#input = this.#child.stdin.getWriter();
    this.#output = this.#child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  }

  async write(text: string): Promise<void> {
    await this.#input.write(new TextEncoder().encode(text));
  }

  async line(timeoutMs: number): Promise<string> {
    const timer = setTimeout(() => this.#kill(), timeoutMs);
    try {
      while (!this.#rest.includes("\n")) {
        const { value } = await this.#output.read();
        if (value === undefined) throw new Error("a measuring process ended before it answered");
        this.#rest += value;
      }
    } finally {
      clearTimeout(timer);
    }
    const at = this.#rest.indexOf("\n");
    const line = this.#rest.slice(0, at);
    this.#rest = this.#rest.slice(at + 1);
    return line;
  }

  async end(): Promise<void> {
    this.#kill();
    await this.#child.status;
    await this.#input.abort().catch(() => {});
    await this.#output.cancel().catch(() => {});
  }

  #kill(): void {
    try {
      this.#child.kill("SIGKILL");
    } catch {
      // It has gone already.
    }
  }
}

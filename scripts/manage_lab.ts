/**
 * A management laboratory: a real server, agents and administrators as processes of their own, each started with exactly
 * the permission flags that its own command line calls for, and a cable between them and the server that can be cut. The
 * demo shows it to people, the end-to-end tests and the bench drive it.
 *
 *   postern client ---+
 *                     +--- cable ---> postern server manage
 *   postern agent ----+
 */
import { repositoryFolder, type StartOptions } from "./lab.ts";
import { Cable } from "./cable.ts";
import { LoggedProcess } from "./process.ts";
import { shippedWords } from "./transfer_lab.ts";

const START_TIMEOUT_MS = 20_000;

/** How a program ended, and what it had printed. */
export interface Ended {
  readonly code: number;
  readonly stdout: Uint8Array<ArrayBuffer>;
  readonly stderr: string;
}

/** How a program is run to its end. */
export interface RunOptions extends StartOptions {
  /** What it reads; nothing if not given. */
  readonly stdin?: Uint8Array<ArrayBuffer> | string;
  readonly env?: Readonly<Record<string, string>>;
  /** Kills it, or does not start it any more. */
  readonly signal?: AbortSignal;
}

/** Runs `postern WORDS...` to its end, with the permissions it ships with and no more. */
export async function runShipped(words: readonly string[], options: RunOptions = {}): Promise<Ended> {
  const { stdin, launcher = [], env = {}, signal } = options;
  const [program = "", ...args] = [...launcher, Deno.execPath(), ...await shippedWords(words)];
  signal?.throwIfAborted();
  const child = new Deno.Command(program, {
    args,
    cwd: repositoryFolder,
    env: { ...env },
    stdin: stdin === undefined ? "null" : "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const kill = (): void => killQuietly(child);
  signal?.addEventListener("abort", kill, { once: true });
  const writing = stdin === undefined ? Promise.resolve() : writeAll(child.stdin, stdin);
  const [output] = await Promise.all([child.output(), writing]);
  signal?.removeEventListener("abort", kill);
  return { code: output.code, stdout: output.stdout, stderr: new TextDecoder().decode(output.stderr) };
}

function killQuietly(child: Deno.ChildProcess): void {
  try {
    child.kill("SIGKILL");
  } catch {
    // It has ended.
  }
}

async function writeAll(stream: WritableStream<Uint8Array>, content: Uint8Array | string): Promise<void> {
  const writer = stream.getWriter();
  try {
    await writer.write(typeof content === "string" ? new TextEncoder().encode(content) : content);
    await writer.close();
  } catch {
    // It ended without reading everything, as it may.
  }
}

/** What it printed as text; throws with everything it said if it failed. */
export function textOf({ code, stdout, stderr }: Ended, expectedCode = 0): string {
  const text = new TextDecoder().decode(stdout);
  if (code !== expectedCode) {
    throw new Error(`it ended with ${code}, expected was ${expectedCode}:\n${text}${stderr}`);
  }
  return text;
}

/** What a laboratory is made of. */
export interface ManageLabOptions extends StartOptions {
  /** Where others reach the server; the cable's end if not given. */
  readonly address?: string;
  /** Where the server listens. @default "127.0.0.1:0" */
  readonly bind?: string;
  /** The server's folder, if it is to lie elsewhere than in that of the laboratory. */
  readonly serverDir?: string;
}

/** Server, agents, administrators and their folder; disposing of it ends all and removes everything. */
export class ManageLab implements AsyncDisposable {
  readonly folder: string;
  /** Between everybody and the server, unless another address was given. */
  readonly cable: Cable;
  readonly #options: ManageLabOptions;
  readonly #agents = new Map<string, LoggedProcess>();
  readonly #ending = new AbortController();
  /** What is run to its end at the moment. */
  readonly #running = new Set<Promise<unknown>>();
  #server: LoggedProcess | null = null;

  private constructor(folder: string, options: ManageLabOptions) {
    this.folder = folder;
    this.#options = options;
    this.cable = new Cable(0);
  }

  /** Makes the folder of a server and starts it. */
  static async make(options: ManageLabOptions = {}): Promise<ManageLab> {
    const lab = new ManageLab(await Deno.makeTempDir({ prefix: "postern-manage-" }), options);
    try {
      const address = options.address ?? `127.0.0.1:${lab.cable.port}`;
      textOf(await lab.serverCommand("init", "--address", address));
      await lab.startServer();
      return lab;
    } catch (error) {
      await lab[Symbol.asyncDispose]();
      throw error;
    }
  }

  get serverDir(): string {
    return this.#options.serverDir ?? `${this.folder}/server`;
  }

  get server(): LoggedProcess {
    if (this.#server === null) throw new Error("the server does not run");
    return this.#server;
  }

  agentDir(name: string): string {
    return `${this.folder}/agent-${name}`;
  }

  adminDir(name: string): string {
    return `${this.folder}/admin-${name}`;
  }

  agent(name: string): LoggedProcess {
    const agent = this.#agents.get(name);
    if (agent === undefined) throw new Error(`no agent "${name}" runs`);
    return agent;
  }

  get serverLine(): string[] {
    return ["server", "manage", "--dir", this.serverDir, "--bind", this.#options.bind ?? "127.0.0.1:0"];
  }

  agentLine(name: string): string[] {
    return ["commander", "agent", "--dir", this.agentDir(name)];
  }

  /** Starts the server, again after it was stopped, and leads the cable to it. */
  async startServer(): Promise<LoggedProcess> {
    const line = [...this.serverLine, "--log", "json"];
    const words = await shippedWords(line);
    this.#ending.signal.throwIfAborted();
    const process = new LoggedProcess(words, {
      launcher: this.#options.launcher ?? [],
      cwd: repositoryFolder,
    });
    this.#server = process;
    const ready = await readiness(process, "management server ready");
    this.cable.leadTo(Number(String(ready.fields["address"]).split(":").at(-1)));
    return process;
  }

  async stopServer(signal: Deno.Signal = "SIGTERM"): Promise<void> {
    const process = this.server;
    this.#server = null;
    await process.stop(signal);
  }

  /** A token of a new invitation. */
  async invite(kind: "host" | "admin", name: string, ...words: string[]): Promise<string> {
    return textOf(await this.serverCommand("invite", kind, name, ...words)).trim();
  }

  /** Runs another command of the server in its folder, such as `audit`. */
  async serverCommand(...words: string[]): Promise<Ended> {
    return await this.#run(["server", "manage", ...words, "--dir", this.serverDir], this.#options);
  }

  /** Registers a host under a name of its own. */
  async joinHost(
    name: string,
    options: StartOptions & { readonly inviteWords?: readonly string[] } = {},
  ): Promise<void> {
    const { inviteWords = [], ...start } = options;
    const token = await this.invite("host", name, ...inviteWords);
    const line = ["commander", "agent", "--join", "-", "--dir", this.agentDir(name)];
    textOf(await this.#run(line, { ...start, stdin: `${token}\n` }));
  }

  /** Starts the agent of a host that has joined, and waits until its link stands. */
  async startAgent(name: string, options: StartOptions = {}): Promise<LoggedProcess> {
    const words = await shippedWords([...this.agentLine(name), "--log", "json"]);
    this.#ending.signal.throwIfAborted();
    const process = new LoggedProcess(words, {
      ...options,
      cwd: repositoryFolder,
    });
    this.#agents.set(name, process);
    await readiness(process, "linked to the server");
    return process;
  }

  /** Registers an administrator. */
  async joinAdmin(name: string, options: StartOptions = {}): Promise<void> {
    const token = await this.invite("admin", name);
    const line = ["client", "join", "-", "--dir", this.adminDir(name)];
    textOf(await this.#run(line, { ...options, stdin: `${token}\n` }));
  }

  /** The words of a command line of an administrator's client. */
  clientLine(admin: string, word: string, ...words: string[]): string[] {
    return ["client", word, "--dir", this.adminDir(admin), ...words];
  }

  /** Runs a command of an administrator's client to its end. */
  async client(
    admin: string,
    words: readonly [string, ...string[]],
    options: RunOptions = {},
  ): Promise<Ended> {
    return await this.#run(this.clientLine(admin, ...words), options);
  }

  async #run(words: readonly string[], options: RunOptions): Promise<Ended> {
    const running = runShipped(words, { ...options, signal: this.#ending.signal });
    this.#running.add(running);
    try {
      return await running;
    } finally {
      this.#running.delete(running);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ending.abort();
    await Promise.allSettled(this.#running);
    const processes = [...this.#agents.values(), ...(this.#server === null ? [] : [this.#server])];
    await Promise.all(processes.map((process) => process.stop("SIGKILL")));
    await this.cable[Symbol.asyncDispose]();
    await Deno.remove(this.folder, { recursive: true });
  }
}

/** Waits for the line by which a service says that it works; one that does not say it is ended. */
async function readiness(
  process: LoggedProcess,
  message: string,
): Promise<Awaited<ReturnType<LoggedProcess["line"]>>> {
  try {
    return await process.line(({ fields }) => fields["message"] === message, { timeoutMs: START_TIMEOUT_MS });
  } catch (error) {
    await process.stop("SIGKILL");
    throw error;
  }
}

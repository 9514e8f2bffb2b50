/**
 * A transfer laboratory: a real relay, senders and receivers as processes of their own, each started with exactly the
 * permission flags that its own command line calls for, and a cable between them that can be cut. The demo shows it to
 * people, the end-to-end tests drive it.
 */
import { CHECKOUT } from "../src/cli/build.ts";
import { parse } from "../src/cli/parse.ts";
import { permissionsFor } from "../src/cli/permission_table.ts";
import { permissionFlags, permissionSet } from "../src/system/permissions.ts";
import { repositoryFolder, type StartOptions } from "./lab.ts";
import { LoggedProcess } from "./process.ts";

const HOST = "127.0.0.1";
const MAIN_PATH = new URL("../main.ts", import.meta.url).pathname;
const COPY_BYTES = 256 * 1024;

/** The `--allow-...` flags that a command line runs under as shipped. */
export async function shippedFlags(words: readonly string[]): Promise<string[]> {
  const request = await parse(words, CHECKOUT);
  if (request.kind !== "command") throw new TypeError(`"${words.join(" ")}" is no command`);
  return permissionFlags(permissionSet(await permissionsFor(request.command, request.values)));
}

/** The words after `deno` for a command line with its shipped permissions, never prompting. */
export async function shippedWords(words: readonly string[]): Promise<string[]> {
  return ["run", "--no-prompt", ...await shippedFlags(words), MAIN_PATH, ...words];
}

/** Starts `postern server relay` on a free port of loopback and waits until it listens. */
export async function startRelay(
  words: readonly string[] = [],
  options: StartOptions & { readonly address?: string } = {},
): Promise<{ process: LoggedProcess; port: number }> {
  const { address = `${HOST}:0`, ...start } = options;
  const line = ["server", "relay", "--bind", address, ...words, "--log", "json"];
  const process = new LoggedProcess(await shippedWords(line), { ...start, cwd: repositoryFolder });
  try {
    const ready = await process.line(({ fields }) => fields["message"] === "relay ready", {
      timeoutMs: 20_000,
    });
    return { process, port: Number(String(ready.fields["address"]).split(":").at(-1)) };
  } catch (error) {
    await process.stop("SIGKILL");
    throw error;
  }
}

export interface ClientOptions extends StartOptions {
  /** Where it keeps what it needs to go on after a restart; it finds it by XDG_STATE_HOME. */
  readonly stateHome: string;
  readonly env?: Record<string, string>;
}

/**
 * Starts `postern client share` or `receive` with `--json`; its events are lines on standard output.
 *
 * @param words the word and its options, such as `["receive", CODE, "--yes"]`
 */
export async function startTransfer(
  words: readonly string[],
  options: ClientOptions,
): Promise<LoggedProcess> {
  const { stateHome, env = {}, ...start } = options;
  const environment = { ...env, XDG_STATE_HOME: stateHome };
  const line = ["client", ...words, "--json"];
  return new LoggedProcess(await withEnvironment(environment, () => shippedWords(line)), {
    ...start,
    cwd: repositoryFolder,
    env: environment,
    reads: "stdout",
  });
}

/** The table of permissions asks the environment where the state lies, so it has to be that of the process to come. */
async function withEnvironment<T>(env: Readonly<Record<string, string>>, work: () => Promise<T>): Promise<T> {
  const before = Object.keys(env).map((name) => [name, Deno.env.get(name)] as const);
  for (const [name, value] of Object.entries(env)) Deno.env.set(name, value);
  try {
    return await work();
  } finally {
    for (const [name, value] of before) {
      if (value === undefined) Deno.env.delete(name);
      else Deno.env.set(name, value);
    }
  }
}

/** Waits for an event of a client and gives its fields. */
export async function event(
  process: LoggedProcess,
  name: string,
  options: { readonly timeoutMs?: number; readonly matches?: (fields: Fields) => boolean } = {},
): Promise<Fields> {
  const { timeoutMs = 60_000, matches = () => true } = options;
  const line = await process.line(({ fields }) => fields["event"] === name && matches(fields), { timeoutMs });
  return line.fields;
}

type Fields = Readonly<Record<string, unknown>>;

/** What lies between a client and the relay: forwards bytes, counts them, and can be cut. */
export class Cable implements AsyncDisposable {
  readonly port: number;
  /** Towards the relay, and from it. */
  readonly bytes = { up: 0, down: 0 };
  readonly #listener = Deno.listen({ hostname: HOST, port: 0 });
  readonly #relayPort: number;
  readonly #open = new Set<Deno.Conn>();
  readonly #waiting = new Set<{ readonly bytes: number; readonly reached: () => void }>();
  readonly #accepting: Promise<void>;
  #isCut = false;

  constructor(relayPort: number) {
    this.#relayPort = relayPort;
    this.port = (this.#listener.addr as Deno.NetAddr).port;
    this.#accepting = this.#accept();
  }

  /** Ends every connection at once; new ones are ended too until `mend`. */
  cut(): void {
    this.#isCut = true;
    for (const connection of this.#open) closeQuietly(connection);
    this.#open.clear();
  }

  mend(): void {
    this.#isCut = false;
  }

  /** Settles when that many bytes have gone both ways together. */
  async carried(bytes: number): Promise<void> {
    if (this.bytes.up + this.bytes.down >= bytes) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting.add({ bytes, reached: resolve });
    await promise;
  }

  async #accept(): Promise<void> {
    for await (const near of this.#listener) {
      if (this.#isCut) closeQuietly(near);
      else void this.#join(near);
    }
  }

  async #join(near: Deno.Conn): Promise<void> {
    this.#open.add(near);
    try {
      const far = await Deno.connect({ hostname: HOST, port: this.#relayPort });
      this.#open.add(far);
      if (this.#isCut) return this.cut();
      await Promise.all([this.#copy(near, far, "up"), this.#copy(far, near, "down")]);
      this.#forget(far);
    } catch {
      // The relay is gone, or somebody cut the cable: what both ends see is a closed connection.
    }
    this.#forget(near);
  }

  async #copy(from: Deno.Conn, to: Deno.Conn, way: "up" | "down"): Promise<void> {
    const buffer = new Uint8Array(COPY_BYTES);
    try {
      for (;;) {
        const count = await from.read(buffer);
        if (count === null) return await to.closeWrite();
        for (let at = 0; at < count;) at += await to.write(buffer.subarray(at, count));
        this.#count(way, count);
      }
    } catch {
      closeQuietly(from);
      closeQuietly(to);
    }
  }

  #count(way: "up" | "down", bytes: number): void {
    this.bytes[way] += bytes;
    for (const waiter of this.#waiting) {
      if (this.bytes.up + this.bytes.down < waiter.bytes) continue;
      this.#waiting.delete(waiter);
      waiter.reached();
    }
  }

  #forget(connection: Deno.Conn): void {
    this.#open.delete(connection);
    closeQuietly(connection);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    this.cut();
    await this.#accepting.catch(() => {});
  }
}

function closeQuietly(connection: Deno.Conn): void {
  try {
    connection.close();
  } catch {
    // Closed before: what the caller wanted.
  }
}

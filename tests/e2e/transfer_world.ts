/** A relay and a folder for the clients of an end-to-end test, with what the tests ask of them. */
import assert from "node:assert/strict";
import { Cable, type ClientOptions, event, startRelay, startTransfer } from "../../scripts/transfer_lab.ts";
import type { LoggedProcess } from "../../scripts/process.ts";
import { TempFolder } from "./temp_folder.ts";

const MIB = 1024 * 1024;
const RANDOM_AT_ONCE = 65_536;

/** What ended, and what it had said. */
export interface Ended {
  readonly code: number;
  readonly said: string;
}

/** Relay, cable and clients; all of it ends with it. */
export class TransferWorld implements AsyncDisposable {
  readonly folder: string;
  readonly relay: LoggedProcess;
  readonly relayPort: number;
  /** What a client can be given in place of the relay's own port. */
  readonly cable: Cable;
  readonly #owned: AsyncDisposableStack;

  private constructor(
    folder: string,
    relay: { process: LoggedProcess; port: number },
    owned: AsyncDisposableStack,
  ) {
    this.folder = folder;
    this.relay = relay.process;
    this.relayPort = relay.port;
    this.cable = owned.use(new Cable(relay.port));
    this.#owned = owned;
  }

  /** @param relayWords options of the relay */
  static async make(relayWords: readonly string[] = []): Promise<TransferWorld> {
    await using owned = new AsyncDisposableStack();
    const { path } = owned.use(await TempFolder.make("transfer"));
    for (const name of ["out", "in"]) await Deno.mkdir(`${path}/${name}`);
    const relay = await startRelay(relayWords);
    owned.use(relay.process);
    return new TransferWorld(path, relay, owned.move());
  }

  get out(): string {
    return `${this.folder}/out`;
  }

  get in(): string {
    return `${this.folder}/in`;
  }

  /** Starts a share of what lies in `out`. */
  async share(
    words: readonly string[],
    options: Partial<ClientOptions> & { cabled?: boolean } = {},
  ): Promise<LoggedProcess> {
    return await this.#client("sender", ["share", ...words], options);
  }

  /** Starts a receiver that says yes, into `in`. */
  async receive(
    code: string,
    options: Partial<ClientOptions> & { cabled?: boolean; words?: readonly string[] } = {},
  ): Promise<LoggedProcess> {
    const { words = ["--yes", "-o", this.in], ...others } = options;
    return await this.#client("receiver", ["receive", code, ...words], others);
  }

  async #client(
    name: string,
    words: readonly string[],
    { cabled = false, ...options }: Partial<ClientOptions> & { cabled?: boolean },
  ): Promise<LoggedProcess> {
    const port = cabled ? this.cable.port : this.relayPort;
    return this.#owned.use(
      await startTransfer([...words, "--relay", `127.0.0.1:${port}`], {
        stateHome: `${this.folder}/${name}-state`,
        ...options,
      }),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#owned.disposeAsync();
  }
}

/** The code of a share that has one to tell. */
export async function codeOf(share: LoggedProcess): Promise<string> {
  return String((await event(share, "code"))["code"]);
}

/** Waits for the end of a client. */
export async function endOf(process: LoggedProcess): Promise<Ended> {
  const { code } = await process.status;
  await process.stop();
  return { code, said: process.lines.map(({ text }) => text).join("\n") };
}

/** Waits for clients that must end with 0. */
export async function assertDone(...processes: readonly LoggedProcess[]): Promise<void> {
  for (const ended of await Promise.all(processes.map(endOf))) assert.equal(ended.code, 0, ended.said);
}

/** Writes a file of random bytes. */
export async function writeRandom(path: string, bytes: number): Promise<void> {
  using file = await Deno.create(path);
  const block = new Uint8Array(MIB);
  for (let left = bytes; left > 0; left -= MIB) {
    for (let at = 0; at < MIB; at += RANDOM_AT_ONCE) {
      crypto.getRandomValues(block.subarray(at, at + RANDOM_AT_ONCE));
    }
    const part = block.subarray(0, Math.min(left, MIB));
    for (let at = 0; at < part.length;) at += await file.write(part.subarray(at));
  }
}

/** SHA-256 of a file, by a program that is not ours. */
export async function sha256Of(path: string): Promise<string> {
  const { stdout, success } = await new Deno.Command("sha256sum", { args: ["--", path] }).output();
  assert(success, path);
  return new TextDecoder().decode(stdout).replace(/^\\/, "").slice(0, 64);
}

/** The names in a folder, hidden ones too, sorted. */
export async function namesIn(path: string): Promise<string[]> {
  return (await Array.fromAsync(Deno.readDir(path))).map(({ name }) => name).sort();
}

/** The most resident memory a process had so far, in bytes. */
export async function peakMemoryBytes(process: LoggedProcess): Promise<number> {
  const status = await Deno.readTextFile(`/proc/${process.pid}/status`);
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024;
}

/** Postern's own relay and clients, each process with the permissions that it ships with. */
import { generateCode } from "../../src/protocol/transfer/code.ts";
import { shippedWords, startRelay } from "../../scripts/transfer_lab.ts";
import type { LoggedProcess } from "../../scripts/process.ts";
import { peakMb } from "./peak_memory.ts";
import type { Attempt, Side, TransferSubject } from "./subject.ts";

export class PosternTransfer implements TransferSubject, AsyncDisposable {
  readonly name = "postern";
  readonly relayPort: number;
  readonly #relay: LoggedProcess;

  private constructor({ process, port }: { process: LoggedProcess; port: number }) {
    this.#relay = process;
    this.relayPort = port;
  }

  static async start(): Promise<PosternTransfer> {
    return new PosternTransfer(await startRelay());
  }

  get relayPeakMb(): number {
    return peakMb(this.#relay.pid);
  }

  async attempt(path: string, folder: string): Promise<Attempt> {
    const code = freshCode();
    const into = `${folder}/in`;
    await Deno.mkdir(into);
    const relay = ["--relay", `127.0.0.1:${this.relayPort}`];
    return {
      sender: await client(["share", path, "--code", code, ...relay], `${folder}/sender-state`),
      receiver: await client(["receive", code, "--yes", "-o", into, ...relay], `${folder}/receiver-state`),
      receivedPath: `${into}/${path.slice(path.lastIndexOf("/") + 1)}`,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#relay[Symbol.asyncDispose]();
  }
}

export function freshCode(): string {
  return generateCode((length) => crypto.getRandomValues(new Uint8Array(length))).text;
}

async function client(words: readonly string[], stateHome: string): Promise<Side> {
  // The table of permissions asks the environment where the state lies.
  Deno.env.set("XDG_STATE_HOME", stateHome);
  const args = await shippedWords(["client", ...words]);
  // As the executables are started, see src/setup/self_extracting_header.sh: from a checkout each side takes 10 MB more.
  return { program: Deno.execPath(), args, env: { XDG_STATE_HOME: stateHome, MALLOC_ARENA_MAX: "2" } };
}

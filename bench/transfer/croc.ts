/** croc and its relay. Debian 12 has no package of it: it is measured where it is on PATH. */
import { listensWithin, missingProgram } from "./programs.ts";
import { randomWords } from "./code_words.ts";
import type { Attempt, MissingSubject, TransferSubject } from "./subject.ts";

const HOST = "127.0.0.1";
const PORTS = [9009, 9010, 9011, 9012, 9013] as const;
const START_MS = 10_000;

/** croc's relay, if croc is there. */
export class CrocRelay implements AsyncDisposable {
  readonly subject: TransferSubject | MissingSubject;
  readonly #child: Deno.ChildProcess | null;

  private constructor(subject: TransferSubject | MissingSubject, child: Deno.ChildProcess | null) {
    this.subject = subject;
    this.#child = child;
  }

  static async start(): Promise<CrocRelay> {
    const missing = missingProgram("croc", "not packaged by Debian 12; see github.com/schollz/croc");
    if (missing !== null) return new CrocRelay({ name: "croc", missing }, null);
    const child = new Deno.Command("croc", {
      args: ["relay", "--host", HOST, "--ports", PORTS.join()],
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
    const relay = new CrocRelay({ name: "croc", attempt: (path, folder) => croc(path, folder) }, child);
    if (await listensWithin(START_MS, PORTS[0])) return relay;
    await relay[Symbol.asyncDispose]();
    return new CrocRelay({ name: "croc", missing: `its relay does not listen on port ${PORTS[0]}` }, null);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#child?.kill("SIGKILL");
    } catch {
      // It has ended already.
    }
    await this.#child?.status;
  }
}

async function croc(path: string, folder: string): Promise<Attempt> {
  const into = `${folder}/in`;
  await Deno.mkdir(into);
  // By the environment: on Linux it takes no code from the command line.
  const env = { CROC_SECRET: randomWords("-"), CROC_CONFIG_DIR: folder };
  const words = ["--relay", `${HOST}:${PORTS[0]}`, "--yes", "--ignore-stdin", "--overwrite"];
  return {
    // Without --no-local the sender would be a relay itself, and the two would find each other.
    sender: { program: "croc", args: [...words, "send", "--no-local", path], env, cwd: folder },
    receiver: { program: "croc", args: [...words, "--out", into], env, cwd: folder },
    receivedPath: `${into}/${path.slice(path.lastIndexOf("/") + 1)}`,
  };
}

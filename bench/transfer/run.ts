/** Runs one transfer: takes its time and memory, and makes sure that what has arrived is what was sent. */
import type { SourceFile } from "./source_file.ts";
import { hashOf } from "./source_file.ts";
import type { Side, TransferSubject } from "./subject.ts";
import { PeakMemory } from "./peak_memory.ts";

const TIMEOUT_MS = 300_000;
/** Of what a failed program said. */
const SHOWN_CHARACTERS = 600;

export interface TransferFigures {
  /** From the start of both commands until both have ended. */
  readonly seconds: number;
  readonly senderPeakMb: number;
  readonly receiverPeakMb: number;
}

/** @throws {Error} if either side fails, or the received file is another one */
export async function runTransfer(
  subject: TransferSubject,
  source: SourceFile,
  parent: string,
): Promise<TransferFigures> {
  const folder = `${parent}/${crypto.randomUUID()}`;
  await Deno.mkdir(folder, { mode: 0o700 });
  try {
    const attempt = await subject.attempt(source.path, folder);
    const start = performance.now();
    const sides = [attempt.sender, attempt.receiver].map((side) => new RunningSide(subject.name, side));
    const peaks = await Promise.all(sides.map((side) => side.end()));
    const seconds = (performance.now() - start) / 1000;
    await verify(subject.name, source, attempt.receivedPath);
    return { seconds, senderPeakMb: peaks[0] ?? 0, receiverPeakMb: peaks[1] ?? 0 };
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function verify(name: string, source: SourceFile, path: string): Promise<void> {
  const { size } = await Deno.stat(path);
  if (size !== source.sizeBytes) {
    throw new Error(`${name}: ${size} bytes have arrived, expected ${source.sizeBytes}`);
  }
  if (await hashOf(path) !== source.sha256) throw new Error(`${name}: another file has arrived`);
}

class RunningSide {
  readonly #name: string;
  readonly #child: Deno.ChildProcess;
  readonly #said: Promise<string>;
  readonly #memory: PeakMemory;

  constructor(name: string, { program, args, env = {}, cwd, input }: Side) {
    this.#name = name;
    this.#child = new Deno.Command(program, {
      args: [...args],
      env,
      ...(cwd === undefined ? {} : { cwd }),
      stdin: input === undefined ? "null" : "piped",
      stdout: "null",
      stderr: "piped",
      signal: AbortSignal.timeout(TIMEOUT_MS),
    }).spawn();
    this.#said = new Response(this.#child.stderr).text();
    this.#memory = new PeakMemory(this.#child.pid);
    if (input !== undefined) void this.#type(input);
  }

  /** Its peak memory in megabytes, once it has ended well. */
  async end(): Promise<number> {
    const { success, code } = await this.#child.status;
    const peakMb = this.#memory.stop();
    const said = await this.#said;
    if (!success) throw new Error(`${this.#name} ended with ${code}: ${said.slice(-SHOWN_CHARACTERS)}`);
    return peakMb;
  }

  async #type(input: string): Promise<void> {
    try {
      await new Blob([input]).stream().pipeTo(this.#child.stdin);
    } catch {
      // It has ended without reading: its exit code tells why.
    }
  }
}

/** Going on: both sides are killed when most of the file has arrived, and the same commands are run again. */
import { event, startTransfer } from "../../scripts/transfer_lab.ts";
import type { LoggedProcess } from "../../scripts/process.ts";
import type { Group } from "../group.ts";
import { atMost, type Beside, makeRow } from "../row.ts";
import { diskNote } from "./disk.ts";
import { freshCode, PosternTransfer } from "./postern.ts";
import { missingProgram } from "./programs.ts";
import { hashOf, makeSource, type SourceFile } from "./source_file.ts";

const GROUP = "transfer-resume";
const MIB = 2 ** 20;
const GIB = 2 ** 30;
const KILLED_AT = 0.9;
const MS = 1000;
const TIMEOUT_MS = 300_000;
const GOAL_SECONDS = 1;

export const measureTransferResume: Group = async ({ folder, isQuick, progress }) => {
  const bytes = isQuick ? GIB / 2 : 4 * GIB;
  const disk = await diskNote(folder);
  progress(`${GROUP}: writing the file`);
  await using source = await makeSource("random", bytes, folder);
  await using postern = await PosternTransfer.start();
  const pair = new ResumedPair(source, postern.relayPort, folder);
  try {
    progress(`${GROUP}: until ${KILLED_AT * 100} %`);
    await pair.interrupt();
    progress(`${GROUP}: going on`);
    const { flowsMs, doneMs, missingBytes } = await pair.goOn();
    const note = `${(missingBytes / MIB).toFixed(0)} of ${bytes / MIB} MiB were missing; ${disk}`;
    const base = { group: GROUP, unit: "s", beside: peers() };
    const what = `${bytes / MIB} MiB, both sides killed at ${KILLED_AT * 100} % and started again`;
    return [
      makeRow({
        ...base,
        figure: `${what}: new bytes flow`,
        ours: flowsMs / MS,
        goal: atMost(GOAL_SECONDS),
        note,
      }),
      makeRow({ ...base, figure: `${what}: done`, ours: doneMs / MS }),
    ];
  } finally {
    await pair.remove();
  }
};

function peers(): Beside[] {
  const croc = missingProgram("croc", "not packaged by Debian 12; see github.com/schollz/croc");
  return [
    { name: "croc", value: null, missing: croc ?? "it does not tell when new bytes flow" },
    { name: "magic-wormhole and wormhole-william", value: null, missing: "they begin anew" },
  ];
}

interface Resumed {
  /** From the start of both commands until the receiver has more than before. */
  readonly flowsMs: number;
  readonly doneMs: number;
  readonly missingBytes: number;
}

/** Sender and receiver of one code, twice. */
class ResumedPair {
  readonly #source: SourceFile;
  readonly #folder: string;
  readonly #sending: readonly string[];
  readonly #receiving: readonly string[];

  constructor(source: SourceFile, relayPort: number, parent: string) {
    const code = freshCode();
    const relay = ["--relay", `127.0.0.1:${relayPort}`];
    this.#source = source;
    this.#folder = `${parent}/${crypto.randomUUID()}`;
    this.#sending = ["share", source.path, "--code", code, ...relay];
    this.#receiving = ["receive", code, "--yes", "-o", `${this.#folder}/in`, ...relay];
  }

  async interrupt(): Promise<void> {
    await Deno.mkdir(`${this.#folder}/in`, { recursive: true });
    await using sender = await this.#start("sender", this.#sending);
    await using receiver = await this.#start("receiver", this.#receiving);
    await event(receiver, "progress", {
      timeoutMs: TIMEOUT_MS,
      matches: ({ receivedBytes }) => Number(receivedBytes) >= this.#source.sizeBytes * KILLED_AT,
    });
    await Promise.all([sender, receiver].map((side) => side.stop("SIGKILL")));
  }

  /** @throws {Error} if what has arrived is not what was sent */
  async goOn(): Promise<Resumed> {
    const start = performance.now();
    await using sender = await this.#start("sender", this.#sending);
    await using receiver = await this.#start("receiver", this.#receiving);
    const missingBytes = Number((await event(receiver, "accepted"))["missingBytes"]);
    const before = this.#source.sizeBytes - missingBytes;
    if (before === 0) throw new Error("nothing of what had arrived was kept");
    await event(receiver, "progress", { matches: ({ receivedBytes }) => Number(receivedBytes) > before });
    const flowsMs = performance.now() - start;
    const statuses = await Promise.all([sender.status, receiver.status]);
    const doneMs = performance.now() - start;
    if (!statuses.every(({ success }) => success)) throw new Error("it did not go on to its end");
    await this.#verify();
    return { flowsMs, doneMs, missingBytes };
  }

  async remove(): Promise<void> {
    await Deno.remove(this.#folder, { recursive: true });
  }

  async #start(name: string, words: readonly string[]): Promise<LoggedProcess> {
    return await startTransfer(words, { stateHome: `${this.#folder}/${name}-state` });
  }

  async #verify(): Promise<void> {
    const name = this.#source.path.slice(this.#source.path.lastIndexOf("/") + 1);
    if (await hashOf(`${this.#folder}/in/${name}`) !== this.#source.sha256) {
      throw new Error("another file has arrived");
    }
  }
}

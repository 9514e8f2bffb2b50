/**
 * The transfer job on real input. A real relay, sender and receiver run as processes of their own, each with the
 * permissions it ships with, on loopback in a temporary folder. The receiver's cable is cut in the middle, then the
 * receiver itself is killed; both times it goes on where it was.
 */
import { Cable, event, shippedFlags, startRelay, startTransfer } from "../transfer_lab.ts";
import type { LoggedProcess } from "../process.ts";
import { DemoFailure, type Demonstration, detail, seen, step } from "./stage.ts";

const MIB = 1024 * 1024;
const FILE_MIB = 256;
/** So slow that there is a middle to cut in. */
const RELAY_BYTES_PER_SECOND = 96 * MIB;
const WRITTEN_AT_ONCE = 65_536;

/** The folder that is sent: a large file of random bytes, and small ones. */
async function makeFolder(path: string): Promise<void> {
  await Deno.mkdir(`${path}/notes`, { recursive: true });
  const large = await Deno.create(`${path}/image.bin`);
  try {
    const block = new Uint8Array(MIB);
    for (let mib = 0; mib < FILE_MIB; mib++) {
      for (let at = 0; at < MIB; at += WRITTEN_AT_ONCE) {
        crypto.getRandomValues(block.subarray(at, at + WRITTEN_AT_ONCE));
      }
      for (let at = 0; at < MIB;) at += await large.write(block.subarray(at));
    }
  } finally {
    large.close();
  }
  for (let number = 1; number <= 20; number++) {
    await Deno.writeTextFile(`${path}/notes/${number}.txt`, `Note ${number}\n`.repeat(number * 50));
  }
}

/** SHA-256 of every file below a folder, by path. */
async function hashes(folder: string, path = ""): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for await (const { name, isDirectory } of Deno.readDir(`${folder}/${path}`)) {
    const inner = path === "" ? name : `${path}/${name}`;
    if (isDirectory) { for (const [each, hash] of await hashes(folder, inner)) found.set(each, hash); }
    else {
      const bytes = await Deno.readFile(`${folder}/${inner}`);
      found.set(inner, new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex());
    }
  }
  return new Map([...found].sort());
}

/** Everything that runs, and the folder it runs in. */
class Scene {
  readonly folder: string;
  readonly #processes: LoggedProcess[] = [];
  #isEnded = false;

  constructor(folder: string) {
    this.folder = folder;
  }

  /** Keeps a process, to end it at last. */
  async add(starting: Promise<LoggedProcess>): Promise<LoggedProcess> {
    const process = await starting;
    this.#processes.push(process);
    if (this.#isEnded) await process.stop("SIGKILL");
    return process;
  }

  async client(name: string, ...words: string[]): Promise<LoggedProcess> {
    return await this.add(startTransfer(words, { stateHome: `${this.folder}/${name}-state` }));
  }

  /** Ends every process, also one that is only being started; whoever waits for one of them fails. */
  async end(): Promise<void> {
    this.#isEnded = true;
    await Promise.all(this.#processes.map((process) => process.stop("SIGKILL")));
  }
}

async function story(scene: Scene, signal: AbortSignal): Promise<void> {
  const { folder } = scene;
  await Deno.mkdir(`${folder}/inbox`);
  await makeFolder(`${folder}/photos`);
  signal.throwIfAborted();

  step("A relay that knows nothing, and a folder to send");
  const relay = await startRelay(["--rate", String(RELAY_BYTES_PER_SECOND)]);
  await scene.add(Promise.resolve(relay.process));
  detail(
    `relay:    deno run ${
      (await shippedFlags(["server", "relay", "--bind", `127.0.0.1:${relay.port}`])).join(" ")
    }`,
  );
  seen(`it listens on TCP 127.0.0.1:${relay.port}; it may do nothing else`);
  seen(`photos/: one file of ${FILE_MIB} MiB and 20 small ones`);
  await using cable = new Cable(relay.port);
  const direct = ["--relay", `127.0.0.1:${relay.port}`];
  const cabled = ["--relay", `127.0.0.1:${cable.port}`];

  signal.throwIfAborted();
  step("The sender gets a code: a number that the relay may know, and three words that it never learns");
  const sender = await scene.client("sender", "share", `${folder}/photos`, ...direct);
  const code = String((await event(sender, "code"))["code"]);
  seen(`postern client receive ${code}`);

  signal.throwIfAborted();
  step("The receiver types it; in the middle of the file, somebody cuts its cable");
  const receive = ["receive", code, "--yes", "-o", `${folder}/inbox`, ...cabled];
  const receiver = await scene.client("receiver", ...receive);
  await Promise.race([cable.carried(80 * MIB), ended(receiver)]);
  cable.cut();
  await event(receiver, "interrupted");
  seen(`cut after ${Math.round(cable.bytes.down / MIB)} MiB: both sides wait for each other`);
  cable.mend();
  await event(receiver, "paired", { matches: (fields) => fields["resumed"] === true });
  seen("mended: they found each other again by a secret of their own, with new keys");

  signal.throwIfAborted();
  step("The receiver is killed (kill -9), and started again with the same command");
  await Promise.race([cable.carried(160 * MIB), ended(receiver)]);
  await receiver.stop("SIGKILL");
  const before = cable.bytes.down;
  const second = await scene.client("receiver", ...receive);
  const accepted = await event(second, "accepted");
  const missing = Number(accepted["missingBytes"]);
  seen(`it goes on by itself: ${Math.round(missing / MIB)} of ${FILE_MIB} MiB are still missing`);
  await event(second, "done");
  await event(sender, "done");
  const codes = await Promise.all([sender.status, second.status]);
  if (codes.some(({ code }) => code !== 0)) throw new DemoFailure("sender or receiver failed");
  seen(
    `done; after the kill ${
      Math.round((cable.bytes.down - before) / MIB)
    } MiB crossed the cable, nothing twice`,
  );

  step("Is it the same?");
  const [sent, received] = await Promise.all([hashes(`${folder}/photos`), hashes(`${folder}/inbox/photos`)]);
  if (JSON.stringify([...sent]) !== JSON.stringify([...received])) throw new DemoFailure("the hashes differ");
  seen(
    `all ${sent.size} files have the same SHA-256 on both sides; image.bin: ${
      sent.get("image.bin")?.slice(0, 16)
    }...`,
  );
  const left = (await Array.fromAsync(Deno.readDir(`${folder}/inbox`))).map(({ name }) => name);
  if (left.join() !== "photos") throw new DemoFailure(`the target folder holds ${left.join(", ")}`);
  seen("nothing else lies in the receiver's folder");

  step("Somebody heard the number, and guesses the words");
  const [nameplate = ""] = code.split("-");
  const again = await scene.client("sender", "share", "--text", "the meeting is at nine", ...direct);
  const next = String((await event(again, "code"))["code"]);
  const guess = next.replace(
    /^\d+-\w+/,
    (start) => start.split("-")[0] + (next.includes("-zoo-") ? "-able" : "-zoo"),
  );
  const stranger = await scene.client(
    "stranger",
    "receive",
    guess,
    "--yes",
    "-o",
    `${folder}/inbox`,
    ...direct,
  );
  const [theirs, ours] = await Promise.all([stranger.status, again.status]);
  if (theirs.code !== 1 || ours.code !== 1) {
    throw new DemoFailure("a wrong code did not end both sides with 1");
  }
  seen(
    `one guess was all: the code with number ${
      nameplate === "" ? "" : next.split("-")[0]
    } is spent, and the sender is told so`,
  );
}

/** A client that ends where it should not tells why. */
async function ended(process: LoggedProcess): Promise<never> {
  await process.status;
  throw new DemoFailure(`a client ended too early: ${process.lines.at(-1)?.text}`);
}

/** The transfer job. */
export const transferDemonstration: Demonstration = {
  limitMs: 60_000,
  next: ["Next: docs/transfer.md takes you from here to your own files."],

  async play(cleanup: AsyncDisposableStack, signal: AbortSignal): Promise<void> {
    const making = Deno.makeTempDir({ prefix: "postern-transfer-" }).then((folder) => new Scene(folder));
    let playing: Promise<void> = Promise.resolve();
    cleanup.defer(async () => {
      const scene = await making;
      await scene.end();
      await playing.catch(() => {});
      await Deno.remove(scene.folder, { recursive: true });
    });
    playing = story(await making, signal);
    await playing;
  },
};

/**
 * The knock job on real input. A real server, commander and client run as processes of their own, each with narrow
 * permissions, on loopback in a temporary folder; then four attacks are tried with a packet that was really captured.
 */
import { encodePacket, NONCE_BYTES, packetKeyId } from "../../src/protocol/knock/packet.ts";
import { commandHash } from "../../src/protocol/knock/command_hash.ts";
import { parseIp } from "../../src/protocol/knock/address.ts";
import { generateKey } from "../../src/protocol/knock/key.ts";
import { permissionFlags, permissionSet } from "../../src/system/permissions.ts";
import { loadServerConfig } from "../../src/server/knock/config.ts";
import { serverPermissions } from "../../src/server/knock/permissions.ts";
import { loadCommanderConfig } from "../../src/commander/knock/config.ts";
import { commanderPermissions } from "../../src/commander/knock/permissions.ts";
import { Lab, runClient } from "../lab.ts";
import { DemoFailure, type Demonstration, detail, seen, step } from "./stage.ts";

const HOST = "127.0.0.1";
const LEASE_SECONDS = 2;
const QUIET_MS = 300;

/**
 * Stands between client and server as someone on the path would: keeps every datagram it forwards, and every
 * byte that comes back.
 */
class Tap implements Disposable {
  readonly captured: Uint8Array[] = [];
  answers = 0;
  readonly port: number;
  readonly #front = Deno.listenDatagram({ transport: "udp", hostname: HOST, port: 0 });
  readonly #back = Deno.listenDatagram({ transport: "udp", hostname: HOST, port: 0 });
  readonly #server: Deno.NetAddr;

  constructor(serverPort: number) {
    this.port = (this.#front.addr as Deno.NetAddr).port;
    this.#server = { transport: "udp", hostname: HOST, port: serverPort };
    void this.#forward();
    void this.#countAnswers();
  }

  async #forward(): Promise<void> {
    for await (const [datagram] of this.#front) {
      this.captured.push(datagram.slice());
      await this.send(datagram);
    }
  }

  async #countAnswers(): Promise<void> {
    for await (const _ of this.#back) this.answers++;
  }

  async send(datagram: Uint8Array): Promise<void> {
    await this.#back.send(datagram, this.#server);
  }

  [Symbol.dispose](): void {
    this.#front.close();
    this.#back.close();
  }
}

async function content(path: string): Promise<string | undefined> {
  try {
    return await Deno.readTextFile(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

/** Waits for a file to say what it should (undefined: to be gone). */
async function waitForContent(path: string, wanted: (text: string | undefined) => boolean): Promise<string> {
  const deadline = performance.now() + 8_000;
  while (performance.now() < deadline) {
    const text = await content(path);
    if (wanted(text)) return text ?? "";
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new DemoFailure(`${path} did not come to hold what the step promised`);
}

/** Set by the play; nothing is begun once it is aborted. */
let ending: AbortSignal = new AbortController().signal;
/** The client under way. It must have ended before its folder goes, or it would make it anew. */
let knocking: Promise<void> = Promise.resolve();

function knock(lab: Lab, tap: Tap, command: string): Promise<void> {
  ending.throwIfAborted();
  knocking = sendKnock(lab, tap, command);
  return knocking;
}

async function sendKnock(lab: Lab, tap: Tap, command: string): Promise<void> {
  const env = { POSTERN_CONF_DIR: `${lab.files.folder}/client` };
  const result = await runClient(
    ["send", "-a", `${HOST}:${tap.port}`, "--key-file", lab.files.keyPath, "-c", command],
    {
      flags: [
        "--no-prompt",
        `--allow-net=${HOST}:${tap.port},0.0.0.0:0`,
        "--allow-env=POSTERN_CONF_DIR",
        `--allow-read=${lab.files.folder}/client,${lab.files.keyPath}`,
        `--allow-write=${lab.files.folder}/client`,
      ],
      env,
    },
  );
  if (result.code !== 0) throw new DemoFailure(`the client failed: ${result.stderr}`);
}

async function attack(
  lab: Lab,
  tap: Tap,
  datagram: Uint8Array,
  reason: string,
  story: string,
): Promise<void> {
  const from = lab.server.lines.length;
  await tap.send(datagram);
  await lab.server.line(
    (line) => line.fields["message"] === "packet refused" && line.fields["reason"] === reason,
    { from },
  );
  await new Promise((resolve) => setTimeout(resolve, QUIET_MS));
  if (tap.answers !== 0) throw new DemoFailure(`the server answered ${tap.answers} datagrams`);
  seen(`${story}: refused (${reason}), no answer`);
}

async function runs(path: string): Promise<number> {
  return ((await content(path)) ?? "").split("\n").filter((line) => line !== "").length;
}

async function story(lab: Lab): Promise<void> {
  const { folder, key } = lab.files;
  step("A server, a commander and a key, in a temporary folder");
  detail(
    `server:    deno run ${
      permissionFlags(permissionSet(serverPermissions(await loadServerConfig(lab.files.configPath)))).join(
        " ",
      )
    }`,
  );
  detail(
    `commander: deno run ${
      permissionFlags(permissionSet(commanderPermissions(await loadCommanderConfig(lab.files.configPath))))
        .join(" ")
    }`,
  );
  seen(`both run; the server listens on UDP ${HOST}:${lab.port} and may send nothing to anybody`);

  using tap = new Tap(lab.port);
  step("The client knocks: one datagram, no answer expected");
  await knock(lab, tap, "hello");
  const first = tap.captured[0];
  if (tap.captured.length !== 1 || first === undefined) {
    throw new DemoFailure("not exactly one datagram was sent");
  }
  seen(
    `one datagram of ${first.length} bytes, key id ${
      packetKeyId(first).toString(16).padStart(16, "0")
    }, the rest ciphertext`,
  );
  const said = await waitForContent(`${folder}/hello`, (text) => text?.endsWith("\n") === true);
  seen(`the commander ran its command "hello", with RUROCO_IP=${said.trim()}`);

  step(`A lease: "open_door" opens, and closes by itself after ${LEASE_SECONDS} s`);
  await knock(lab, tap, "open_door");
  await waitForContent(`${folder}/door`, (text) => text?.includes(HOST) === true);
  seen(`the door is open for ${HOST}`);
  await waitForContent(`${folder}/door`, (text) => text === undefined);
  seen("the door was closed again; nobody sent a second knock");

  step("Someone on the path captured that first datagram and tries his luck");
  const before = await runs(`${folder}/hello`);
  await attack(lab, tap, first, "replayed", "the very same packet again");
  const flipped = first.slice();
  const last = flipped.length - 1;
  flipped[last] = (flipped[last] ?? 0) ^ 1;
  await attack(lab, tap, flipped, "authentication", "one bit flipped");

  function forge(by: typeof key, destination: string): Uint8Array {
    return encodePacket(by, {
      commandHash: commandHash("hello"),
      counter: BigInt(Date.now()) * 1_000_000n + 999_999n,
      strict: true,
      sourceIp: null,
      destinationIp: parseIp(destination),
    }, crypto.getRandomValues(new Uint8Array(NONCE_BYTES)));
  }
  await attack(
    lab,
    tap,
    forge(generateKey(), HOST),
    "unknown_key",
    "a packet under a key the server does not have",
  );
  await attack(lab, tap, forge(key, "192.0.2.1"), "destination", "a genuine packet meant for another server");
  if (await runs(`${folder}/hello`) !== before) throw new DemoFailure("an attack ran the command");
  seen(`"hello" ran ${before} time in all; the server sent ${tap.answers} bytes to anyone`);
}

/** The knock job. */
export const knockDemonstration: Demonstration = {
  limitMs: 20_000,
  next: [
    "Next: docs/knock.md takes you from here to your own server.",
    "      deno task demo transfer shows a file sent through a relay whose cable is cut.",
  ],

  async play(cleanup: AsyncDisposableStack, signal: AbortSignal): Promise<void> {
    ending = signal;
    const starting = Lab.start({
      commands: (folder) =>
        `[commands]
hello = 'echo "$RUROCO_IP" >> ${folder}/hello'
open_door = { cmd = 'echo "$RUROCO_IP" > ${folder}/door', undo = 'rm ${folder}/door', undo_after_sec = ${LEASE_SECONDS} }
`,
    });
    cleanup.defer(async () => {
      await knocking.catch(() => {});
      await starting.then((lab) => lab[Symbol.asyncDispose](), () => {});
    });
    await story(await starting);
  },
};

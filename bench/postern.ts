/** Postern under test: real server and commander processes, each with its own narrow flags. */
import { commandHash } from "../src/protocol/knock/command_hash.ts";
import { parseIp } from "../src/protocol/knock/address.ts";
import { formatKey, formatKeyId } from "../src/protocol/knock/key.ts";
import { encodePacket, NONCE_BYTES } from "../src/protocol/knock/packet.ts";
import { systemClock } from "../src/system/clock.ts";
import { Lab } from "../scripts/lab.ts";
import type { KnockProgram } from "./program.ts";
import { StampFile } from "./stamp_file.ts";

const COMMAND = "stamp";
const SERVER_IP = parseIp("127.0.0.1");
/** Far above what the series ask for, because the rates are not what they measure. */
const LIMITS = "max_requests_per_second = 10000\nmax_requests_per_second_global = 100000";

export class Postern implements KnockProgram {
  readonly name = "postern";
  readonly stamps: StampFile;
  readonly #lab: Lab;
  #lastCounter = 0n;

  private constructor(lab: Lab, stamps: StampFile) {
    this.#lab = lab;
    this.stamps = stamps;
  }

  static async start(folder: string): Promise<Postern> {
    const stamps = new StampFile(`${folder}/postern-stamps-${crypto.randomUUID()}`);
    const lab = await Lab.start({
      commands: () => `[commands]\n${COMMAND} = ${JSON.stringify(stamps.command("$POSTERN_IP"))}\n`,
      config: LIMITS,
    });
    return new Postern(lab, stamps);
  }

  get port(): number {
    return this.#lab.port;
  }

  get serverPid(): number {
    return this.#lab.server.pid;
  }

  get commanderPid(): number {
    return this.#lab.commander.pid;
  }

  /** What a stranger reads in any packet on the wire. */
  get keyId(): string {
    return formatKeyId(this.#lab.files.key.id);
  }

  makePackets(ids: readonly string[]): Promise<Uint8Array[]> {
    return Promise.resolve(ids.map((id) => this.#makePacket(id, false)));
  }

  /** Packets that must not be run, for they come from another address than they carry. */
  makeStrictPackets(ids: readonly string[]): Uint8Array[] {
    return ids.map((id) => this.#makePacket(id, true));
  }

  clientCommand(id: string): Deno.Command {
    return posternClient(["run", "--allow-net", mainPath], [
      ...["-a", `127.0.0.1:${this.port}`, "-k", formatKey(this.#lab.files.key), "-c", COMMAND],
      ...["--ip", id, "--permissive"],
    ]);
  }

  async restart(): Promise<void> {
    await this.#lab.restartServer();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#lab[Symbol.asyncDispose]();
  }

  #makePacket(sourceIp: string, strict: boolean): Uint8Array {
    return encodePacket(this.#lab.files.key, {
      commandHash: commandHash(COMMAND),
      counter: this.#nextCounter(),
      strict,
      sourceIp: parseIp(sourceIp),
      destinationIp: SERVER_IP,
    }, crypto.getRandomValues(new Uint8Array(NONCE_BYTES)));
  }

  #nextCounter(): bigint {
    const now = systemClock.wallNs();
    this.#lastCounter = now > this.#lastCounter ? now : this.#lastCounter + 1n;
    return this.#lastCounter;
  }
}

export const mainPath = new URL("../main.ts", import.meta.url).pathname;

/** `deno RUN_WORDS client send WORDS`, silent. */
export function posternClient(runWords: readonly string[], words: readonly string[]): Deno.Command {
  return new Deno.Command(Deno.execPath(), {
    args: [...runWords, "client", "send", ...words],
    stdin: "null",
    stdout: "null",
    stderr: "null",
  });
}

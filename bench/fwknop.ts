/**
 * The peer under test: fwknopd in UDP mode on loopback, started as root of a network namespace, where it may set up its firewall
 * chains without touching the machine's.
 */
import { boundPort, freeUdpPort, isUdpPortTaken, listenOnLoopback } from "./loopback.ts";
import { holdsWithin } from "./sleep.ts";
import type { KnockProgram } from "./program.ts";
import { StampFile } from "./stamp_file.ts";

/**
 * `installed` is the configuration of the package, which checks its firewall rules once per 20 packets, junk or not;
 * `tuned` never does.
 */
export type FwknopVariant = "installed" | "tuned";

const DAEMON = "fwknopd", CLIENT = "fwknop";
const START_LIMIT_MS = 5000;

interface FwknopKeys {
  readonly encryption: string;
  readonly hmac: string;
}

/** Why the peer cannot be measured here; null if it can. */
export function missingFwknop(isIsolated: boolean): string | null {
  for (const program of [DAEMON, CLIENT]) {
    try {
      new Deno.Command(program, { args: ["--version"], stdout: "null", stderr: "null" }).outputSync();
    } catch {
      return `${program} is not installed: apt-get install fwknop-server fwknop-client`;
    }
  }
  return isIsolated ? null : "fwknopd sets up firewall chains, and no network namespace could be made for it";
}

export class Fwknop implements KnockProgram {
  readonly name: string;
  readonly port: number;
  readonly stamps: StampFile;
  readonly #folder: string;
  readonly #keys: FwknopKeys;
  #daemon: Deno.ChildProcess | null = null;

  private constructor(folder: string, variant: FwknopVariant, port: number, keys: FwknopKeys) {
    this.name = `fwknopd ${variant}`;
    this.port = port;
    this.stamps = new StampFile(`${folder}/stamps`);
    this.#folder = folder;
    this.#keys = keys;
  }

  static async start(parentFolder: string, variant: FwknopVariant): Promise<Fwknop> {
    const folder = await Deno.makeTempDir({ dir: parentFolder, prefix: "fwknop-" });
    const port = freeUdpPort();
    const fwknop = new Fwknop(folder, variant, port, await makeKeys(folder));
    await fwknop.#writeFiles(variant);
    await fwknop.#startDaemon();
    return fwknop;
  }

  get serverPid(): number {
    return this.#daemon?.pid ?? 0;
  }

  /** Catches what the real client sends, so these are its very bytes. They are good for 120 seconds. */
  async makePackets(ids: readonly string[]): Promise<Uint8Array[]> {
    using socket = listenOnLoopback();
    const port = boundPort(socket);
    const packets: Uint8Array[] = [];
    for (const id of ids) {
      const received = socket.receive();
      const { success } = await this.#client(id, port).output();
      if (!success) throw new Error(`${CLIENT} could not make a packet`);
      packets.push((await received)[0]);
    }
    return packets;
  }

  clientCommand(id: string): Deno.Command {
    return this.#client(id, this.port);
  }

  async restart(): Promise<void> {
    await this.#stopDaemon("SIGKILL");
    await this.#startDaemon();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stopDaemon("SIGTERM");
    await Deno.remove(this.#folder, { recursive: true });
  }

  #client(id: string, port: number): Deno.Command {
    return new Deno.Command(CLIENT, {
      args: [
        ...["--no-rc-file", "--no-home-dir", "--save-args-file", `${this.#folder}/args`],
        ...["--access", "tcp/22", "--allow-ip", id, "--destination", "127.0.0.1", "--server-port", `${port}`],
        ...[
          "--key-base64-rijndael",
          this.#keys.encryption,
          "--key-base64-hmac",
          this.#keys.hmac,
          "--use-hmac",
        ],
      ],
      stdin: "null",
      stdout: "null",
      stderr: "null",
    });
  }

  async #writeFiles(variant: FwknopVariant): Promise<void> {
    const script = `${this.#folder}/stamp.sh`;
    await Deno.writeTextFile(script, `#!/bin/sh\n${this.stamps.command("$1")}\n`, { mode: 0o700 });
    await Deno.writeTextFile(
      `${this.#folder}/fwknopd.conf`,
      `ENABLE_UDP_SERVER Y;\nUDPSERV_PORT ${this.port};\n` +
        (variant === "tuned" ? "RULES_CHECK_THRESHOLD 0;\n" : ""),
      { mode: 0o600 },
    );
    const firewall = await makeKeys(this.#folder);
    await Deno.writeTextFile(
      `${this.#folder}/access.conf`,
      `SOURCE ANY\nKEY_BASE64 ${this.#keys.encryption}\nHMAC_KEY_BASE64 ${this.#keys.hmac}\n` +
        `CMD_CYCLE_OPEN ${script} $IP\nCMD_CYCLE_CLOSE NONE\nCMD_CYCLE_TIMER 1\n` +
        // Without a stanza that opens ports, fwknopd leaves the firewall alone, as nobody who installs it does.
        `SOURCE ANY\nKEY_BASE64 ${firewall.encryption}\nHMAC_KEY_BASE64 ${firewall.hmac}\nFW_ACCESS_TIMEOUT 30\n`,
      { mode: 0o600 },
    );
  }

  async #startDaemon(): Promise<void> {
    const at = (name: string): string => `${this.#folder}/${name}`;
    this.#daemon = new Deno.Command(DAEMON, {
      args: [
        ...["--foreground", "--config", at("fwknopd.conf"), "--access-file", at("access.conf")],
        ...["--run-dir", this.#folder, "--pid-file", at("pid"), "--digest-file", at("digest")],
      ],
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
    if (!await holdsWithin(START_LIMIT_MS, () => isUdpPortTaken(this.port))) {
      throw new Error(`${DAEMON} did not listen on UDP port ${this.port} within ${START_LIMIT_MS} ms`);
    }
  }

  async #stopDaemon(signal: Deno.Signal): Promise<void> {
    const daemon = this.#daemon;
    this.#daemon = null;
    if (daemon === null) return;
    try {
      daemon.kill(signal);
    } catch {
      // Already gone.
    }
    await daemon.status;
    // Else the next one believes that another is running.
    await Deno.remove(`${this.#folder}/pid`).catch(() => {});
  }
}

async function makeKeys(folder: string): Promise<FwknopKeys> {
  const { stdout } = await new Deno.Command(CLIENT, {
    args: ["--key-gen", "--no-rc-file", "--no-home-dir", "--save-args-file", `${folder}/args`],
    stderr: "null",
  }).output();
  const text = new TextDecoder().decode(stdout);
  const encryption = /^KEY_BASE64: (\S+)$/m.exec(text)?.[1];
  const hmac = /^HMAC_KEY_BASE64: (\S+)$/m.exec(text)?.[1];
  if (encryption === undefined || hmac === undefined) throw new Error(`${CLIENT} --key-gen printed no keys`);
  return { encryption, hmac };
}

/** Hosts of a little network, each a network namespace of this machine. Needs root. */
import assert from "node:assert/strict";
import { succeeds } from "./machine.ts";
import { until } from "./until.ts";

/** Exit code of timeout(1) when the time was over. */
const TIMED_OUT = 124;

/** The port of the discard service, where nobody listens. */
const CLOSED_PORT = 9;

/** Output of a program that must succeed. */
async function outputOf(words: readonly string[]): Promise<string> {
  const [program = "", ...args] = words;
  const { success, stdout, stderr } = await new Deno.Command(program, { args, stdin: "null" }).output();
  assert(success, `${words.join(" ")}: ${new TextDecoder().decode(stderr)}`);
  return new TextDecoder().decode(stdout);
}

/** One host. What runs on it is started with `launcher` before its own words. */
export class Host implements AsyncDisposable {
  readonly namespace: string;

  private constructor(namespace: string) {
    this.namespace = namespace;
  }

  static async make(name: string): Promise<Host> {
    const host = new Host(`postern-${crypto.randomUUID().slice(0, 8)}-${name}`);
    await outputOf(["ip", "netns", "add", host.namespace]);
    try {
      await host.run("ip", "link", "set", "lo", "up");
    } catch (error) {
      await host[Symbol.asyncDispose]();
      throw error;
    }
    return host;
  }

  get launcher(): string[] {
    return ["ip", "netns", "exec", this.namespace];
  }

  /** Runs a program to its end and returns what it printed; throws if it fails. */
  run(...words: string[]): Promise<string> {
    return outputOf([...this.launcher, ...words]);
  }

  /** Whether a TCP connection to this address and port is accepted. */
  async canConnect(ip: string, port: number, timeoutSeconds = 1): Promise<boolean> {
    return await this.#connect(ip, port, timeoutSeconds) === 0;
  }

  /** Whether the host at this address refuses a connection to a closed port, which shows that it is there. */
  async isReached(ip: string): Promise<boolean> {
    return await this.#connect(ip, CLOSED_PORT, 1) !== TIMED_OUT;
  }

  /** Exit code of an attempt to open a TCP connection. */
  async #connect(ip: string, port: number, timeoutSeconds: number): Promise<number> {
    const { code } = await new Deno.Command("ip", {
      args: [
        ...this.launcher.slice(1),
        ...["timeout", `${timeoutSeconds}`, "bash", "-c", `exec 3<>/dev/tcp/${ip}/${port}`],
      ],
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).output();
    return code;
  }

  /** Takes the host away, with whatever still runs on it. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const pid of (await outputOf(["ip", "netns", "pids", this.namespace])).split("\n")) {
      if (pid !== "") await succeeds("kill", ["-KILL", pid]);
    }
    await outputOf(["ip", "netns", "del", this.namespace]);
  }
}

/** The two ends of a cable: addresses with their prefix lengths. */
export interface CableEnd {
  readonly host: Host;
  readonly device: string;
  readonly addresses: readonly string[];
}

/** Joins two hosts by a pair of virtual Ethernet devices; resolves once each reaches the other. */
export async function plugIn(a: CableEnd, b: CableEnd): Promise<void> {
  await outputOf([
    ...["ip", "link", "add", a.device, "netns", a.host.namespace, "type", "veth"],
    ...["peer", "name", b.device, "netns", b.host.namespace],
  ]);
  for (const { host, device, addresses } of [a, b]) {
    for (const address of addresses) {
      // Without duplicate address detection an IPv6 address is usable at once.
      const options = address.includes(":") ? ["nodad"] : [];
      await host.run("ip", "address", "add", address, "dev", device, ...options);
    }
    await host.run("ip", "link", "set", device, "up");
  }
  // For a moment the new neighbours do not hear each other's questions, and what is sent then comes a second late.
  for (const address of b.addresses) {
    const ip = address.split("/")[0] ?? "";
    await until(`${ip} answers`, () => a.host.isReached(ip));
  }
}

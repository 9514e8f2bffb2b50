/** tcpdump on a host of the test: every packet that a UDP datagram could be, or could be answered with. */
import assert from "node:assert/strict";
import type { Host } from "./namespaces.ts";
import { until } from "./until.ts";

/** ICMPv6 below type 128 is errors; above are the neighbours' own messages (RFC 4443 section 2.1). */
const FILTER = "udp or icmp or (icmp6 and ip6[40] < 128)";

export class Capture implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #path: string;
  readonly #errors: Promise<void>;
  #said = "";

  private constructor(host: Host, path: string) {
    const [program = "", ...launch] = host.launcher;
    this.#path = path;
    this.#child = new Deno.Command(program, {
      args: [
        ...launch,
        // The ring has places of this size, and the default size would leave it eight of them.
        ...["tcpdump", "-i", "any", "-n", "-s", "256", "--immediate-mode", "-U", "-Z", "root", "-w", path],
        FILTER,
      ],
      stdin: "null",
      stdout: "null",
      stderr: "piped",
    }).spawn();
    this.#errors = this.#readErrors();
  }

  /** Captures into a new file; resolves once nothing can be missed any more. */
  static async start(host: Host, path: string): Promise<Capture> {
    const capture = new Capture(host, path);
    try {
      await until("tcpdump listens", () => /listening on/.test(capture.#said));
    } catch (error) {
      await capture[Symbol.asyncDispose]();
      throw new Error(`tcpdump does not work: ${capture.#said}`, { cause: error });
    }
    return capture;
  }

  async #readErrors(): Promise<void> {
    const decoder = new TextDecoder();
    for await (const chunk of this.#child.stderr) this.#said += decoder.decode(chunk, { stream: true });
  }

  /** The captured packets that satisfy a filter, one line each. */
  async packets(filter: string): Promise<string[]> {
    const { success, stdout } = await new Deno.Command("tcpdump", {
      args: ["-r", this.#path, "-n", filter],
      stdin: "null",
      stderr: "null",
    }).output();
    assert(success, `tcpdump cannot read ${this.#path}`);
    return new TextDecoder().decode(stdout).split("\n").filter((line) => line !== "");
  }

  /** Ends the capture. It proves that something was not there only if the kernel dropped nothing. */
  async assertNothingMissed(): Promise<void> {
    await this.#stop("SIGINT");
    assert.match(this.#said, /^0 packets dropped by kernel$/m);
  }

  async #stop(signal: Deno.Signal): Promise<void> {
    try {
      this.#child.kill(signal);
    } catch {
      // It has ended.
    }
    await this.#child.status;
    await this.#errors;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stop("SIGKILL");
  }
}

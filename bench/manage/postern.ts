/** Postern under test: a real server, one agent and one administrator, each with its own narrow flags. */
import { repositoryFolder } from "../../scripts/lab.ts";
import { ManageLab } from "../../scripts/manage_lab.ts";
import { LoggedProcess } from "../../scripts/process.ts";
import { shippedFlags, shippedWords } from "../../scripts/transfer_lab.ts";
import { freeTcpPort } from "../tcp_port.ts";

const HOST = "here";
const ADMIN = "bench";
const START_MS = 20_000;

/** The three, of which the first two run; nothing lies between them but loopback. */
export class PosternManage implements AsyncDisposable {
  readonly lab: ManageLab;
  /** Where the server listens. */
  readonly port: number;

  private constructor(lab: ManageLab, port: number) {
    this.lab = lab;
    this.port = port;
  }

  static async start(): Promise<PosternManage> {
    const port = freeTcpPort();
    const address = `127.0.0.1:${port}`;
    const lab = await ManageLab.make({ address, bind: address });
    try {
      await Promise.all([lab.joinHost(HOST), lab.joinAdmin(ADMIN)]);
      await lab.startAgent(HOST);
      return new PosternManage(lab, port);
    } catch (error) {
      await lab[Symbol.asyncDispose]();
      throw error;
    }
  }

  get serverPid(): number {
    return this.lab.server.pid;
  }

  get agent(): LoggedProcess {
    return this.lab.agent(HOST);
  }

  /** `client WORD HOST MORE`, without what runs it. */
  line(word: string, ...more: readonly string[]): string[] {
    return this.lab.clientLine(ADMIN, word, HOST, ...more);
  }

  /** The same as a whole command from the sources. */
  async words(word: string, ...more: readonly string[]): Promise<[string, ...string[]]> {
    return [Deno.execPath(), ...await shippedWords(this.line(word, ...more))];
  }

  /** The `--allow-...` flags that it ships with. */
  async flags(word: string, ...more: readonly string[]): Promise<string[]> {
    return await shippedFlags(this.line(word, ...more));
  }

  /** A forward to a port of the host, and the port that leads there. */
  async forward(port: number): Promise<{ process: LoggedProcess; port: number }> {
    const words = await shippedWords(this.line("forward", `0:127.0.0.1:${port}`));
    const process = new LoggedProcess(words, { cwd: repositoryFolder, reads: "stdout" });
    try {
      const { text } = await process.line(({ text }) => text !== "", { timeoutMs: START_MS });
      return { process, port: Number(/:([0-9]+) /.exec(text)?.[1]) };
    } catch (error) {
      await process.stop("SIGKILL");
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.lab[Symbol.asyncDispose]();
  }
}

/** What the end-to-end tests of the manage job have in common: a laboratory that is linked, terminals, processes. */
import assert from "node:assert/strict";
import { ManageLab, textOf } from "../../scripts/manage_lab.ts";
import { repositoryFolder } from "../../scripts/lab.ts";
import { LoggedProcess } from "../../scripts/process.ts";
import { Terminal } from "../../scripts/terminal.ts";
import { shippedWords } from "../../scripts/transfer_lab.ts";
import { until } from "./until.ts";

export interface WorldOptions {
  /** Hosts that are linked. @default ["web1"] */
  readonly hosts?: readonly string[];
  /** Hosts that have joined, and whose agent does not run. */
  readonly absent?: readonly string[];
  /** @default ["alice"] */
  readonly admins?: readonly string[];
  /** Changes the configuration of a host before its agent starts. */
  readonly configure?: (host: string, config: AgentToml) => Promise<void>;
}

/** A server with hosts of the tag prod and administrators. */
export async function linkedLab(options: WorldOptions = {}): Promise<ManageLab> {
  const { hosts = ["web1"], absent = [], admins = ["alice"], configure } = options;
  await using owned = new AsyncDisposableStack();
  const lab = owned.use(await ManageLab.make());
  for (const name of [...hosts, ...absent]) await lab.joinHost(name, { inviteWords: ["--tag", "prod"] });
  for (const name of admins) await lab.joinAdmin(name);
  for (const name of hosts) {
    await configure?.(name, new AgentToml(lab, name));
    await lab.startAgent(name);
  }
  owned.move();
  return lab;
}

/** The agent.toml of a host. */
export class AgentToml {
  readonly #path: string;

  constructor(lab: ManageLab, host: string) {
    this.#path = `${lab.agentDir(host)}/agent.toml`;
  }

  /** Replaces the one line of a key. */
  async set(key: string, value: string): Promise<void> {
    const text = await Deno.readTextFile(this.#path);
    const changed = text.replace(new RegExp(`^${key} = .*$`, "m"), () => `${key} = ${value}`);
    assert.notEqual(changed, text, `agent.toml has no other ${key}`);
    await writeAnew(this.#path, changed);
  }
}

/** Nobody reads half of it. */
export async function writeAnew(path: string, text: string): Promise<void> {
  await Deno.writeTextFile(`${path}.new`, text, { mode: 0o600 });
  await Deno.rename(`${path}.new`, path);
}

/** A client in a terminal of its own, whose size can be changed. */
export class Window implements AsyncDisposable {
  readonly terminal: Terminal;
  readonly #ttyPath: string;

  private constructor(terminal: Terminal, ttyPath: string) {
    this.terminal = terminal;
    this.#ttyPath = ttyPath;
  }

  /** Starts `postern client WORDS...`. */
  static async open(lab: ManageLab, admin: string, ...words: [string, ...string[]]): Promise<Window> {
    const ttyPath = `${lab.folder}/tty-${crypto.randomUUID()}`;
    const line = await shippedWords(lab.clientLine(admin, ...words));
    const launcher = ["sh", "-c", 'tty > "$0"; exec "$@"', ttyPath];
    return new Window(new Terminal(line, { launcher }), ttyPath);
  }

  /** The same, when a shell there has answered. */
  static async atShell(lab: ManageLab, admin: string, ...words: [string, ...string[]]): Promise<Window> {
    const view = await Window.open(lab, admin, ...words);
    try {
      await view.answers("ready");
      return view;
    } catch (error) {
      await view[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Types a line. */
  async enter(line: string): Promise<void> {
    await this.terminal.type(`${line}\r`);
  }

  /** Has the shell say a word that stands in nothing that was typed. */
  async answers(word: string): Promise<void> {
    await this.enter(`echo ${word}-$((40 + 2))`);
    await this.terminal.shows(new RegExp(`${word}-42`));
  }

  async resize(rows: number, columns: number): Promise<void> {
    const tty = (await Deno.readTextFile(this.#ttyPath)).trim();
    const { success } = await new Deno.Command("stty", {
      args: ["-F", tty, "rows", `${rows}`, "cols", `${columns}`],
    }).output();
    assert(success, `could not change the size of ${tty}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.terminal[Symbol.asyncDispose]();
  }
}

/** A forward that listens, and the addresses that it printed, in the order of its words. */
export async function startForward(
  lab: ManageLab,
  admin: string,
  words: readonly string[],
  count: number,
): Promise<{ process: LoggedProcess; ports: number[] }> {
  const process = new LoggedProcess(await shippedWords(lab.clientLine(admin, "forward", ...words)), {
    cwd: repositoryFolder,
    reads: "stdout",
  });
  try {
    await process.line(() => process.lines.length >= count, { timeoutMs: 30_000 });
  } catch (error) {
    await process.stop("SIGKILL");
    throw error;
  }
  const ports = process.lines.map(({ text }) => Number(/:([0-9]+)(?: |$)/.exec(text)?.[1]));
  return { process, ports };
}

/** How a program ended that may print any bytes. */
export interface EndedBytes {
  readonly code: number;
  readonly stdout: Uint8Array<ArrayBuffer>;
  readonly stderr: Uint8Array<ArrayBuffer>;
}

/** Runs a client to its end; what it printed stays bytes. */
export async function clientBytes(
  lab: ManageLab,
  admin: string,
  words: readonly [string, ...string[]],
  stdin: Uint8Array<ArrayBuffer>,
): Promise<EndedBytes> {
  const child = new Deno.Command(Deno.execPath(), {
    args: await shippedWords(lab.clientLine(admin, ...words)),
    cwd: repositoryFolder,
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const feeding = new Blob([stdin]).stream().pipeTo(child.stdin);
  const { code, stdout, stderr } = await child.output();
  await feeding.catch(() => {});
  return { code, stdout, stderr };
}

let marks = 0;

/** Seconds that no other program on this machine sleeps for: `sleep` with them is found by `isRunning`. */
export function mark(): string {
  return `${Deno.pid * 1000 + marks++}`;
}

/** Whether a program runs whose whole command line is this. */
export async function isRunning(line: string): Promise<boolean> {
  const { code } = await new Deno.Command("pgrep", { args: ["-x", "-f", line], stdout: "null" }).output();
  return code === 0;
}

/** Waits until none of these programs runs. */
export async function allGone(...lines: readonly string[]): Promise<void> {
  for (const line of lines) await until(`nothing is left of ${line}`, async () => !await isRunning(line));
}

/** Rows of the server's audit, the newest last. */
export async function auditText(lab: ManageLab): Promise<string> {
  return textOf(await lab.serverCommand("audit", "--limit", "10000"));
}

/**
 * The manage job on real input. A real server, agent and clients run as processes of their own, each with the permissions
 * it ships with, on loopback in a temporary folder. The cable between them and the server is cut and mended, with a shell
 * in use; at last the host says no.
 */
import { type Ended, ManageLab, textOf } from "../manage_lab.ts";
import { LoggedProcess } from "../process.ts";
import { repositoryFolder } from "../lab.ts";
import { shippedFlags, shippedWords } from "../transfer_lab.ts";
import { Terminal } from "../terminal.ts";
import { DemoFailure, type Demonstration, detail, seen, step } from "./stage.ts";

const HOST = "web1";
const ADMIN = "alice";
const MIB = 1024 * 1024;
const RANDOM_AT_ONCE = 65_536;

/** What the host can reach and nobody else: it says its name to whoever connects, and what it is told in capitals. */
class Service implements Disposable {
  readonly #listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });

  constructor() {
    void this.#serve();
  }

  get port(): number {
    return (this.#listener.addr as Deno.NetAddr).port;
  }

  async #serve(): Promise<void> {
    for await (const connection of this.#listener) void this.#answer(connection);
  }

  async #answer(connection: Deno.Conn): Promise<void> {
    using _connection = connection;
    const buffer = new Uint8Array(1_024);
    const count = await connection.read(buffer);
    const said = new TextDecoder().decode(buffer.subarray(0, count ?? 0));
    await connection.write(new TextEncoder().encode(said.toUpperCase()));
  }

  [Symbol.dispose](): void {
    this.#listener.close();
  }
}

function randomBytes(length: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; at += RANDOM_AT_ONCE) {
    crypto.getRandomValues(bytes.subarray(at, Math.min(length, at + RANDOM_AT_ONCE)));
  }
  return bytes;
}

async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
}

/** Everything that runs, ended in the order in which it can be. */
class Scene implements AsyncDisposable {
  readonly lab: ManageLab;
  readonly #processes: AsyncDisposable[] = [];

  constructor(lab: ManageLab) {
    this.lab = lab;
  }

  async terminal(...words: [string, ...string[]]): Promise<Terminal> {
    const terminal = new Terminal(await shippedWords(this.lab.clientLine(ADMIN, ...words)));
    this.#processes.push(terminal);
    return terminal;
  }

  async forward(...words: string[]): Promise<LoggedProcess> {
    const line = this.lab.clientLine(ADMIN, "forward", ...words);
    const process = new LoggedProcess(await shippedWords(line), { cwd: repositoryFolder, reads: "stdout" });
    this.#processes.push(process);
    return process;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#processes.map((each) => each[Symbol.asyncDispose]()));
    await this.lab[Symbol.asyncDispose]();
  }
}

async function story(scene: Scene, signal: AbortSignal): Promise<void> {
  const { lab } = scene;
  step("A management server: keys, certificates and registry in a folder of its own");
  detail(`server:   deno run ${(await shippedFlags(lab.serverLine)).join(" ")}`);
  seen("it runs, and may neither connect anywhere nor run anything");

  signal.throwIfAborted();
  step("A host and an administrator are invited; each makes its own key");
  await Promise.all([lab.joinHost(HOST, { inviteWords: ["--tag", "prod"] }), lab.joinAdmin(ADMIN)]);
  await lab.startAgent(HOST);
  detail(`agent:    deno run ${(await shippedFlags(lab.agentLine(HOST))).join(" ")}`);
  for (const line of textOf(await lab.client(ADMIN, ["hosts"])).trimEnd().split("\n")) seen(line);

  signal.throwIfAborted();
  step("A program on the host, with a mebibyte of random bytes through its standard input");
  await showExec(lab);

  signal.throwIfAborted();
  step("A shell, in a real terminal");
  await showShell(scene);

  signal.throwIfAborted();
  step("A port that only the host can reach");
  await showForward(scene);

  signal.throwIfAborted();
  step("Somebody cuts the cable in the middle of a shell");
  await showCut(scene);

  signal.throwIfAborted();
  step("The host has the last word");
  await showRefusal(lab);

  signal.throwIfAborted();
  step("And the audit has it all");
  const said = textOf(await lab.serverCommand("audit", "--verify"));
  for (const line of said.trimEnd().split("\n")) seen(line);
}

async function showExec(lab: ManageLab): Promise<void> {
  const bytes = randomBytes(MIB);
  const started = performance.now();
  const output = textOf(await lab.client(ADMIN, ["exec", HOST, "--", "sha256sum"], { stdin: bytes }));
  const [hash = ""] = output.split(" ");
  if (hash !== await sha256(bytes)) throw new DemoFailure("the host read other bytes");
  seen(`sha256sum on ${HOST}: ${hash.slice(0, 16)}..., in ${Math.round(performance.now() - started)} ms`);
  const failed: Ended = await lab.client(ADMIN, ["exec", HOST, "--", "sh", "-c", "echo no >&2; exit 3"]);
  if (failed.code !== 3 || !failed.stderr.includes("no")) {
    throw new DemoFailure(`not passed on: ${failed.stderr}`);
  }
  seen("standard error and the exit code of another one came through: 3");
}

async function showShell(scene: Scene): Promise<void> {
  const shell = await scene.terminal("shell", HOST);
  await shell.type("stty size; echo $((6 * 7)) $TERM; exit 7\n");
  await shell.shows(/^42 /m);
  const code = await shell.end();
  if (code !== 7) throw new DemoFailure(`the shell's exit code was not passed on: ${code}`);
  seen("it has the window's size, calculates, and its exit code came back: 7");
}

async function showForward(scene: Scene): Promise<void> {
  using service = new Service();
  const forward = await scene.forward(HOST, `0:127.0.0.1:${service.port}`);
  const { text } = await forward.line((line) => /127\.0\.0\.1:[0-9]+/.test(line.text), { timeoutMs: 20_000 });
  const port = Number(/127\.0\.0\.1:([0-9]+)/.exec(text)?.[1]);
  using connection = await Deno.connect({ hostname: "127.0.0.1", port });
  await connection.write(new TextEncoder().encode("hello through the host"));
  const buffer = new Uint8Array(64);
  const answer = new TextDecoder().decode(buffer.subarray(0, await connection.read(buffer) ?? 0));
  if (answer !== "HELLO THROUGH THE HOST") throw new DemoFailure(`the service did not answer: ${answer}`);
  seen(`${text.trim()}: "${answer}"`);
  await forward.stop("SIGINT");
}

async function showCut(scene: Scene): Promise<void> {
  const { lab } = scene;
  const shell = await scene.terminal("shell", HOST, "--detach");
  await shell.type("n=0; while [ $n -lt 1000 ]; do n=$((n+1)); echo tick=$n; sleep 0.05; done & \n");
  await shell.shows(/tick=3\b/);
  const agentLines = lab.agent(HOST).lines.length;
  lab.cable.cut();
  await lab.agent(HOST).line(({ fields }) => fields["message"] === "link lost", { from: agentLines });
  seen("cut: the host and the client both try again, and the shell goes on working");
  lab.cable.mend();
  const mendedMs = performance.now();
  const before = ticks(shell.screen).length;
  await shell.shows(new RegExp(`tick=${before + 20}\\b`));
  const seconds = ((performance.now() - mendedMs) / 1000).toFixed(1);
  const numbers = ticks(shell.screen);
  if (numbers.some((number, i) => number !== i + 1)) {
    throw new DemoFailure(`lines were lost or doubled: ${numbers}`);
  }
  seen(`mended: after ${seconds} s it is there again, and no line is missing or doubled`);
  await shell.type("kill %1; exit\n");
  await shell.end();
}

function ticks(screen: string): number[] {
  return [...screen.matchAll(/tick=([0-9]+)\r?\n/g)].map(([, number]) => Number(number));
}

async function showRefusal(lab: ManageLab): Promise<void> {
  const path = `${lab.agentDir(HOST)}/agent.toml`;
  const config = await Deno.readTextFile(path);
  const from = lab.agent(HOST).lines.length;
  await Deno.writeTextFile(path, config.replace(/^exec = true$/m, "exec = false"));
  await lab.agent(HOST).line(({ fields }) => fields["message"] === "agent.toml read again", { from });
  const refused = await lab.client(ADMIN, ["exec", HOST, "--", "true"]);
  if (refused.code !== 255) throw new DemoFailure(`it was not refused: ${refused.code}`);
  seen(refused.stderr.trim().split("\n")[0] ?? "");
}

/** The manage job. */
export const manageDemonstration: Demonstration = {
  limitMs: 90_000,
  next: ["Next: docs/manage.md takes you from here to your own hosts."],

  async play(cleanup: AsyncDisposableStack, signal: AbortSignal): Promise<void> {
    const making = ManageLab.make().then((lab) => new Scene(lab));
    let playing: Promise<void> = Promise.resolve();
    cleanup.defer(async () => {
      const scene = await making;
      await scene[Symbol.asyncDispose]();
      await playing.catch(() => {});
    });
    playing = story(await making, signal);
    await playing;
  },
};

/** What docs/manage.md shows, and a reader who types it in one folder of one machine, with ports of here. */
import assert from "node:assert/strict";
import { repositoryFolder } from "../../scripts/lab.ts";
import { moduleCache } from "../cli/module_cache.ts";
import { TempFolder } from "../e2e/temp_folder.ts";
import { until } from "../e2e/until.ts";
import { PageSteps } from "./page.ts";
import { eachText, TypedLine } from "./transfer_page.ts";

/** The page's path. */
export const PAGE = "docs/manage.md";
/** The page. */
export const page: string = await Deno.readTextFile(`${repositoryFolder}/${PAGE}`);

/** The lines of the block marked `<!-- prints: NAME -->`. */
export function printedOnPage(name: string): string {
  const block = new RegExp(`<!-- prints: ${name} -->\n\n\`\`\`\n([\\s\\S]*?)\`\`\``).exec(page)?.[1];
  return block ?? assert.fail(`${PAGE} has a block "${name}"`);
}

/** The files that the page shows behind `<!-- KIND: NAME -->`, by their names. */
export function tomlOnPage(kind: "policy" | "agent"): Map<string, string> {
  const marked = page.matchAll(new RegExp(`<!-- ${kind}: (.*) -->\n\n\`\`\`toml\n([\\s\\S]*?)\`\`\``, "g"));
  return new Map([...marked].map(([, name = "", text = ""]) => [name, text]));
}

/** Rows of the one table of the page whose first header is the given one; cells without quotes. */
export function pageTable(firstHeader: string, secondHeader = ""): string[][] {
  const header = `${firstHeader} +\\| ${secondHeader}`;
  const tables = [...page.matchAll(new RegExp(`^\\| ${header}.*\\n\\|[-| ]*\\|\\n((?:\\|.*\\n)+)`, "gm"))];
  const [rows, ...others] = tables.map(([, each = ""]) => each);
  assert(rows !== undefined && others.length === 0, `there is one table of "${firstHeader}"`);
  return rows.trimEnd().split("\n").map((row) =>
    row.split("|").slice(1, -1).map((cell) => cell.trim().replaceAll("`", ""))
  );
}

/** Ports of loopback that nobody listens on. */
function freePorts(count: number): number[] {
  const listeners = Array.from({ length: count }, () => Deno.listen({ hostname: "127.0.0.1", port: 0 }));
  const ports = listeners.map(({ addr }) => (addr as Deno.NetAddr).port);
  for (const listener of listeners) listener.close();
  return ports;
}

/** A reader with a home, a folder to type in, and a `npx` that starts this Deno. */
export class Reader implements AsyncDisposable {
  readonly #folder: TempFolder;
  readonly #steps: PageSteps;
  readonly #environment: Readonly<Record<string, string>>;
  readonly #shell: string;
  readonly #ports: ReadonlyMap<string, number>;
  readonly #typed: AsyncDisposable[] = [];
  readonly #service: Deno.HttpServer<Deno.NetAddr>;
  #count = 0;
  /** Everything that was said on standard error so far. */
  said = "";

  private constructor(folder: TempFolder, steps: PageSteps, denoDir: string) {
    this.#folder = folder;
    this.#steps = steps;
    this.#environment = {
      PATH: `${folder.path}/bin:${Deno.env.get("PATH")}`,
      HOME: `${folder.path}/home`,
      DENO_DIR: denoDir,
      NO_COLOR: "1",
      TERM: "xterm",
      SHELL: "/bin/sh",
    };
    const shell = steps.take("shell");
    this.#shell = shell.replace("/path/to/postern/", repositoryFolder.replace(/\/?$/, "/"));
    assert.notEqual(this.#shell, shell);
    this.#service = Deno.serve(
      { hostname: "127.0.0.1", port: 0, onListen: (): void => {} },
      () => new Response("it works"),
    );
    const [server = 0, forward = 0, socks = 0] = freePorts(3);
    this.#ports = new Map([
      ["127.0.0.1:7022", server],
      ["127.0.0.1:8088", forward],
      ["8088:localhost", forward],
      ["127.0.0.1:1080", socks],
      ["--socks 1080", socks],
      ["localhost:8000", this.#service.addr.port],
    ]);
  }

  static async make(): Promise<Reader> {
    const folder = await TempFolder.make("manage-page");
    for (const name of ["bin", "home", "desk"]) await Deno.mkdir(`${folder.path}/${name}`);
    const npx =
      `#!/bin/sh\n[ "$1 $2" = "-y deno@2.9" ] || exit 9\nshift 2\necho $$ > "$PID_FILE"\nexec deno "$@"\n`;
    await Deno.writeTextFile(`${folder.path}/bin/npx`, npx, { mode: 0o755 });
    await Deno.symlink(Deno.execPath(), `${folder.path}/bin/deno`);
    return new Reader(folder, await PageSteps.read(PAGE), await moduleCache());
  }

  /** Path of a file in the folder that is typed in, or, with `~`, at home. */
  path(name: string): string {
    return name.startsWith("~")
      ? `${this.#folder.path}/home${name.slice(1)}`
      : `${this.#folder.path}/desk/${name}`;
  }

  /** The text of a step, once. */
  take(step: string): string {
    return this.#steps.take(step);
  }

  /** Throws if a step of the page was left out. */
  requireAllTaken(): void {
    this.#steps.requireAllTaken();
  }

  /** Begins a line that goes on, such as a server's. */
  begin(line: string): TypedLine {
    const pidFile = `${this.#folder.path}/${this.#count++}.pid`;
    const typed = new TypedLine(this.#script(line), {
      cwd: this.path(""),
      env: { ...this.#environment, PID_FILE: pidFile },
      pidFile,
    });
    this.#typed.push({ [Symbol.asyncDispose]: () => typed.end() });
    return typed;
  }

  /** Types a line and gives what it has printed on standard output. */
  async run(line: string, expectedCode = 0): Promise<string> {
    const { code, stdout, stderr } = await new Deno.Command("sh", {
      args: ["-c", this.#script(line)],
      cwd: this.path(""),
      clearEnv: true,
      env: { ...this.#environment, PID_FILE: "/dev/null" },
      stdin: "null",
    }).output();
    const [printed, said] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
    this.said += said;
    assert.equal(code, expectedCode, `${line}\n${printed}${said}`);
    return printed ?? "";
  }

  /** Types a step of the page. */
  async type(step: string): Promise<string> {
    return await this.run(this.take(step));
  }

  /** Types a line at a terminal. */
  terminal(line: string): PageTerminal {
    const terminal = new PageTerminal(this.#script(line), {
      cwd: this.path(""),
      env: { ...this.#environment, PID_FILE: "/dev/null" },
    });
    this.#typed.push(terminal);
    return terminal;
  }

  #script(line: string): string {
    let here = line.replace("/path/to/postern/", repositoryFolder.replace(/\/?$/, "/"));
    for (const [there, port] of this.#ports) {
      here = here.replaceAll(there, there.replace(/[0-9]+$|^8088|(?<= )1080/, String(port)));
    }
    return `${this.#shell}\n${here}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const typed of this.#typed.toReversed()) await typed[Symbol.asyncDispose]();
    await this.#service.shutdown();
    await this.#folder[Symbol.asyncDispose]();
  }
}

/** A line that was typed at the terminal that util-linux's `script` makes. */
export class PageTerminal implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #keyboard: WritableStreamDefaultWriter<Uint8Array>;
  readonly #reading: Promise<void>;
  #hasEnded = false;
  /** What the terminal was sent. */
  shown = "";

  constructor(script: string, options: { readonly cwd: string; readonly env: Record<string, string> }) {
    this.#child = new Deno.Command("script", {
      args: ["-qfec", `stty cols 100 rows 30; ${script}`, "/dev/null"],
      ...options,
      clearEnv: true,
      stdin: "piped",
      stdout: "piped",
      stderr: "null",
    }).spawn();
    this.#keyboard = this.#child.stdin.getWriter();
    this.#reading = eachText(this.#child.stdout, (text) => this.shown += text)
      .then(() => void (this.#hasEnded = true));
  }

  /** Waits until something is on the screen. */
  async shows(pattern: RegExp): Promise<RegExpExecArray> {
    const found = await until(
      `it shows ${pattern}`,
      () => pattern.exec(this.shown) ?? this.#hasEnded,
      { timeoutMs: 20_000 },
    ).catch((error) => assert.fail(`${error}\n${this.shown}`));
    return found === true ? pattern.exec(this.shown) ?? assert.fail(`it ended:\n${this.shown}`) : found;
  }

  async type(keys: string): Promise<void> {
    await this.#keyboard.write(new TextEncoder().encode(keys));
  }

  /** Waits for its end and gives the exit code. */
  async end(): Promise<number> {
    const { code } = await this.#child.status;
    await this.#reading;
    return code;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#keyboard.close().catch(() => {});
    if (!this.#hasEnded) this.#child.kill("SIGKILL");
    await this.end();
  }
}

/** What docs/transfer.md shows, and a reader who types it: as it stands there, with another port and another code. */
import assert from "node:assert/strict";
import { repositoryFolder } from "../../scripts/lab.ts";
import { moduleCache } from "../cli/module_cache.ts";
import { TempFolder } from "../e2e/temp_folder.ts";
import { textOf, until } from "../e2e/until.ts";
import { PageSteps } from "./page.ts";

/** The page's path. */
export const PAGE = "docs/transfer.md";
/** The page. */
export const page: string = await Deno.readTextFile(`${repositoryFolder}/${PAGE}`);
/** The code on the page, which stands for every code. */
export const PAGE_CODE = "482913-apple-river-stone";
const PAGE_RELAY = "127.0.0.1:8080";
const CODE = /\b[0-9]{6}(?:-[a-z]{3,8}){3}\b/g;

/** The lines that the page says are printed, of the block marked `<!-- prints: NAME -->`. */
export function printedOnPage(name: string): string[] {
  const block = new RegExp(`<!-- prints: ${name} -->\n\n\`\`\`\n([\\s\\S]*?)\`\`\``).exec(page)?.[1];
  assert(block !== undefined, `${PAGE} has a block "${name}"`);
  return alike(block);
}

/**
 * Lines without what differs from run to run: code, port, time and speed, how much was sent when, and the lines that tell
 * the progress.
 */
export function alike(text: string): string[] {
  const same = text.replaceAll(CODE, PAGE_CODE)
    .replaceAll(/127\.0\.0\.1:[0-9]+/g, PAGE_RELAY)
    .replaceAll(/ in [0-9.]+ s(?:, [0-9.]+ [kMG]?B\/s)?$/gm, " in TIME")
    .replaceAll(/^[0-9.]+ MB to go, the other [0-9.]+ MB came before$/gm, "N to go, the other N came before");
  return same.split("\n").map((line) => line.trimEnd()).filter((line) =>
    line !== "" && !/^[0-9]+ %: /.test(line)
  );
}

/** Rows of the one table of the page whose first header is the given one; cells without quotes. */
export function pageTable(firstHeader: string): string[][] {
  const tables = [
    ...page.matchAll(new RegExp(`^\\| ${firstHeader} +\\|.*\\n\\|[-| ]*\\|\\n((?:\\|.*\\n)+)`, "gm")),
  ];
  const [rows, ...others] = tables.map(([, rows = ""]) => rows);
  assert(rows !== undefined && others.length === 0, `there is one table of "${firstHeader}"`);
  return rows.trimEnd().split("\n").map((row) =>
    row.split("|").slice(1, -1).map((cell) => cell.trim().replaceAll("`", ""))
  );
}

/** Where a step is typed. */
export interface Terminal {
  /** A folder of the reader, made if it is missing. */
  readonly folder: string;
  /** The code to type instead of the page's. */
  readonly code?: string;
}

/** A reader, with a folder for everything and a `npx` that starts this Deno. */
export class Reader implements AsyncDisposable {
  readonly #folder: TempFolder;
  readonly #steps: PageSteps;
  readonly #denoDir: string;
  readonly #typed: TypedLine[] = [];
  readonly #shell: string;
  #variable = "";
  #port = "0";

  private constructor(folder: TempFolder, steps: PageSteps, denoDir: string) {
    this.#folder = folder;
    this.#steps = steps;
    this.#denoDir = denoDir;
    const shell = steps.take("shell");
    this.#shell = shell.replace("/path/to/postern/", repositoryFolder.replace(/\/?$/, "/"));
    assert.notEqual(this.#shell, shell);
  }

  static async make(): Promise<Reader> {
    const folder = await TempFolder.make("transfer-page");
    await Deno.mkdir(`${folder.path}/bin`);
    const npx =
      `#!/bin/sh\n[ "$1 $2" = "-y deno@2.9" ] || exit 9\nshift 2\necho $$ > "$PID_FILE"\nexec deno "$@"\n`;
    await Deno.writeTextFile(`${folder.path}/bin/npx`, npx, { mode: 0o755 });
    await Deno.symlink(Deno.execPath(), `${folder.path}/bin/deno`);
    return new Reader(folder, await PageSteps.read(PAGE), await moduleCache());
  }

  /** Path of one of the reader's folders. */
  path(name: string): string {
    return `${this.#folder.path}/${name}`;
  }

  /** Every step from here on knows the variable of the page. */
  exportVariable(): void {
    this.#variable = this.#steps.take("variable");
  }

  /** Leaves a step to another test. */
  skip(...names: readonly string[]): void {
    for (const name of names) this.#steps.take(name);
  }

  /** Throws if a step of the page was left out. */
  requireAllTaken(): void {
    this.#steps.requireAllTaken();
  }

  /** Starts the relay of a step; all that is typed from here on goes through it. */
  async startRelay(step: string): Promise<TypedLine> {
    this.#port = "0";
    const relay = await this.type(step, { folder: "relay" });
    const [, port = ""] = await relay.says(/relay ready address=127\.0\.0\.1:([0-9]+)/);
    this.#port = port;
    return relay;
  }

  /** Types a step of the page. */
  async type(step: string, terminal: Terminal): Promise<TypedLine> {
    return await this.run(this.#steps.take(step), terminal);
  }

  /** Types a line that was typed before, or that stands in the text of the page. */
  async run(line: string, terminal: Terminal): Promise<TypedLine> {
    const { folder } = terminal;
    await Deno.mkdir(this.path(folder), { recursive: true });
    const pidFile = this.path(`${this.#typed.length}.pid`);
    const typed = new TypedLine(this.scriptOf(line, terminal), {
      cwd: this.path(folder),
      env: { ...this.environmentOf(folder), PID_FILE: pidFile },
      pidFile,
    });
    this.#typed.push(typed);
    return typed;
  }

  /** What a shell is given for a line. */
  scriptOf(line: string, terminal: Terminal): string {
    return this.here([this.#shell, this.#variable, line].join("\n"), terminal);
  }

  /** A text of the page with the relay's port and the code of here. */
  here(text: string, { code = PAGE_CODE }: Pick<Terminal, "code"> = {}): string {
    return text.replaceAll(PAGE_RELAY, `127.0.0.1:${this.#port}`).replaceAll(PAGE_CODE, code);
  }

  /** The text of a step, for what runs it otherwise. */
  take(step: string): string {
    return this.#steps.take(step);
  }

  /** Each folder is a person of its own, with a home. */
  environmentOf(folder: string): Record<string, string> {
    return {
      PATH: `${this.path("bin")}:${Deno.env.get("PATH")}`,
      HOME: this.path(`home-${folder}`),
      DENO_DIR: this.#denoDir,
      NO_COLOR: "1",
      PID_FILE: "/dev/null",
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const typed of this.#typed) await typed.end();
    await this.#folder[Symbol.asyncDispose]();
  }
}

/** A line that was typed, at work. */
export class TypedLine {
  readonly #child: Deno.ChildProcess;
  readonly #pidFile: string;
  readonly #reading: Promise<unknown>;
  stdout = "";
  stderr = "";
  #hasEnded = false;

  constructor(
    script: string,
    options: { readonly cwd: string; readonly env: Record<string, string>; readonly pidFile: string },
  ) {
    const { cwd, env, pidFile } = options;
    this.#pidFile = pidFile;
    this.#child = new Deno.Command("sh", {
      args: ["-c", script],
      cwd,
      clearEnv: true,
      env,
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.#reading = Promise.all([
      eachText(this.#child.stdout, (text) => this.stdout += text),
      eachText(this.#child.stderr, (text) => this.stderr += text),
    ]);
    void this.#reading.then(() => this.#hasEnded = true);
  }

  /** Waits until it has said something, on either stream. */
  async says(pattern: RegExp): Promise<RegExpExecArray> {
    const found = await until(
      `it says ${pattern}`,
      () => pattern.exec(`${this.stdout}\n${this.stderr}`) ?? this.#hasEnded,
      { timeoutMs: 30_000 },
    );
    if (found !== true) return found;
    return pattern.exec(`${this.stdout}\n${this.stderr}`) ??
      assert.fail(`it ended, and said:\n${this.#said()}`);
  }

  /** The code that a share has printed. */
  async code(): Promise<string> {
    const [, code = ""] = await this.says(/^([0-9]{6}-[a-z]+-[a-z]+-[a-z]+)$/m);
    return code;
  }

  /** Waits for its end, which must be a good one. */
  async succeeds(): Promise<void> {
    const { code } = await this.#child.status;
    await this.#reading;
    assert.equal(code, 0, this.#said());
  }

  /** Everything it said. */
  get lines(): string[] {
    return alike(`${this.stdout}${this.stderr}`);
  }

  /** Sends a signal to the program itself, and waits for its end. */
  async kill(signal: Deno.Signal): Promise<void> {
    const pid = Number(await textOf(this.#pidFile));
    assert(pid > 0, "it has started");
    if (!this.#hasEnded) Deno.kill(pid, signal);
    await this.#child.status;
    await this.#reading;
  }

  /** Ends it if it still runs. */
  async end(): Promise<void> {
    if (!this.#hasEnded) await this.kill("SIGKILL");
  }

  #said(): string {
    return `${this.stdout}\n---\n${this.stderr}`;
  }
}

/** Reads a stream as it comes. */
export async function eachText(
  stream: ReadableStream<Uint8Array>,
  take: (text: string) => unknown,
): Promise<void> {
  const decoder = new TextDecoder();
  for await (const chunk of stream) await take(decoder.decode(chunk, { stream: true }));
}

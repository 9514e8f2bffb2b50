/** Runs an example as its head comment says: the same words, as a process of its own. */
import assert from "node:assert/strict";

const ROOT = new URL("../..", import.meta.url).pathname;
const TIMEOUT_MS = 30_000;

/** What an example needs of the machine besides its command. */
export interface ExampleOptions {
  /** Takes the place of what the command says behind the path of the example. */
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

/** An example at work. */
export class Example implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #output: ReadableStreamDefaultReader<string>;
  readonly #errors: Promise<string>;
  readonly #watchdog: ReturnType<typeof setTimeout>;
  readonly #path: string;
  #text = "";

  private constructor(path: string, child: Deno.ChildProcess) {
    this.#path = path;
    this.#child = child;
    this.#output = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
    this.#errors = new Response(child.stderr).text();
    this.#watchdog = setTimeout(() => this.#kill(), TIMEOUT_MS);
  }

  /** @param path below `examples/` */
  static async start(path: string, { args, env = {} }: ExampleOptions = {}): Promise<Example> {
    const [program, ...words] = await commandOf(path);
    assert.equal(program, "deno");
    const at = words.indexOf(`examples/${path}`);
    assert.ok(at > 0, `the command in examples/${path} names another file`);
    const command = new Deno.Command(Deno.execPath(), {
      args: ["run", "--quiet", "--no-prompt", ...words.slice(1, at + 1), ...args ?? words.slice(at + 1)],
      cwd: ROOT,
      env: { NO_COLOR: "1", ...env },
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    });
    return new Example(path, command.spawn());
  }

  /** Waits until it has printed this; returns everything it has printed so far. */
  async printed(text: string): Promise<string> {
    while (!this.#text.includes(text)) {
      if (!await this.#readMore()) {
        assert.fail(`${this.#path} ended without "${text}":\n${this.#text}${await this.#errors}`);
      }
    }
    return this.#text;
  }

  /** Waits for its own end, which must be a good one; returns what it printed. */
  async finished(): Promise<string> {
    while (await this.#readMore());
    const { success } = await this.#child.status;
    assert.ok(success, `${this.#path} failed:\n${this.#text}${await this.#errors}`);
    assert.equal(await this.#errors, "");
    return this.#text;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#kill();
    clearTimeout(this.#watchdog);
    await this.#child.status;
    await this.#output.cancel();
    await this.#errors;
  }

  async #readMore(): Promise<boolean> {
    const { value } = await this.#output.read();
    this.#text += value ?? "";
    return value !== undefined;
  }

  #kill(): void {
    try {
      this.#child.kill("SIGKILL");
    } catch {
      // It has gone already.
    }
  }
}

/** The one command of the head comment, in words. */
async function commandOf(path: string): Promise<string[]> {
  const text = await Deno.readTextFile(`${ROOT}examples/${path}`);
  const commands = text.matchAll(/^ \* {3}(deno run .+)$/gm).map((match) => match[1] ?? "").toArray();
  assert.equal(commands.length, 1, `examples/${path} wants one command in its head comment`);
  return commands[0]?.split(" ") ?? [];
}

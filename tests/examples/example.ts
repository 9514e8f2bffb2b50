/** Runs an example as its head comment says: the same words, as a process of its own. */
import assert from "node:assert/strict";
import { WatchedProgram } from "../watched_program.ts";

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
  readonly #program: WatchedProgram;
  readonly #path: string;

  private constructor(path: string, program: WatchedProgram) {
    this.#path = path;
    this.#program = program;
  }

  /** @param path below `examples/` */
  static async start(path: string, { args, env = {} }: ExampleOptions = {}): Promise<Example> {
    const [program, ...words] = await commandOf(path);
    assert.equal(program, "deno");
    const at = words.indexOf(`examples/${path}`);
    assert.ok(at > 0, `the command in examples/${path} names another file`);
    const all = ["run", "--quiet", "--no-prompt", ...words.slice(1, at + 1), ...args ?? words.slice(at + 1)];
    const started = { args: all, cwd: ROOT, env, timeoutMs: TIMEOUT_MS };
    return new Example(path, new WatchedProgram(Deno.execPath(), started));
  }

  /** Waits until it has printed this; returns everything it has printed so far. */
  async printed(text: string): Promise<string> {
    const program = this.#program;
    if (!await program.readUntil((printed) => printed.includes(text))) {
      assert.fail(`${this.#path} ended without "${text}":\n${program.text}${await program.errors}`);
    }
    return program.text;
  }

  /** Waits for its own end, which must be a good one; returns what it printed. */
  async finished(): Promise<string> {
    const program = this.#program;
    const isGood = await program.finished();
    assert.ok(isGood, `${this.#path} failed:\n${program.text}${await program.errors}`);
    assert.equal(await program.errors, "");
    return program.text;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#program.end();
  }
}

/** The one command of the head comment, in words. */
async function commandOf(path: string): Promise<string[]> {
  const text = await Deno.readTextFile(`${ROOT}examples/${path}`);
  const commands = text.matchAll(/^ \* {3}(deno run .+)$/gm).map((match) => match[1] ?? "").toArray();
  assert.equal(commands.length, 1, `examples/${path} wants one command in its head comment`);
  return commands[0]?.split(" ") ?? [];
}

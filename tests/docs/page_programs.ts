/**
 * The programs of a page, run as a reader would run them.
 *
 * A `ts` block whose first line names a file (`// server.ts`) is that file; all of them lie in one folder. The `json`
 * block is the folder's deno.json. A `console` block is a session in it: each line after `$ ` is a command for the
 * shell, on as many lines as end in `\`, and the lines up to the next one are what it prints, all of it. A command that ends in ` &` runs on until the
 * session is over; what it prints is waited for. A line `...` stands for any lines. Times, as in `(6s)`, may differ.
 */
import assert from "node:assert/strict";
import { exampleFileName, typescriptBlocks } from "../../scripts/doc_examples.ts";
import { repositoryFolder } from "../../scripts/lab.ts";
import { WatchedProgram } from "../watched_program.ts";

/** Longest time for one command. */
const TIMEOUT_MS = 90_000;
/** The port that the page writes; the test takes a free one. */
const PAGE_PORT = /\b7412\b/g;

/** One command and what it prints. */
export interface PageCommand {
  /** For the shell, without the ` &`. */
  readonly line: string;
  readonly runsOn: boolean;
  readonly output: string;
}

/** Everything on a page that is run. */
export interface PagePrograms {
  readonly config: string;
  readonly files: ReadonlyMap<string, string>;
  readonly sessions: readonly (readonly PageCommand[])[];
}

/** Reads a page. A block that nobody runs fails here. */
export async function pagePrograms(path: string): Promise<PagePrograms> {
  const text = await Deno.readTextFile(`${repositoryFolder}/${path}`);
  const files = new Map<string, string>();
  for (const block of typescriptBlocks(path, text)) {
    const name = exampleFileName(block);
    assert(name !== null, `${path}: this block does not say which file it is:\n${block}`);
    assert(!files.has(name), `${path}: there are two files "${name}"`);
    files.set(name, block);
  }
  const [config, ...otherConfigs] = blocksOf(text, "json");
  assert(config !== undefined && otherConfigs.length === 0, `${path}: one json block is the deno.json`);
  const sessions = blocksOf(text, "console").map(commandsOf);
  return { config, files, sessions };
}

function blocksOf(text: string, language: string): string[] {
  return [...text.matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\`$`, "gm"))].map((
    [, block = ""],
  ) => block);
}

function commandsOf(session: string): PageCommand[] {
  return session.split(/^\$ /m).slice(1).map((part) => {
    const [, first = "", output = ""] = /^((?:.*\\\n)*.*)\n([\s\S]*)$/.exec(part) ?? [];
    const line = first.replace(/ &$/, "");
    return { line, runsOn: line !== first, output };
  });
}

/** A folder with all files of a page, and a `deno` in front of the `PATH`. */
export class PageFolder implements AsyncDisposable {
  readonly path: string;
  readonly #programs: PagePrograms;
  readonly #background: Program[] = [];
  #port = "0";

  private constructor(path: string, programs: PagePrograms) {
    this.path = path;
    this.#programs = programs;
  }

  static async make(programs: PagePrograms): Promise<PageFolder> {
    const folder = new PageFolder(await Deno.makeTempDir({ prefix: "postern-page-" }), programs);
    await Deno.mkdir(`${folder.path}/bin`);
    await Deno.symlink(Deno.execPath(), `${folder.path}/bin/deno`);
    await Deno.mkdir(`${folder.path}/run`, { mode: 0o700 });
    const config = programs.config.replace("/path/to/postern/", `${repositoryFolder.replace(/\/?$/, "/")}`);
    assert.notEqual(config, programs.config);
    await Deno.writeTextFile(`${folder.path}/deno.json`, config);
    await folder.#writeFiles();
    return folder;
  }

  /** Runs a session; what is printed must be what the page says. */
  async run(session: readonly PageCommand[]): Promise<void> {
    try {
      for (const { line, runsOn, output } of session) {
        const program = new Program(line.replaceAll(PAGE_PORT, this.#port), this.path);
        this.#background.push(program);
        if (!runsOn) await program.finished(line, output);
        else await this.#takePort(await program.printed(output.split("\n").length - 1), line, output);
      }
    } catch (error) {
      throw new Error(`${error}\nand in the background:\n${await this.#endAll()}`, { cause: error });
    } finally {
      await this.#endAll();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#endAll();
    await Deno.remove(this.path, { recursive: true });
  }

  /** What listens says on which port; the rest of the session connects there. */
  async #takePort(printed: string, line: string, promised: string): Promise<void> {
    const port = /:(\d+)\n/.exec(printed)?.[1];
    if (port !== undefined) {
      this.#port = port;
      await this.#writeFiles();
    }
    assert.equal(printed, promised.replaceAll(PAGE_PORT, this.#port), line);
  }

  /** Gives what they said on standard error. */
  async #endAll(): Promise<string> {
    let errors = "";
    for (const program of this.#background.splice(0)) errors += await program.end();
    this.#port = "0";
    await this.#writeFiles();
    return errors;
  }

  async #writeFiles(): Promise<void> {
    for (const [name, text] of this.#programs.files) {
      await Deno.writeTextFile(`${this.path}/${name}`, text.replaceAll(PAGE_PORT, this.#port));
    }
  }
}

/** One command at work. */
class Program {
  readonly #program: WatchedProgram;

  constructor(line: string, folder: string) {
    this.#program = new WatchedProgram("sh", {
      args: ["-c", `exec ${line}`],
      cwd: folder,
      env: { PATH: `${folder}/bin:${Deno.env.get("PATH")}`, XDG_RUNTIME_DIR: `${folder}/run` },
      timeoutMs: TIMEOUT_MS,
    });
  }

  /** Waits for so many lines. */
  async printed(lines: number): Promise<string> {
    const program = this.#program;
    if (!await program.readUntil((text) => text.split("\n").length - 1 >= lines)) {
      assert.fail(`it ended early:\n${program.text}${await program.errors}`);
    }
    return program.text;
  }

  /** Waits for its good end; it must have printed just that. */
  async finished(line: string, promised: string): Promise<void> {
    const program = this.#program;
    const isGood = await program.finished();
    const { text } = program;
    assert(isGood, `${line} failed:\n${text}${await program.errors}`);
    const seen = promised.startsWith("...\n") ? lastLines(text, promised) : text;
    assert.equal(withoutTimes(seen), withoutTimes(promised), `${line}\n${text}`);
  }

  /** Gives what it said on standard error. */
  end(): Promise<string> {
    return this.#program.end();
  }
}

/** The end of a text, as many lines of it as are promised behind `...`. */
function lastLines(text: string, promised: string): string {
  const lines = text.trim().split("\n");
  return `...\n${lines.slice(lines.length - (promised.trim().split("\n").length - 1)).join("\n")}\n`;
}

function withoutTimes(text: string): string {
  return text.replaceAll(/\((?:\d+m)?\d+m?s\)/g, "(1s)");
}

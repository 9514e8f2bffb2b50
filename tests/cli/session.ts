/**
 * Reads the session files in `sessions/`, and finds where a run differs from one.
 *
 * A file is one test: a list of steps in one empty folder. Words in braces are filled in by the runner: {KEY} and
 * {KEY2} are keys, {PORT} a UDP port that is listened on, {TCP} a TCP port that is closed, {DIR} the folder.
 *
 *   # a comment
 *   write NAME MODE          makes a file of the lines that follow, each after "| "
 *   $ client send -a ...     runs `deno run FLAGS main.ts client send -a ...`
 *   allow --allow-net        its permission flags; required, "allow none" for none
 *   env NAME=VALUE           one more variable of its environment
 *   stdin TEXT               its standard input; empty if absent
 *   exit 0                   its exit code; required
 *   out| LINE                its whole standard output, line by line, each ended by a line feed; none if absent
 *   out~ REGEX               ... or a pattern for the whole of it
 *   err= LINE                one line of its standard error, in order; there must be no others
 *   err~ REGEX               ... or a pattern for that line
 *   datagrams N              how many datagrams of 94 bytes arrived at {PORT}; 0 if absent
 *   file NAME MODE BYTES     a file that must be there afterwards
 *   nofile NAME              a file that must not
 */

/** One expectation on one line of standard error. */
export interface LineExpectation {
  readonly isPattern: boolean;
  readonly text: string;
}

export interface RunStep {
  readonly kind: "run";
  /** Line number in the session file, for messages. */
  readonly line: number;
  readonly words: readonly string[];
  readonly flags: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly stdin: string;
  readonly exit: number;
  readonly stdout: { readonly isPattern: boolean; readonly text: string };
  readonly stderr: readonly LineExpectation[];
  readonly datagrams: number;
  readonly files: readonly { readonly name: string; readonly mode: number; readonly bytes: number }[];
  readonly noFiles: readonly string[];
}

export interface WriteStep {
  readonly kind: "write";
  readonly name: string;
  readonly mode: number;
  readonly text: string;
}

export type Step = RunStep | WriteStep;

/** What a run did. `files` has mode and length of those the step names, null for one that is not there. */
export interface Outcome {
  readonly exit: number;
  readonly stdout: string;
  readonly stderr: string;
  readonly datagramBytes: readonly number[];
  readonly files: Readonly<Record<string, { readonly mode: number; readonly bytes: number } | null>>;
}

const PACKET_BYTES = 94;

/**
 * Parses a session.
 *
 * @throws {Error} with the line number for anything it does not understand: a typo must not weaken a test
 */
export function parseSession(text: string, variables: Readonly<Record<string, string>>): Step[] {
  const steps: Step[] = [];
  let draft: Draft | null = null;
  text.split("\n").forEach((raw, index) => {
    const line = raw.replace(/\{([A-Z0-9]+)\}/g, (whole, name: string) => variables[name] ?? whole);
    if (line === "" || line.startsWith("#")) return;
    const [, verb = "", rest = ""] = /^(\S+)(?: (.*))?$/.exec(line) ?? [];
    if (verb === "$" || verb === "write") {
      if (draft !== null) steps.push(draft.finish());
      draft = verb === "$" ? new RunDraft(index + 1, rest) : new WriteDraft(rest);
    } else if (draft === null || !draft.take(verb, rest)) {
      throw new Error(`line ${index + 1}: cannot read "${line}"`);
    }
  });
  // The closure above hides the assignments from the type checker.
  const last = draft as Draft | null;
  if (last !== null) steps.push(last.finish());
  return steps;
}

interface Draft {
  take(verb: string, rest: string): boolean;
  finish(): Step;
}

class WriteDraft implements Draft {
  readonly #name: string;
  readonly #mode: number;
  #text = "";

  constructor(rest: string) {
    const [, name, mode] = /^(\S+) (0[0-7]{3})$/.exec(rest) ?? [];
    if (name === undefined || mode === undefined) throw new Error(`cannot read "write ${rest}"`);
    this.#name = name;
    this.#mode = parseInt(mode, 8);
  }

  take(verb: string, rest: string): boolean {
    if (verb !== "|") return false;
    this.#text += `${rest}\n`;
    return true;
  }

  finish(): Step {
    return { kind: "write", name: this.#name, mode: this.#mode, text: this.#text };
  }
}

class RunDraft implements Draft {
  readonly #line: number;
  readonly #words: readonly string[];
  #flags: readonly string[] | null = null;
  readonly #env: Record<string, string> = {};
  #stdin = "";
  #exit: number | null = null;
  #stdout = "";
  #stdoutPattern: string | null = null;
  readonly #stderr: LineExpectation[] = [];
  #datagrams = 0;
  readonly #files: { name: string; mode: number; bytes: number }[] = [];
  readonly #noFiles: string[] = [];

  constructor(line: number, rest: string) {
    this.#line = line;
    this.#words = splitWords(rest);
  }

  take(verb: string, rest: string): boolean {
    switch (verb) {
      case "allow":
        this.#flags = rest === "none" ? [] : rest.split(" ");
        return true;
      case "env": {
        const [name = "", ...value] = rest.split("=");
        this.#env[name] = value.join("=");
        return true;
      }
      case "stdin":
        this.#stdin = rest;
        return true;
      case "exit":
        this.#exit = Number(rest);
        return true;
      case "out|":
        this.#stdout += `${rest}\n`;
        return true;
      case "out~":
        this.#stdoutPattern = rest;
        return true;
      case "err=":
      case "err~":
        this.#stderr.push({ isPattern: verb === "err~", text: rest });
        return true;
      case "datagrams":
        this.#datagrams = Number(rest);
        return true;
      case "file": {
        const [name = "", mode = "", bytes = ""] = rest.split(" ");
        this.#files.push({ name, mode: parseInt(mode, 8), bytes: Number(bytes) });
        return true;
      }
      case "nofile":
        this.#noFiles.push(rest);
        return true;
      default:
        return false;
    }
  }

  finish(): Step {
    if (this.#flags === null || this.#exit === null) {
      throw new Error(`line ${this.#line}: "allow" and "exit" are required`);
    }
    return {
      kind: "run",
      line: this.#line,
      words: this.#words,
      flags: this.#flags,
      env: this.#env,
      stdin: this.#stdin,
      exit: this.#exit,
      stdout: this.#stdoutPattern === null
        ? { isPattern: false, text: this.#stdout }
        : { isPattern: true, text: this.#stdoutPattern },
      stderr: this.#stderr,
      datagrams: this.#datagrams,
      files: this.#files,
      noFiles: this.#noFiles,
    };
  }
}

/** Words as a shell splits them, with single quotes alone. */
function splitWords(text: string): string[] {
  return [...text.matchAll(/'([^']*)'|(\S+)/g)].map(([, quoted, bare]) => quoted ?? bare ?? "");
}

/** Every way in which `outcome` is not what `step` expects, in words. */
export function differences(step: RunStep, outcome: Outcome): string[] {
  const found: string[] = [];
  if (outcome.exit !== step.exit) found.push(`exit ${outcome.exit}, expected ${step.exit}`);
  const isStdoutRight = step.stdout.isPattern
    ? new RegExp(step.stdout.text, "s").test(outcome.stdout)
    : outcome.stdout === step.stdout.text;
  if (!isStdoutRight) {
    found.push(`stdout ${JSON.stringify(outcome.stdout)}, expected ${JSON.stringify(step.stdout.text)}`);
  }
  const errorLines = outcome.stderr === "" ? [] : outcome.stderr.replace(/\n$/, "").split("\n");
  const isStderrRight = errorLines.length === step.stderr.length &&
    step.stderr.every(({ isPattern, text }, i) =>
      isPattern ? new RegExp(text).test(errorLines[i] ?? "") : errorLines[i] === text
    );
  if (!isStderrRight) {
    found.push(
      `stderr\n    ${errorLines.join("\n    ")}\n  expected\n    ` +
        step.stderr.map(({ isPattern, text }) => (isPattern ? "~ " : "= ") + text).join("\n    "),
    );
  }
  const expectedBytes = Array.from({ length: step.datagrams }, () => PACKET_BYTES);
  if (outcome.datagramBytes.join() !== expectedBytes.join()) {
    found.push(`datagrams of [${outcome.datagramBytes}] bytes, expected [${expectedBytes}]`);
  }
  for (const { name, mode, bytes } of step.files) {
    const file = outcome.files[name];
    if (file?.mode !== mode || file.bytes !== bytes) {
      found.push(`file ${name} is ${JSON.stringify(file)}, expected mode ${mode} and ${bytes} bytes`);
    }
  }
  for (const name of step.noFiles) {
    if (outcome.files[name] !== null) found.push(`file ${name} is there, expected none`);
  }
  return found;
}

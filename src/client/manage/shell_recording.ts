/** A recording of what a shell shows, made where it is shown, for `client replay`. */
import { AsciicastEncoder } from "../../protocol/manage/asciicast.ts";
import type { WindowSize } from "../../protocol/manage/session_contract.ts";
import type { Timers } from "../../protocol/rpc/timers.ts";
import { describeError, Failure } from "../../system/failure.ts";

const PRIVATE_MODE = 0o600;
const MS_PER_SECOND = 1000;

/** What is recorded. */
export interface RecordingStart extends WindowSize {
  readonly path: string;
  /** Name of the host; the title of the recording. */
  readonly title: string;
  readonly term: string;
  /** Milliseconds since 1970. */
  readonly wallMs: number;
  readonly timers: Timers;
  /** Told once if the recording cannot go on; the shell does. */
  readonly onNotice: (line: string) => void;
}

/** One recording. It is written at once: what was shown before a crash is in it. */
export class ShellRecording {
  readonly #start: RecordingStart;
  readonly #file: Deno.FsFile;
  readonly #sinceMs: number;
  readonly #encoder = new AsciicastEncoder();
  readonly #text = new TextEncoder();
  #isOpen = true;
  #isEmpty = true;

  private constructor(start: RecordingStart, file: Deno.FsFile) {
    this.#start = start;
    this.#file = file;
    this.#sinceMs = start.timers.monotonicMs();
  }

  /**
   * Begins one, in a new file that nobody else can read: what a shell shows may be secret.
   *
   * @throws {Failure} if the file is there already or cannot be written
   */
  static create(start: RecordingStart): ShellRecording {
    const { path, title, term, rows, columns, wallMs } = start;
    let file: Deno.FsFile;
    try {
      file = Deno.openSync(path, { write: true, createNew: true, mode: PRIVATE_MODE });
    } catch (cause) {
      if (cause instanceof Deno.errors.AlreadyExists) {
        throw new Failure(`cannot record to ${path}: it is there already, accepted is a new file`);
      }
      throw new Failure(`cannot record to ${path}`, { cause });
    }
    const recording = new ShellRecording(start, file);
    recording.#add(
      recording.#encoder.header({
        width: columns,
        height: rows,
        timestamp: wallMs / MS_PER_SECOND,
        title,
        term,
      }),
    );
    return recording;
  }

  /** Something was shown. */
  output(bytes: Uint8Array): void {
    this.#isEmpty = false;
    this.#add(this.#encoder.output(bytes, this.#nowMs()));
  }

  /** The window has another size. */
  resize({ rows, columns }: WindowSize): void {
    this.#add(this.#encoder.resize(rows, columns, this.#nowMs()));
  }

  /** Ends it. A recording of nothing is taken away, so that the same command can be run again. */
  close(): void {
    if (!this.#isOpen) return;
    this.#add(this.#encoder.end(this.#nowMs()));
    this.#isOpen = false;
    this.#file.close();
    if (!this.#isEmpty) return;
    try {
      Deno.removeSync(this.#start.path);
    } catch {
      // It is empty and no harm.
    }
  }

  #nowMs(): number {
    return this.#start.timers.monotonicMs() - this.#sinceMs;
  }

  #add(line: string): void {
    if (!this.#isOpen) return;
    try {
      for (let rest = this.#text.encode(line); rest.length > 0;) {
        rest = rest.subarray(this.#file.writeSync(rest));
      }
    } catch (error) {
      this.#isOpen = false;
      this.#file.close();
      this.#start.onNotice(
        `warning: the recording in ${this.#start.path} ends here: ${describeError(error)}`,
      );
    }
  }
}

/**
 * Recordings of shells, made by the host when `record` of agent.toml names a folder: asciicast v2, a file for each
 * session.
 *
 * Fail closed: a shell that is to be recorded and cannot be is refused, and one whose recording breaks off (a full
 * disk) is ended before anything is shown that is not recorded. Else whoever has a shell could end its recording by
 * filling the disk.
 */
import { AsciicastEncoder } from "../../../protocol/manage/asciicast.ts";
import type { WindowSize } from "../../../protocol/manage/session_contract.ts";
import type { Timers } from "../../../protocol/rpc/timers.ts";
import { type Clock, systemClock } from "../../../system/clock.ts";

const MS_PER_SECOND = 1000;

/** What a recording begins with. */
export interface RecordingStart extends WindowSize {
  readonly folder: string;
  /** 16 hexadecimal digits. */
  readonly session: string;
  readonly adminName: string;
  readonly term: string;
  readonly timers: Timers;
  /** For the names of files and the header. @default systemClock */
  readonly clock?: Clock;
}

/** A file that grows. */
export class Recording {
  readonly #file: Deno.FsFile;
  readonly #timers: Timers;
  readonly #startedMs: number;
  readonly #encoder = new AsciicastEncoder();
  /** Writes one after the other: output and sizes come from different places. */
  #written: Promise<void> = Promise.resolve();

  private constructor(file: Deno.FsFile, timers: Timers) {
    this.#file = file;
    this.#timers = timers;
    this.#startedMs = timers.monotonicMs();
  }

  /**
   * Creates the file, `DATE-SESSION.cast` of mode 0600.
   *
   * @throws {Error} of the runtime when it cannot be written
   */
  static async start(start: RecordingStart): Promise<Recording> {
    const { folder, session, adminName, term, rows, columns, timers, clock = systemClock } = start;
    const wallMs = clock.wallMs();
    const date = new Date(wallMs).toISOString().replace(/[-:]/g, "").replace(/\.[0-9]+/, "");
    const path = `${folder}/${date}-${session}.cast`;
    const file = await Deno.open(path, { write: true, createNew: true, mode: 0o600 });
    const recording = new Recording(file, timers);
    const header = {
      width: columns,
      height: rows,
      timestamp: wallMs / MS_PER_SECOND,
      title: adminName,
      term,
    };
    try {
      await recording.#write(recording.#encoder.header(header));
    } catch (error) {
      file.close();
      throw error;
    }
    return recording;
  }

  /** Output; recorded when it settles. */
  output(bytes: Uint8Array): Promise<void> {
    return this.#write(this.#encoder.output(bytes, this.#sinceStartMs()));
  }

  /** Another size. */
  resize({ rows, columns }: WindowSize): Promise<void> {
    return this.#write(this.#encoder.resize(rows, columns, this.#sinceStartMs()));
  }

  /** Writes what is left and closes the file; never rejects. */
  async end(): Promise<void> {
    await this.#write(this.#encoder.end(this.#sinceStartMs())).catch(() => {});
    this.#file.close();
  }

  #sinceStartMs(): number {
    return this.#timers.monotonicMs() - this.#startedMs;
  }

  #write(lines: string): Promise<void> {
    if (lines !== "") {
      this.#written = this.#written.then(() => this.#writeAll(new TextEncoder().encode(lines)));
    }
    return this.#written;
  }

  async #writeAll(bytes: Uint8Array): Promise<void> {
    for (let rest = bytes; rest.length > 0;) {
      rest = rest.subarray(await this.#file.write(rest));
    }
  }
}

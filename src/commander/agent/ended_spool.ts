/**
 * What the audit must hear of, over kills and power cuts: every session that was begun is told as ended, once or more
 * often, until the server has it in its own files.
 *
 *   open  -> sessions.json with its id        before the administrator is answered
 *   over  -> ended/ID.json                    before the session counts as over
 *         -> sessions.json without it
 *   acknowledged -> ended/ID.json removed
 *   start -> whatever sessions.json names and has no file in ended/: the agent was killed; it is told as "agent_stopped"
 *
 * Killed between any two of these steps, no session is forgotten, and one that has its row never gets another.
 *
 * A disk that takes nothing, full or read-only, stops none of them: it is what administrators come to put right. The
 * server has the row of the open, and hears of the end from memory; lost is only the end of a session that an agent did
 * not outlive meanwhile.
 */
import type { EndedSession } from "../../protocol/manage/control_contract.ts";
import { checkEndedSession } from "../../protocol/manage/control_schemas.ts";
import { type FileLayer, systemFiles, writeFileDurably } from "../../system/durable_file.ts";
import { describeError, Failure } from "../../system/failure.ts";
import type { Log, LogFields } from "../../system/log.ts";
import { joinPath } from "../../system/path.ts";

const SESSION_ID = /^[0-9a-f]{16}$/;
const ROW_FILE = /^([0-9a-f]{16})\.json$/;

/** Where the rows lie. */
export interface SpoolPlaces {
  /** Folder, which exists. */
  readonly endedFolder: string;
  /** File. */
  readonly sessionsPath: string;
}

/** The spool. One process at a time uses its places. */
export class EndedSpool {
  readonly #places: SpoolPlaces;
  readonly #files: FileLayer;
  readonly #log: Log;
  readonly #open = new Set<string>();
  readonly #rows = new Map<string, EndedSession>();
  #lastWrite: Promise<void> = Promise.resolve();

  private constructor(places: SpoolPlaces, files: FileLayer, log: Log) {
    this.#places = places;
    this.#files = files;
    this.#log = log;
  }

  /**
   * Reads what is there and ends what a killed agent left open.
   *
   * @throws {Failure} if it cannot be read
   */
  static async open(places: SpoolPlaces, log: Log, files: FileLayer = systemFiles): Promise<EndedSpool> {
    const spool = new EndedSpool(places, files, log);
    await spool.#readRows();
    const left = (await readOpenIds(places.sessionsPath, log)).filter((id) => !spool.#rows.has(id));
    for (const session of left) spool.#open.add(session);
    for (const session of left) await spool.ended(stoppedRow(session));
    if (left.length === 0) await spool.#keepOpen();
    else log.warn("sessions were cut off by the end of the last agent", { count: left.length });
    return spool;
  }

  /** A session begins; durable when this resolves, where the disk takes it. */
  async began(session: string): Promise<void> {
    this.#open.add(session);
    await this.#keepOpen();
  }

  /** A session that was to begin did not; the server is told by the refusal. */
  async neverBegan(session: string): Promise<void> {
    this.#open.delete(session);
    await this.#keepOpen();
  }

  /** A session is over; durable when this resolves, where the disk takes it. */
  async ended(row: EndedSession): Promise<void> {
    const { session } = row;
    const isKept = this.#rows.has(session) || await this.#keep({ session }, () => this.#writeRow(row));
    this.#rows.set(session, row);
    // Else sessions.json is all that the next start would know of it by, so it stays there.
    if (!isKept) return;
    this.#open.delete(session);
    await this.#keepOpen();
  }

  /** What waits to be told, the oldest of this run last read first. */
  pending(): EndedSession[] {
    return [...this.#rows.values()];
  }

  /** The server has this row; it is forgotten. @throws {Failure} */
  async acknowledged(session: string): Promise<void> {
    if (!this.#rows.delete(session)) return;
    if (this.#open.delete(session)) await this.#keepOpen();
    try {
      await this.#files.remove(this.#rowPath(session));
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) {
        throw new Failure(`could not remove ${this.#rowPath(session)}`, { cause: error });
      }
    }
  }

  #rowPath(session: string): string {
    return joinPath(this.#places.endedFolder, `${session}.json`);
  }

  async #writeRow(row: EndedSession): Promise<void> {
    await writeFileDurably(this.#rowPath(row.session), jsonBytes(row), {
      files: this.#files,
      soleWriter: true,
    });
  }

  /** Whether it could be written. */
  async #keep(what: LogFields, write: () => Promise<void>): Promise<boolean> {
    try {
      await write();
      return true;
    } catch (error) {
      this.#log.error("sessions cannot be kept on disk", { ...what, error: describeError(error) });
      return false;
    }
  }

  #keepOpen(): Promise<boolean> {
    return this.#keep({ open: this.#open.size }, () => this.#writeOpen());
  }

  /** One write at a time, each of what is open when it begins. */
  #writeOpen(): Promise<void> {
    const write = this.#lastWrite.then(() =>
      writeFileDurably(this.#places.sessionsPath, jsonBytes([...this.#open]), {
        files: this.#files,
        soleWriter: true,
      })
    );
    this.#lastWrite = write.catch(() => {});
    return write;
  }

  async #readRows(): Promise<void> {
    for await (const entry of Deno.readDir(this.#places.endedFolder)) {
      const session = ROW_FILE.exec(entry.name)?.[1];
      if (session === undefined) continue;
      // A row that cannot be read still says that the session is over.
      this.#rows.set(
        session,
        await readRow(this.#rowPath(session), session, this.#log) ?? stoppedRow(session),
      );
    }
  }
}

function stoppedRow(session: string): EndedSession {
  return { session, ending: "agent_stopped", exitCode: null, bytesIn: 0, bytesOut: 0, durationMs: 0 };
}

function jsonBytes(value: unknown): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(`${JSON.stringify(value)}\n`);
}

async function readRow(path: string, session: string, log: Log): Promise<EndedSession | null> {
  try {
    const result = await checkEndedSession["~standard"].validate(JSON.parse(await Deno.readTextFile(path)));
    if (result.issues === undefined && result.value.session === session) return result.value;
    log.warn("a row of an ended session is not whole", { path });
  } catch (error) {
    log.warn("a row of an ended session could not be read", { path, error: describeError(error) });
  }
  return null;
}

async function readOpenIds(path: string, log: Log): Promise<string[]> {
  let text: string;
  try {
    text = await Deno.readTextFile(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw new Failure(`could not read ${path}`, { cause: error });
  }
  try {
    const ids: unknown = JSON.parse(text);
    if (Array.isArray(ids)) return ids.filter((id) => typeof id === "string" && SESSION_ID.test(id));
  } catch {
    // Told below: it was written whole or not at all, so somebody else has changed it.
  }
  log.warn("the list of open sessions is none", { path });
  return [];
}

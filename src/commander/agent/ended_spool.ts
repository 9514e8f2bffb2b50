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
 */
import type { EndedSession } from "../../protocol/manage/control_contract.ts";
import { checkEndedSession } from "../../protocol/manage/control_schemas.ts";
import { type FileLayer, systemFiles, writeFileDurably } from "../../system/durable_file.ts";
import { describeError, Failure } from "../../system/failure.ts";
import type { Log } from "../../system/log.ts";
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
  readonly #open = new Set<string>();
  readonly #rows = new Map<string, EndedSession>();
  #lastWrite: Promise<void> = Promise.resolve();

  private constructor(places: SpoolPlaces, files: FileLayer) {
    this.#places = places;
    this.#files = files;
  }

  /**
   * Reads what is there and ends what a killed agent left open.
   *
   * @throws {Failure} if it cannot be read or written
   */
  static async open(places: SpoolPlaces, log: Log, files: FileLayer = systemFiles): Promise<EndedSpool> {
    const spool = new EndedSpool(places, files);
    await spool.#readRows(log);
    const left = (await readOpenIds(places.sessionsPath, log)).filter((id) => !spool.#rows.has(id));
    for (const session of left) await spool.#writeRow(stoppedRow(session));
    await spool.#writeOpen();
    if (left.length > 0) {
      log.warn("sessions were cut off by the end of the last agent", { count: left.length });
    }
    return spool;
  }

  /** A session begins; durable when this resolves. @throws {Failure} */
  async began(session: string): Promise<void> {
    this.#open.add(session);
    try {
      await this.#writeOpen();
    } catch (error) {
      this.#open.delete(session);
      throw error;
    }
  }

  /** A session that was to begin did not; the server is told by the refusal. @throws {Failure} */
  async neverBegan(session: string): Promise<void> {
    this.#open.delete(session);
    await this.#writeOpen();
  }

  /** A session is over; durable when this resolves. @throws {Failure} */
  async ended(row: EndedSession): Promise<void> {
    if (!this.#rows.has(row.session)) await this.#writeRow(row);
    this.#open.delete(row.session);
    await this.#writeOpen();
  }

  /** What waits to be told, the oldest of this run last read first. */
  pending(): EndedSession[] {
    return [...this.#rows.values()];
  }

  /** The server has this row; it is forgotten. */
  async acknowledged(session: string): Promise<void> {
    if (!this.#rows.delete(session)) return;
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
    this.#rows.set(row.session, row);
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

  async #readRows(log: Log): Promise<void> {
    for await (const entry of Deno.readDir(this.#places.endedFolder)) {
      const session = ROW_FILE.exec(entry.name)?.[1];
      if (session === undefined) continue;
      // A row that cannot be read still says that the session is over.
      this.#rows.set(session, await readRow(this.#rowPath(session), session, log) ?? stoppedRow(session));
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

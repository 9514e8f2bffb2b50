/**
 * The registry's SQLite file. Several programs have it open at once: the running server, and `invite`, `revoke`, `list`
 * beside it. Every write is one transaction that takes the write lock before it reads (BEGIN IMMEDIATE), so that what it
 * decides by cannot change before it has written; and it is on the disk when it returns (WAL with synchronous=FULL).
 */
import type { DatabaseSync, SQLInputValue, SQLOutputValue, StatementSync } from "node:sqlite";
import { Failure } from "../../system/failure.ts";
import { PRIVATE_MODE } from "../../system/durable_file.ts";
import { SCHEMA, SCHEMA_VERSION } from "./schema.ts";

/** One row; columns by name. */
export type Row = Readonly<Record<string, SQLOutputValue>>;

/** What kept the database from doing its work. */
export type DatabaseTrouble = "full" | "read_only" | "busy" | "damaged" | "failed";

/** The database cannot do what was asked; nothing of it was done. */
export class DatabaseFailure extends Failure {
  /** Why, for programs. */
  readonly trouble: DatabaseTrouble;

  /** Makes one. */
  constructor(trouble: DatabaseTrouble, message: string, cause: unknown) {
    super(message, { cause });
    this.name = "DatabaseFailure";
    this.trouble = trouble;
  }
}

/** "Pmng": tells the file from any other SQLite database. */
const APPLICATION_ID = 0x506d6e67;
/** How long another program's transaction is waited for, with the event loop standing still; each takes milliseconds. */
const BUSY_TIMEOUT_MS = 5000;

/** FULL: a row that was acknowledged survives a power cut, not only the death of this program. */
const PRAGMAS = ["journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "trusted_schema = OFF"];

/** First byte of SQLite's extended result codes, https://www.sqlite.org/rescode.html. */
const TROUBLES: ReadonlyMap<number, DatabaseTrouble> = new Map([
  [5, "busy"],
  [6, "busy"],
  [8, "read_only"],
  [11, "damaged"],
  [13, "full"],
  [14, "read_only"],
  [26, "damaged"],
]);
const PRIMARY_CODE_MASK = 0xff;

const IN_WORDS: Readonly<Record<DatabaseTrouble, string>> = {
  full: "the disk is full",
  read_only: "it, or the folder around it, cannot be written",
  busy: `another program has held it for ${BUSY_TIMEOUT_MS / 1000} s`,
  damaged: "it is damaged, or no registry",
  failed: "the database failed",
};

/** An open registry. Everything but the opening is synchronous. */
export class Database implements Disposable {
  readonly #path: string;
  readonly #database: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();
  #depth = 0;

  private constructor(path: string, database: DatabaseSync) {
    this.#path = path;
    this.#database = database;
  }

  /**
   * Makes an empty registry in a file that must not exist.
   *
   * @throws {Failure}
   */
  static async create(path: string): Promise<Database> {
    await makeEmptyFile(path);
    const database = await Database.#connect(path);
    return database.#guarded(() => {
      database.transaction(() => {
        database.#database.exec(SCHEMA);
        database.#database.exec(`PRAGMA application_id = ${APPLICATION_ID}`);
        database.#database.exec(`PRAGMA user_version = ${SCHEMA_VERSION}`);
      });
      return database;
    });
  }

  /**
   * Opens a registry that is there.
   *
   * @throws {Failure} if it is none, damaged, or of a later version of this program
   */
  static async open(path: string): Promise<Database> {
    await requireFile(path);
    const database = await Database.#connect(path);
    return database.#guarded(() => {
      database.#requireVersion();
      return database;
    });
  }

  /**
   * Does all of `act` or, if it throws, nothing. Inside of another one it is a part of that.
   *
   * @throws {DatabaseFailure} if the disk is full or the like; whatever `act` throws
   */
  transaction<T>(act: () => T): T {
    if (this.#depth > 0) return act();
    this.run("BEGIN IMMEDIATE"); // by a statement, as all here: what `exec` throws has no code
    this.#depth++;
    try {
      const result = act();
      this.run("COMMIT");
      return result;
    } catch (error) {
      this.#rollBack();
      throw error;
    } finally {
      this.#depth--;
    }
  }

  /** The first row, or null. */
  get(sql: string, ...values: SQLInputValue[]): Row | null {
    return this.#do(() => this.#statement(sql).get(...values) ?? null);
  }

  /** Every row. */
  all(sql: string, ...values: SQLInputValue[]): Row[] {
    return this.#do(() => this.#statement(sql).all(...values));
  }

  /** Every row, one after the other, whole numbers as bigint: what somebody put there may be out of range. */
  *each(sql: string, ...values: SQLInputValue[]): Generator<Row> {
    const statement = this.#do(() => this.#database.prepare(sql));
    statement.setReadBigInts(true);
    const rows = this.#do(() => statement.iterate(...values));
    try {
      for (;;) {
        const next = this.#do(() => rows.next());
        if (next.done === true) return;
        yield next.value as Row;
      }
    } finally {
      rows.return?.(); // else a reader who has seen enough would go on holding the state of that moment
    }
  }

  /** Changes rows; gives how many. */
  run(sql: string, ...values: SQLInputValue[]): number {
    return Number(this.#do(() => this.#statement(sql).run(...values)).changes);
  }

  /** A number that is another one after some other program has written. */
  changes(): number {
    return wholeNumber(this.get("PRAGMA data_version") ?? {}, "data_version");
  }

  close(): void {
    if (this.#database.isOpen) this.#database.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #requireVersion(): void {
    const application = wholeNumber(this.get("PRAGMA application_id") ?? {}, "application_id");
    if (application !== APPLICATION_ID) {
      throw new Failure(
        `cannot use ${this.#path}: found a database of another program, accepted is a registry`,
      );
    }
    const version = wholeNumber(this.get("PRAGMA user_version") ?? {}, "user_version");
    if (version !== SCHEMA_VERSION) {
      throw new Failure(
        `cannot use ${this.#path}: found a registry of version ${version}, accepted is ${SCHEMA_VERSION}`,
        { hint: version > SCHEMA_VERSION ? "a newer Postern has written it: update this one" : undefined },
      );
    }
  }

  #statement(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      statement = this.#database.prepare(sql);
      this.#statements.set(sql, statement);
    }
    return statement;
  }

  #rollBack(): void {
    try {
      // After a full disk SQLite has rolled back by itself.
      if (this.#database.isTransaction) this.#database.exec("ROLLBACK");
    } catch {
      // The first failure is the one worth reporting; an open transaction ends with the connection.
    }
  }

  #do<T>(act: () => T): T {
    try {
      return act();
    } catch (error) {
      throw databaseFailure(this.#path, error);
    }
  }

  /** Closes the file again if what follows its opening fails. */
  #guarded<T>(act: () => T): T {
    try {
      return act();
    } catch (error) {
      this.close();
      throw error instanceof Failure ? error : databaseFailure(this.#path, error);
    }
  }

  static async #connect(path: string): Promise<Database> {
    const { DatabaseSync } = await import("node:sqlite");
    try {
      const database = new Database(path, new DatabaseSync(path, { timeout: BUSY_TIMEOUT_MS }));
      return database.#guarded(() => {
        for (const pragma of PRAGMAS) database.get(`PRAGMA ${pragma}`);
        return database;
      });
    } catch (error) {
      throw databaseFailure(path, error);
    }
  }
}

/** SQLite would make it readable by everybody; the files it puts beside take their mode from this one. */
async function makeEmptyFile(path: string): Promise<void> {
  try {
    (await Deno.open(path, { write: true, createNew: true, mode: PRIVATE_MODE })).close();
  } catch (error) {
    throw new Failure(`could not make ${path}`, { cause: error });
  }
}

/**
 * SQLite would make a missing file. Only looked at: if this process opened it a second time and closed it again, that would
 * give back the locks that SQLite holds on it (https://www.sqlite.org/howtocorrupt.html, 2.2).
 */
async function requireFile(path: string): Promise<void> {
  try {
    await Deno.lstat(path);
  } catch (error) {
    throw new Failure(`could not open ${path}`, { cause: error });
  }
}

function databaseFailure(path: string, error: unknown): unknown {
  if (!(error instanceof Error) || !("code" in error) || error.code !== "ERR_SQLITE_ERROR") return error;
  const code = "errcode" in error && typeof error.errcode === "number" ? error.errcode : 0;
  const trouble = TROUBLES.get(code & PRIMARY_CODE_MASK) ?? "failed";
  return new DatabaseFailure(trouble, `could not use ${path}: ${IN_WORDS[trouble]}`, error);
}

/** Text of a column that is never null. */
export function textOf(row: Row, column: string): string {
  const value = row[column];
  if (typeof value === "string") return value;
  throw wrongColumn(column, "text");
}

/** Text of a column, or null. */
export function optionalText(row: Row, column: string): string | null {
  return row[column] === null ? null : textOf(row, column);
}

/** A whole number of a column that is never null. */
export function wholeNumber(row: Row, column: string): number {
  const value = row[column];
  if (typeof value === "number") return value;
  throw wrongColumn(column, "a number");
}

/** A whole number of a column, or null. */
export function optionalNumber(row: Row, column: string): number | null {
  return row[column] === null ? null : wholeNumber(row, column);
}

/** Bytes of a column that is never null. */
export function bytesOf(row: Row, column: string): Uint8Array<ArrayBuffer> {
  const value = row[column];
  if (value instanceof Uint8Array) return new Uint8Array(value);
  throw wrongColumn(column, "bytes");
}

function wrongColumn(column: string, wanted: string): Failure {
  return new Failure(`the registry is damaged: column ${column} does not hold ${wanted}`);
}

/** Single values of the registry: what must change together with rows of the audit. */
import type { Database } from "./database.ts";

/**
 * - `pins_generation`: counts the changes of what diallers are to believe.
 * - `ca`: SHA-256 of the authority's certificate in DER, in hexadecimal digits: which one is in force, whatever the files
 *   are called after a change that was cut short.
 * - `next_ca`: the same of the new one while a change runs, else empty.
 * - `server_key`: the server's public key, as the text form of keys has it.
 */
export type MetaName = "pins_generation" | "ca" | "next_ca" | "server_key";

/** The table of single values. */
export class Meta {
  readonly #database: Database;

  /** Of an open database. */
  constructor(database: Database) {
    this.#database = database;
  }

  /** A number, or null if there is none. */
  number(name: MetaName): number | null {
    const value = this.#value(name);
    return typeof value === "number" ? value : null;
  }

  /** A text, or null if there is none. */
  text(name: MetaName): string | null {
    const value = this.#value(name);
    return typeof value === "string" ? value : null;
  }

  /** Sets a value. */
  set(name: MetaName, value: string | number): void {
    this.#database.run(
      "INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
      name,
      value,
    );
  }

  #value(name: MetaName): unknown {
    return this.#database.get("SELECT value FROM meta WHERE name = ?", name)?.["value"];
  }
}

/** Where records are kept, as the rules see it. A folder, the Windows registry and memory are such places. */

/** Which record. */
export interface RecordKey {
  /** Name of the service, as `serviceName` allows it. */
  readonly name: string;
  /** 32 hex digits. */
  readonly instance: string;
}

/** What is kept under a key. */
export interface StoredRecord extends RecordKey {
  /** The record's text; whoever may write to the store has written it, so it is not believed before it is parsed. */
  readonly text: string;
  /**
   * What the store itself knows of the process that put it: "alive", "gone" (it may be removed), or "unknown", where
   * the lease alone must tell.
   */
  readonly owner: "alive" | "gone" | "unknown";
}

/** A place for records. All of its methods may fail with a `DiscoveryError` "store". */
export interface RecordStore {
  /** Everything kept under the name, in any order. */
  list(name: string): Promise<readonly StoredRecord[]>;
  /** Keeps a text, in place of what was there: readers find the old one or the new one, whole. */
  put(key: RecordKey, text: string): Promise<void>;
  /** Forgets a record, whoever put it. Does nothing if there is none, or if the store knows its owner alive. */
  remove(key: RecordKey): Promise<void>;
  /** Forgets a record that was put through this very object, and lets go of whatever showed that its owner lives. */
  withdraw(key: RecordKey): Promise<void>;
  /**
   * Begins to tell when something may have changed, also without cause, by calling `changed`. What cannot tell calls
   * it every now and then.
   *
   * @returns a function that ends it
   */
  watch(changed: () => void): () => void;
}

/**
 * - `store`: the place for records cannot be used, or cannot be trusted; the message says why
 * - `timeout`: no such service appeared in time
 */
export type DiscoveryErrorCode = "store" | "timeout";

/** A service could not be published or found. */
export class DiscoveryError extends Error {
  /** What went wrong, for programs. */
  readonly code: DiscoveryErrorCode;

  /** Makes one. */
  constructor(code: DiscoveryErrorCode, message: string, options: ErrorOptions = {}) {
    super(message, options);
    this.name = "DiscoveryError";
    this.code = code;
  }
}

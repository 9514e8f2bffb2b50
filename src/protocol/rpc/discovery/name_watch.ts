/**
 * Everybody in this process who watches names, behind one watch of the store: the system gives out few of those (128
 * inotify instances to a user on most Linux machines).
 */
import type { Timers } from "../timers.ts";
import type { ServiceRecord } from "./record.ts";
import type { RecordStore } from "./record_store.ts";

/** What the watches share. */
export interface RecordWatchesParts {
  readonly store: RecordStore;
  readonly timers: Timers;
  /** Time after which everything is looked at again without a change in the store. */
  readonly recheckMs: number;
  readonly resolve: (name: string) => Promise<readonly ServiceRecord[]>;
}

/** How long whoever stops watching waits for the look that is under way. */
const MAX_LAST_LOOK_MS = 1_000;

type State =
  | { readonly kind: "records"; readonly records: readonly ServiceRecord[] }
  | { readonly kind: "failed"; readonly error: unknown }
  | { readonly kind: "ended" };

/** One watcher's view of one name: holds the newest list until it is asked for. */
export class NameWatch implements AsyncDisposable {
  /** What is watched. */
  readonly name: string;
  readonly #close: (watch: NameWatch) => Promise<void>;
  #state: State | null = null;
  #given: string | null = null;
  #wake = (): void => {};

  /** Made by `RecordWatches.open`. */
  constructor(name: string, close: (watch: NameWatch) => Promise<void>) {
    this.name = name;
    this.#close = close;
  }

  /** The list when it differs from the one given before; null after `end`. Rejects after `fail`. */
  async next(): Promise<readonly ServiceRecord[] | null> {
    for (;;) {
      const state = this.#state;
      if (state?.kind === "ended") return null;
      if (state?.kind === "failed") throw state.error;
      if (state !== null) {
        this.#state = null;
        const text = JSON.stringify(state.records);
        if (text !== this.#given) {
          this.#given = text;
          return state.records;
        }
      }
      await new Promise<void>((resolve) => this.#wake = resolve);
    }
  }

  /** Takes a newer list. */
  offer(records: readonly ServiceRecord[]): void {
    this.#settle({ kind: "records", records });
  }

  /** Makes `next` reject from now on. */
  fail(error: unknown): void {
    this.#settle({ kind: "failed", error });
  }

  /** Makes `next` give null from now on. */
  end(): void {
    this.#settle({ kind: "ended" });
  }

  /** Stops watching; a look that is under way ends before, unless that takes long. */
  [Symbol.asyncDispose](): Promise<void> {
    this.end();
    return this.#close(this);
  }

  #settle(state: State): void {
    if (this.#state?.kind === "failed" || this.#state?.kind === "ended") return;
    this.#state = state;
    this.#wake();
  }
}

/** All watches of one discovery. */
export class RecordWatches {
  readonly #parts: RecordWatchesParts;
  readonly #byName = new Map<string, Set<NameWatch>>();
  /** Names to look at after the look that is under way. */
  readonly #due = new Set<string>();
  #looking: Promise<void> | null = null;
  #endStoreWatch: (() => void) | null = null;
  #callOffRecheck = (): void => {};

  /** Watches nothing yet. */
  constructor(parts: RecordWatchesParts) {
    this.#parts = parts;
  }

  /** Begins to watch a name; the first list comes at once. */
  open(name: string): NameWatch {
    const watch = new NameWatch(name, (closed) => this.#close(closed));
    const watches = this.#byName.get(name) ?? new Set();
    this.#byName.set(name, watches.add(watch));
    // The store is watched before it is read, so that no change falls in between.
    if (this.#endStoreWatch === null) {
      this.#endStoreWatch = this.#parts.store.watch(() => this.#look(this.#byName.keys()));
      this.#recheckLater();
    }
    this.#look([name]);
    return watch;
  }

  async #close(watch: NameWatch): Promise<void> {
    const watches = this.#byName.get(watch.name);
    if (watches === undefined) return;
    watches.delete(watch);
    if (watches.size > 0) return;
    this.#byName.delete(watch.name);
    if (this.#byName.size === 0) {
      this.#callOffRecheck();
      this.#endStoreWatch?.();
      this.#endStoreWatch = null;
    }
    if (this.#looking === null) return;
    // Nothing goes on behind the back of whoever stopped, but a store that hangs holds nobody up.
    let callOff = (): void => {};
    const limit = new Promise<void>((resolve) =>
      callOff = this.#parts.timers.after(MAX_LAST_LOOK_MS, resolve)
    );
    await Promise.race([this.#looking, limit]);
    callOff();
  }

  #recheckLater(): void {
    this.#callOffRecheck = this.#parts.timers.after(this.#parts.recheckMs, () => {
      this.#recheckLater();
      this.#look(this.#byName.keys());
    });
  }

  /** Reads each name once however many watch it, and once more however much changed while it was read. */
  #look(names: Iterable<string>): void {
    for (const name of names) this.#due.add(name);
    this.#looking ??= this.#lookAtDue();
  }

  async #lookAtDue(): Promise<void> {
    // Every look that is asked for in this turn is one.
    await Promise.resolve();
    for (const name of this.#due) {
      this.#due.delete(name); // before it is read; a change meanwhile puts it at the end of this very loop
      if (!this.#byName.has(name)) continue;
      try {
        const records = await this.#parts.resolve(name);
        for (const watch of this.#byName.get(name) ?? []) watch.offer(records);
      } catch (error) {
        for (const watch of this.#byName.get(name) ?? []) watch.fail(error);
      }
    }
    this.#looking = null;
  }
}

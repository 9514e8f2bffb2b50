/** A list of hosts that an administrator watches. */
import type { HostRow } from "../../protocol/manage/control_contract.ts";
import type { Timers } from "../../protocol/rpc/timers.ts";
import type { HostList } from "./host_list.ts";

/** What a watch is made of. */
export interface HostWatchParts {
  readonly admin: string;
  readonly list: HostList;
  readonly timers: Timers;
  /** Least time between two lists: a thousand hosts that come back at once are a few lists. */
  readonly pauseMs: number;
  /** Told, once, when nobody watches any more. */
  readonly ended: () => void;
}

const DONE: IteratorReturnResult<undefined> = { done: true, value: undefined };

/**
 * Rows at once, then again after each change. No generator: that would hear of its end only after the change that it
 * waits for, and on a quiet night there is none.
 */
export class HostWatch implements AsyncIterableIterator<readonly HostRow[]> {
  readonly #parts: HostWatchParts;
  readonly #end = new AbortController();
  /** Of the rows that were given last; null: none were. */
  #version: number | null = null;

  /** @param signal ends it too */
  constructor(parts: HostWatchParts, signal: AbortSignal) {
    this.#parts = parts;
    this.#end.signal.addEventListener("abort", () => parts.ended(), { once: true });
    if (signal.aborted) this.#end.abort();
    else signal.addEventListener("abort", () => this.#end.abort(), { once: true });
  }

  async next(): Promise<IteratorResult<readonly HostRow[]>> {
    const { list, admin } = this.#parts;
    if (this.#version !== null) await this.#change(this.#version);
    if (this.#end.signal.aborted) return DONE;
    this.#version = list.version;
    return { done: false, value: list.rowsFor(admin) };
  }

  return(): Promise<IteratorResult<readonly HostRow[]>> {
    this.#end.abort();
    return Promise.resolve(DONE);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  /** Waits for the pause and then for a change, or for the end. */
  async #change(version: number): Promise<void> {
    const { signal } = this.#end;
    await this.#pause(signal);
    try {
      await this.#parts.list.after(version, signal);
    } catch {
      // It has ended, which is looked at next.
    }
  }

  #pause(signal: AbortSignal): Promise<void> {
    const { timers, pauseMs } = this.#parts;
    return new Promise((resolve) => {
      if (signal.aborted) return resolve();
      const done = (): void => {
        callOff();
        signal.removeEventListener("abort", done);
        resolve();
      };
      const callOff = timers.after(pauseMs, done);
      signal.addEventListener("abort", done, { once: true });
    });
  }
}

/** Waits that say what they wait for, and end. */
import type { Timers } from "../../protocol/rpc/timers.ts";
import { Failure } from "../../system/failure.ts";

/** How long nothing is said. */
export const QUIET_MS = 1_000;

/** What a wait is told. */
export interface Wait {
  /** Behind "waiting for", and before "took longer than": such as "web1 to answer". */
  readonly what: string;
  /** When it is given up. */
  readonly timeoutMs: number;
  /** Gives what is thrown then. @default a failure that says what was waited for */
  readonly failure?: () => unknown;
  readonly timers: Timers;
  /** Takes the one line that says what is waited for. */
  readonly onNotice: (line: string) => void;
  /** Ends it early; its reason is thrown. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Waits for something that takes a signal. After a second a notice says what is waited for.
 *
 * @throws {Failure} when the time is over, or `wait.failure`; the signal's reason; whatever `work` throws
 */
export async function waitFor<T>(wait: Wait, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const { what, timeoutMs, timers, onNotice, signal } = wait;
  signal?.throwIfAborted();
  const end = new AbortController();
  const seconds = Math.round(timeoutMs / 1_000);
  const quiet = timers.after(QUIET_MS, () => onNotice(`waiting for ${what}, ${seconds} s at most`));
  const vain = (): unknown => new Failure(`waited ${seconds} s in vain for ${what}`);
  const late = timers.after(timeoutMs, () => end.abort((wait.failure ?? vain)()));
  const left = (): void => end.abort(signal?.reason);
  signal?.addEventListener("abort", left, { once: true });
  try {
    return await Promise.race([work(end.signal), abortOf(end.signal)]);
  } catch (error) {
    // What the work says of being given up is no news.
    throw end.signal.aborted ? end.signal.reason : error;
  } finally {
    quiet();
    late();
    signal?.removeEventListener("abort", left);
  }
}

function abortOf(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}

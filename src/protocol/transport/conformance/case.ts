/** What all cases of the conformance suite are made of. */
import type { Connection } from "../transport.ts";
import type { Timers } from "../../rpc/timers.ts";
import { systemTimers } from "../../rpc/timers.ts";

/**
 * Gives the two ends of a fresh connection, the one that connected first. Each case opens its own and closes both
 * ends; it asks for the next one only when it has got this one.
 */
export type OpenPair = () => Promise<readonly [Connection, Connection]>;

/** One promise of a transport, as a test: give `name` and `run` to a test runner of your choice. */
export interface ConformanceCase {
  /** Reads on after "a connection" or "a listener", such as "keeps the order of writes of any size". */
  readonly name: string;
  /**
   * Tries it. Every wait in it has an end, and both ends are closed afterwards, whatever happened.
   *
   * @throws {ConformanceError} that says what was expected and what was seen
   */
  run(): Promise<void>;
}

/** What differs from transport to transport. */
export interface ConformanceOptions {
  /** Longest wait for any one thing, in milliseconds; 20,000 if not given. */
  readonly timeoutMs?: number;
  /** Most bytes a writer may get rid of while the other end does not read; 16 MiB if not given. */
  readonly maxBufferedBytes?: number;
  /**
   * A write that has waited so long, in milliseconds, counts as held up by a reader who does not read; 200 if not
   * given. Too short a time makes the suite see backpressure where there is only slowness; it never fails for it.
   */
  readonly stallMs?: number;
  /** Connections that are open at once; 1,000 if not given. Less where each costs a process. */
  readonly connections?: number;
  /** Bytes of the largest single write; 64 MiB if not given. */
  readonly largeWriteBytes?: number;
  /** Time; that of the runtime if not given. */
  readonly timers?: Timers;
}

/** `ConformanceOptions` with nothing missing. */
export type Settings = Required<ConformanceOptions>;

const KIB = 1024, MIB = 1024 * KIB;

/** Puts in what was not given. */
export function settingsOf(options: ConformanceOptions): Settings {
  return {
    timeoutMs: 20_000,
    maxBufferedBytes: 16 * MIB,
    stallMs: 200,
    connections: 1000,
    largeWriteBytes: 64 * MIB,
    timers: systemTimers,
    ...options,
  };
}

/** A transport does not keep a promise. */
export class ConformanceError extends Error {
  /** "ConformanceError". */
  override readonly name = "ConformanceError";
}

/** Waits with an end; `expected` reads on after "expected", such as "a read that waits to end when it is closed". */
export type Within = <T>(promise: Promise<T>, expected: string) => Promise<T>;

/** Waits for a promise, not longer than `timeoutMs`. */
export function waitingWithin({ timeoutMs, timers }: Settings): Within {
  return async <T>(promise: Promise<T>, expected: string): Promise<T> => {
    let stop = (): void => {};
    const late = new Promise<never>((_, reject) => {
      stop = timers.after(timeoutMs, () => {
        reject(new ConformanceError(`expected ${expected}, but nothing happened for ${timeoutMs} ms`));
      });
    });
    try {
      return await Promise.race([promise, late]);
    } finally {
      stop();
    }
  };
}

/** How a promise ended, or that it waits still. */
export type Outcome<T> =
  | { readonly state: "fulfilled"; readonly value: T }
  | { readonly state: "rejected"; readonly error: unknown }
  | { readonly state: "waiting" };

/** Looks at a promise after at most `forMs`; never rejects. */
export async function outcomeAfter<T>(
  promise: Promise<T>,
  forMs: number,
  timers: Timers,
): Promise<Outcome<T>> {
  let stop = (): void => {};
  const waiting = new Promise<Outcome<T>>((resolve) => {
    stop = timers.after(forMs, () => resolve({ state: "waiting" }));
  });
  const settled = promise.then(
    (value): Outcome<T> => ({ state: "fulfilled", value }),
    (error: unknown): Outcome<T> => ({ state: "rejected", error }),
  );
  const outcome = await Promise.race([settled, waiting]);
  stop();
  return outcome;
}

/** One end under test and the one opposite, with words for both. */
export interface Ends {
  readonly near: Connection;
  readonly far: Connection;
  /** The bound of every wait. */
  readonly within: Within;
  readonly settings: Settings;
}

/** Makes a case of an act that is done from the first end, and then from the second end of another connection. */
export function bothWays(
  name: string,
  open: OpenPair,
  settings: Settings,
  act: (ends: Ends) => Promise<void>,
): ConformanceCase {
  const within = waitingWithin(settings);
  const from = async (which: "first" | "second"): Promise<void> => {
    const [first, second] = await openWithin(open, within, "a connection to be opened");
    const [near, far] = which === "first" ? [first, second] : [second, first];
    try {
      await act({ near, far, within, settings });
    } catch (error) {
      throw toldFrom(which, error);
    } finally {
      closeQuietly(near, far);
    }
  };
  return {
    name,
    async run(): Promise<void> {
      await from("first");
      await from("second");
    },
  };
}

/** Opens a pair; one that comes too late is closed. */
export async function openWithin(
  open: OpenPair,
  within: Within,
  expected: string,
): Promise<readonly [Connection, Connection]> {
  const opening = open();
  try {
    return await within(opening, expected);
  } catch (error) {
    opening.then((pair) => closeQuietly(...pair), () => {});
    throw error;
  }
}

/** Closes what a case has opened; whether `close` throws is a case of its own. */
export function closeQuietly(...open: readonly { close(): void }[]): void {
  for (const each of open) {
    try {
      each.close();
    } catch {
      // Here it would hide what the case has found.
    }
  }
}

/** Lets time pass, so that what was begun reaches the transport. */
export function pause(pauseMs: number, { timers }: Settings): Promise<void> {
  return new Promise((resolve) => void timers.after(pauseMs, resolve));
}

function toldFrom(which: "first" | "second", error: unknown): ConformanceError {
  const told = error instanceof Error ? error.message : String(error);
  const other = which === "first" ? "second" : "first";
  return new ConformanceError(`with the ${which} end as "this end", the ${other} as "the other": ${told}`, {
    cause: error,
  });
}

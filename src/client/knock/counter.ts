/**
 * The counter a knock carries: a server accepts only one above the last it saw under that key, so it must never
 * repeat and never go back. It is the time in nanoseconds, or one more than the last if that is higher.
 *
 * This file holds the rule and the counter that lives as long as the process. The one that outlives it, in a file,
 * is `counter_file.ts`; it is loaded only where the config folder may be used.
 */
import type { Clock } from "../../system/clock.ts";
import { Failure } from "../../system/failure.ts";

/** Largest counter the packet can carry (u128). */
export const MAX_COUNTER = 2n ** 128n - 1n;

const NS_PER_HOUR = 3_600_000_000_000n;
const NS_PER_MS = 1_000_000n;

/** A counter to use, and what the user should know about it. */
export interface CounterStep {
  readonly counter: bigint;
  readonly warning: string | null;
}

/** Gives counters, each higher than any it gave before. */
export interface CounterSource {
  /** Uses up a counter: once this resolves, no later call gives it again, not even after a crash. */
  next(): Promise<CounterStep>;
  /** The counter `next` would give, without using it up. */
  peek(): Promise<CounterStep>;
}

/**
 * The counter that follows `storedCounter` (null if there is none yet) at the time `nowNs`.
 *
 * @throws {Failure} if the stored counter is the largest there is
 */
export function nextCounter(storedCounter: bigint | null, nowNs: bigint): CounterStep {
  if (storedCounter === null) return { counter: nowNs, warning: null };
  if (storedCounter >= MAX_COUNTER) {
    throw new Failure("cannot count on: found the largest counter there is stored, accepted: a smaller one", {
      hint: "start it over at the present time: postern client reseed",
    });
  }
  const counter = storedCounter + 1n > nowNs ? storedCounter + 1n : nowNs;
  // A server refuses what lies too far in its future, so a clock that was once wrong would mute every later knock.
  const isAhead = storedCounter - nowNs > NS_PER_HOUR;
  return {
    counter,
    warning: isAhead
      ? `the stored counter (${formatCounterTime(storedCounter)}) is more than an hour ahead of the clock ` +
        `(${
          formatCounterTime(nowNs)
        }), so servers may refuse it; if the clock is right now: postern client reseed`
      : null,
  };
}

/** The time a counter stands for, in UTC to the second; the bare number beyond what a date can hold. */
export function formatCounterTime(counter: bigint): string {
  const date = new Date(Number(counter / NS_PER_MS));
  return Number.isNaN(date.getTime()) ? String(counter) : `${date.toISOString().slice(0, 19)}Z`;
}

/** A counter from the clock that rises strictly as long as the process lives, and is forgotten with it. */
export class ClockCounter implements CounterSource {
  readonly #clock: Clock;
  #last: bigint | null = null;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  next(): Promise<CounterStep> {
    const step = this.#step();
    this.#last = step.counter;
    return Promise.resolve(step);
  }

  peek(): Promise<CounterStep> {
    return Promise.resolve(this.#step());
  }

  #step(): CounterStep {
    const { counter } = nextCounter(this.#last, this.#clock.wallNs());
    return { counter, warning: null };
  }
}

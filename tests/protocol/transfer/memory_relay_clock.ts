/**
 * Time for whole transfers in one thread: it stands still while anything is being worked at, and jumps to the next
 * alarm when nothing is. So an hour takes no time, a slow machine changes nothing, and what hangs is found at once:
 * nothing to do and no alarm set.
 *
 * What WebCrypto does in its threads is work too. It cannot be seen from outside, so its methods are counted here.
 */
import { setImmediate } from "node:timers";
import type { Timers } from "../../../src/protocol/rpc/timers.ts";

const COUNTED = ["encrypt", "decrypt", "digest", "importKey", "deriveBits", "sign", "verify"] as const;
let begun = 0;
let underWay = 0;
const whenIdle: (() => void)[] = [];

type Method = (...values: unknown[]) => Promise<unknown>;
const subtle = SubtleCrypto.prototype as unknown as Record<(typeof COUNTED)[number], Method>;
for (const name of COUNTED) {
  const method = subtle[name];
  subtle[name] = async function (this: SubtleCrypto, ...values: unknown[]): Promise<unknown> {
    begun++;
    underWay++;
    try {
      return await method.apply(this, values);
    } finally {
      underWay--;
      if (underWay === 0) { for (const tell of whenIdle.splice(0)) tell(); }
    }
  };
}

/** Waits until nothing happens any more unless time passes. */
export async function quiet(): Promise<void> {
  for (let before = -1; before !== begun || underWay > 0;) {
    before = begun;
    if (underWay > 0) await new Promise<void>((resolve) => whenIdle.push(resolve));
    // After a turn of the event loop every promise that could settle has, and what followed from it too.
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
}

interface Alarm {
  readonly atMs: number;
  readonly act: () => void;
  /** Whether it is one of those that are tested, and not of the test. */
  readonly isCounted: boolean;
}

/** Time that passes when nothing else happens. */
export class RelayClock implements Timers {
  #nowMs = 0;
  readonly #alarms = new Set<Alarm>();

  monotonicMs(): number {
    return this.#nowMs;
  }

  after(delayMs: number, act: () => void): () => void {
    const alarm = { atMs: this.#nowMs + delayMs, act, isCounted: true };
    this.#alarms.add(alarm);
    return () => void this.#alarms.delete(alarm);
  }

  /** Alarms that were set by `after`. */
  get pending(): number {
    return [...this.#alarms].filter(({ isCounted }) => isCounted).length;
  }

  /** For the test's own part: calls later, and is not counted. */
  later(delayMs: number, act: () => void): void {
    this.#alarms.add({ atMs: this.#nowMs + delayMs, act, isCounted: false });
  }

  /** For the test's own part: waits. */
  pause(ms: number): Promise<void> {
    return new Promise((resolve) => this.later(ms, resolve));
  }

  /** Lets time pass. */
  async pass(ms: number): Promise<void> {
    const endMs = this.#nowMs + ms;
    await quiet();
    while (await this.#ringNext(endMs));
    this.#nowMs = endMs;
  }

  /**
   * Lets time pass until all have settled.
   *
   * @throws {Error} if they have not within that much of this time, or never will
   */
  async settle(promises: readonly Promise<unknown>[], limitMs: number): Promise<void> {
    let isSettled = false;
    const all = Promise.allSettled(promises).then(() => void (isSettled = true));
    const endMs = this.#nowMs + limitMs;
    await quiet();
    while (!isSettled) {
      if (!(await this.#ringNext(endMs)) && !isSettled) {
        throw new Error(`not settled after ${limitMs} ms; ${this.pending} alarms are set`);
      }
    }
    await all;
    await quiet();
  }

  async #ringNext(endMs: number): Promise<boolean> {
    let next: Alarm | null = null;
    for (const alarm of this.#alarms) if (next === null || alarm.atMs < next.atMs) next = alarm;
    if (next === null || next.atMs > endMs) return false;
    this.#alarms.delete(next);
    this.#nowMs = Math.max(this.#nowMs, next.atMs);
    next.act();
    await quiet();
    return true;
  }
}

/** Random numbers that a seed repeats (mulberry32). */
export class Dice {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** 0 to less than 1. */
  fraction(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  /** 0 to `count - 1`. */
  below(count: number): number {
    return Math.floor(this.fraction() * count);
  }

  /** One of them. */
  of<T>(values: readonly [T, ...T[]]): T {
    return values[this.below(values.length)] ?? values[0];
  }

  /** `RandomBytes`. */
  readonly bytes = (length: number): Uint8Array<ArrayBuffer> =>
    Uint8Array.from({ length }, () => this.below(256));
}

/**
 * Deadlines of all calls of a peer, watched by one timer for the nearest.
 *
 * A call is usually over long before its deadline. So taking one out leaves the timer alone: it fires once for
 * nothing and is set to whatever is then nearest. A timer for each call costs more than the rest of a call.
 */
import type { Timers } from "./timers.ts";

/** Something that ends at a moment. */
export interface Expiring {
  /** When, on the clock of the timers. */
  readonly expiresMs: number;
  /** Where it lies in the heap; -1 while it is not watched. Kept by `Deadlines` alone. */
  place: number;
  /** What happens then. */
  expire(): void;
}

/** A binary heap by `expiresMs` that knows the place of each entry. */
export class Deadlines {
  readonly #timers: Timers;
  readonly #heap: Expiring[] = [];
  #armedMs = Infinity;
  #callOff: (() => void) | null = null;

  /** None yet. */
  constructor(timers: Timers) {
    this.#timers = timers;
  }

  /** How many are watched. */
  get size(): number {
    return this.#heap.length;
  }

  /** Watches one that is not watched. */
  add(entry: Expiring): void {
    this.#heap.push(entry);
    this.#up(entry, this.#heap.length - 1);
    if (entry.expiresMs < this.#armedMs) {
      this.#arm(entry.expiresMs);
    }
  }

  /** Watches it no more; nothing if it is not watched. */
  remove(entry: Expiring): void {
    const { place } = entry;
    if (place < 0) {
      return;
    }
    entry.place = -1;
    const last = this.#heap.pop();
    if (last !== undefined && last !== entry) {
      this.#up(last, place);
      this.#down(last, last.place);
    }
  }

  /** Forgets all of them and stops the timer. */
  clear(): void {
    for (const entry of this.#heap) {
      entry.place = -1;
    }
    this.#heap.length = 0;
    this.#callOff?.();
    this.#callOff = null;
    this.#armedMs = Infinity;
  }

  #arm(expiresMs: number): void {
    this.#callOff?.();
    this.#armedMs = expiresMs;
    const delayMs = Math.ceil(expiresMs - this.#timers.monotonicMs());
    this.#callOff = this.#timers.after(Math.max(0, delayMs), () => this.#fired());
  }

  #fired(): void {
    this.#callOff = null;
    this.#armedMs = Infinity;
    const nowMs = this.#timers.monotonicMs();
    for (let first = this.#heap[0]; first !== undefined && first.expiresMs <= nowMs; first = this.#heap[0]) {
      this.remove(first);
      first.expire();
    }
    const nearest = this.#heap[0];
    if (nearest !== undefined && nearest.expiresMs < this.#armedMs) {
      this.#arm(nearest.expiresMs);
    }
  }

  #up(entry: Expiring, from: number): void {
    let place = from;
    while (place > 0) {
      const above = (place - 1) >> 1;
      const parent = this.#heap[above];
      if (parent === undefined || parent.expiresMs <= entry.expiresMs) {
        break;
      }
      this.#put(parent, place);
      place = above;
    }
    this.#put(entry, place);
  }

  #down(entry: Expiring, from: number): void {
    let place = from;
    for (;;) {
      let below = 2 * place + 1;
      let child = this.#heap[below];
      const other = this.#heap[below + 1];
      if (child !== undefined && other !== undefined && other.expiresMs < child.expiresMs) {
        child = other;
        below++;
      }
      if (child === undefined || child.expiresMs >= entry.expiresMs) {
        break;
      }
      this.#put(child, place);
      place = below;
    }
    this.#put(entry, place);
  }

  #put(entry: Expiring, place: number): void {
    this.#heap[place] = entry;
    entry.place = place;
  }
}

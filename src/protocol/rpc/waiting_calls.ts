/** Calls that were not sent yet, in order; a list, because any of them may be given up at any time. */
import type { OurCall } from "./our_call.ts";

/** A queue that calls can leave from the middle. */
export class WaitingCalls {
  #first: OurCall | null = null;
  #last: OurCall | null = null;
  #size = 0;

  /** How many wait. */
  get size(): number {
    return this.#size;
  }

  /** Puts one at the end. */
  push(call: OurCall): void {
    call.isWaiting = true;
    call.before = this.#last;
    if (this.#last === null) {
      this.#first = call;
    } else {
      this.#last.after = call;
    }
    this.#last = call;
    this.#size++;
  }

  /** Takes out the one that waits longest; null if none does. */
  shift(): OurCall | null {
    const first = this.#first;
    if (first !== null) {
      this.remove(first);
    }
    return first;
  }

  /** Takes one out; nothing if it does not wait. */
  remove(call: OurCall): void {
    if (!call.isWaiting) {
      return;
    }
    const { before, after } = call;
    if (before === null) {
      this.#first = after;
    } else {
      before.after = after;
    }
    if (after === null) {
      this.#last = before;
    } else {
      after.before = before;
    }
    call.isWaiting = false;
    call.before = call.after = null;
    this.#size--;
  }
}

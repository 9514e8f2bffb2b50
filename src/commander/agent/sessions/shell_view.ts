/**
 * What one viewer of a shell is sent: output from its place on, then how the shell ended. It is asked for each item
 * when there is credit for it, so a viewer that does not read costs nothing but its place.
 */
import { MAX_ITEM_BYTES, type ShellOutput } from "../../../protocol/manage/session_contract.ts";
import type { OutputRing } from "./output_ring.ts";

/** What a view tells its shell. */
export interface ShellViewHooks {
  /** The viewer has taken that many bytes of output. */
  taken(bytes: number): void;
  /** It takes no more: it was given the last item, was replaced, or is gone. */
  over(): void;
}

type Result = IteratorResult<ShellOutput, undefined>;

const DONE: Result = { done: true, value: undefined };

/** The items of one viewer. */
export class ShellView implements AsyncIterableIterator<ShellOutput> {
  readonly #ring: OutputRing;
  readonly #hooks: ShellViewHooks;
  #placeBytes: number;
  #skippedBytes: number;
  #last: ShellOutput | null = null;
  /** Whether the last item comes before output that was not seen yet. */
  #cutsOutput = false;
  #error: Error | null = null;
  readonly #over = Promise.withResolvers<void>();
  #isOver = false;
  #waiting: PromiseWithResolvers<Result> | null = null;

  /** Begins behind what was seen, as far as it is still there. */
  constructor(ring: OutputRing, seenBytes: number, hooks: ShellViewHooks) {
    this.#ring = ring;
    this.#hooks = hooks;
    const wanted = Math.min(seenBytes, ring.endBytes);
    this.#placeBytes = Math.max(wanted, ring.startBytes);
    this.#skippedBytes = this.#placeBytes - wanted;
  }

  /** Bytes of output that are not taken yet. */
  get lagBytes(): number {
    return this.#ring.endBytes - this.#placeBytes;
  }

  /** Settles when it takes no more. */
  get over(): Promise<void> {
    return this.#over.promise;
  }

  /** There may be something new. */
  wake(): void {
    if (this.#waiting === null) {
      return;
    }
    const { resolve, reject } = this.#waiting;
    try {
      const result = this.#take();
      if (result !== null) {
        this.#waiting = null;
        resolve(result);
      }
    } catch (error) {
      this.#waiting = null;
      reject(error);
    }
  }

  /** The shell has ended: its last item comes behind all output. */
  finish(last: ShellOutput): void {
    this.#last ??= last;
    this.wake();
  }

  /** The host ends it: the last item comes at once. */
  cut(last: ShellOutput): void {
    this.#last = last;
    this.#cutsOutput = true;
    this.wake();
  }

  /** The viewer sent what it may not. */
  fail(error: Error): void {
    this.#error ??= error;
    this.wake();
  }

  /** The next item. */
  next(): Promise<Result> {
    try {
      const result = this.#take();
      if (result !== null) {
        return Promise.resolve(result);
      }
    } catch (error) {
      return Promise.reject(error);
    }
    this.#waiting = Promise.withResolvers();
    return this.#waiting.promise;
  }

  /** The viewer takes no more. */
  return(): Promise<Result> {
    this.#end();
    this.#waiting?.resolve(DONE);
    this.#waiting = null;
    return Promise.resolve(DONE);
  }

  /** Itself. */
  [Symbol.asyncIterator](): this {
    return this;
  }

  #take(): Result | null {
    if (this.#isOver) {
      return DONE;
    }
    if (this.#error !== null) {
      this.#end();
      throw this.#error;
    }
    if (this.#skippedBytes > 0 && !this.#cutsOutput) {
      const skippedBytes = this.#skippedBytes;
      this.#skippedBytes = 0;
      return { done: false, value: { skippedBytes } };
    }
    if (this.lagBytes > 0 && !this.#cutsOutput) {
      const value = this.#ring.read(this.#placeBytes, MAX_ITEM_BYTES);
      this.#placeBytes += value.length;
      this.#hooks.taken(value.length);
      return { done: false, value };
    }
    if (this.#last === null) {
      return null;
    }
    const value = this.#last;
    this.#end();
    return { done: false, value };
  }

  #end(): void {
    if (!this.#isOver) {
      this.#isOver = true;
      this.#over.resolve();
      this.#hooks.over();
    }
  }
}

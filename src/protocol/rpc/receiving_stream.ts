/**
 * Items that come from the other side, as the program reads them.
 *
 * The sender may be ahead by a window of bytes. What is taken out here is given back as credit, half a window at a
 * time, so what lies here is bounded by the window and one item however slow the reader is.
 */
import { HEADER_BYTES } from "./frame.ts";
import { ConnectionError } from "./errors.ts";

/** What a receiving stream tells those who write frames. */
export interface ReceivingHooks {
  /** The sender may send that many bytes more. */
  credit(bytes: number): void;
  /** The program reads no more, though the sender has not ended. */
  stopped(): void;
  /** Checks an item before the program gets it; may throw or reject. Null: nothing to check. */
  readonly check: ((item: unknown) => unknown) | null;
}

interface Waiting {
  readonly resolve: (result: IteratorResult<unknown> | PromiseLike<IteratorResult<unknown>>) => void;
  readonly reject: (error: Error) => void;
}

/** Places of items that were taken out are kept until there are so many: dropping them moves all that lies behind. */
const MAX_EMPTY_PLACES = 1024;

const DONE: IteratorReturnResult<undefined> = { done: true, value: undefined };

/** One stream's receiving end. */
export class ReceivingStream implements AsyncIterableIterator<unknown> {
  readonly #hooks: ReceivingHooks;
  readonly #windowBytes: number;
  /** Bytes the sender may still send. */
  #allowedBytes: number;
  /** Bytes taken by the program since credit was last given. */
  #takenBytes = 0;
  #items: unknown[] = [];
  #sizes: number[] = [];
  #first = 0;
  #waiting: Waiting[] = [];
  /** Whether the sender has said that there are no more. */
  #ended = false;
  /** Whether the program takes more. */
  #reading = true;
  /** What the reader gets, once, when it has read what lies here. */
  #error: Error | null = null;

  /** Empty. */
  constructor(windowBytes: number, hooks: ReceivingHooks) {
    this.#windowBytes = windowBytes;
    this.#allowedBytes = windowBytes;
    this.#hooks = hooks;
  }

  /** Whether neither side has ended it. */
  get isOpen(): boolean {
    return !this.#ended && this.#reading;
  }

  /** Whether the sender has said that there are no more. */
  get isEnded(): boolean {
    return this.#ended;
  }

  /**
   * Counts an item before it is decoded.
   *
   * @returns whether the program still wants it
   * @throws {ConnectionError} "limit_exceeded" if it was sent without credit
   */
  admit(bodyBytes: number): boolean {
    if (this.#allowedBytes <= 0) {
      throw new ConnectionError("limit_exceeded", "here", "cannot take an item: it was sent without credit");
    }
    this.#allowedBytes -= bodyBytes + HEADER_BYTES;
    return this.#reading;
  }

  /** Puts in an item that was admitted. */
  push(item: unknown, bodyBytes: number): void {
    const waiting = this.#waiting.shift();
    if (waiting !== undefined) {
      this.#took(bodyBytes + HEADER_BYTES);
      waiting.resolve(this.#checked(item));
      return;
    }
    this.#items.push(item);
    this.#sizes.push(bodyBytes + HEADER_BYTES);
  }

  /** The sender has no more. */
  end(): void {
    this.#ended = true;
    this.#settleWaiting();
  }

  /** The sender has no more because something failed: the reader is told when it has read what lies here. */
  fail(error: Error): void {
    if (this.isOpen) {
      this.#error = error;
    }
    this.end();
  }

  /** Nobody waits for the rest: what lies here is forgotten, the reader is told at once. */
  giveUp(error: Error): void {
    if (this.#reading) {
      this.#error = error;
      this.#stopReading();
    }
  }

  /** Nothing is read any more, and the other side need not be told. */
  close(): void {
    this.#error = null;
    this.#stopReading();
  }

  /** The next item. */
  next(): Promise<IteratorResult<unknown, undefined>> {
    if (this.#first < this.#items.length) {
      return this.#takeFirst();
    }
    if (this.#error !== null) {
      const error = this.#error;
      this.#error = null;
      return Promise.reject(error);
    }
    if (!this.isOpen) {
      return Promise.resolve(DONE);
    }
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  /** Ends the reading; what `break` in a `for await` does. */
  return(): Promise<IteratorReturnResult<undefined>> {
    const wasOpen = this.isOpen;
    this.close();
    if (wasOpen) {
      this.#hooks.stopped();
    }
    return Promise.resolve(DONE);
  }

  /** Itself. */
  [Symbol.asyncIterator](): this {
    return this;
  }

  #took(bytes: number): void {
    this.#takenBytes += bytes;
    if (this.#takenBytes * 2 >= this.#windowBytes && this.isOpen) {
      const credit = this.#takenBytes;
      this.#takenBytes = 0;
      this.#allowedBytes += credit;
      this.#hooks.credit(credit);
    }
  }

  #checked(item: unknown): IteratorResult<unknown> | Promise<IteratorResult<unknown>> {
    const { check } = this.#hooks;
    return check === null ? { done: false, value: item } : this.#check(item, check);
  }

  async #check(item: unknown, check: (item: unknown) => unknown): Promise<IteratorResult<unknown>> {
    try {
      return { done: false, value: await check(item) };
    } catch (error) {
      await this.return();
      throw error;
    }
  }

  #takeFirst(): Promise<IteratorResult<unknown, undefined>> {
    const item = this.#items[this.#first], bytes = this.#sizes[this.#first] ?? 0;
    this.#items[this.#first] = undefined;
    this.#first++;
    if (this.#first === this.#items.length) {
      this.#forget();
    } else if (this.#first >= MAX_EMPTY_PLACES && this.#first * 2 >= this.#items.length) {
      // A reader that is always a little behind never finds it empty.
      this.#items.splice(0, this.#first);
      this.#sizes.splice(0, this.#first);
      this.#first = 0;
    }
    this.#took(bytes);
    return Promise.resolve(this.#checked(item));
  }

  #stopReading(): void {
    this.#reading = false;
    this.#forget();
    this.#settleWaiting();
  }

  #forget(): void {
    this.#items = [];
    this.#sizes = [];
    this.#first = 0;
  }

  #settleWaiting(): void {
    for (const { resolve, reject } of this.#waiting.splice(0)) {
      if (this.#error !== null) {
        reject(this.#error);
        this.#error = null;
      } else {
        resolve(DONE);
      }
    }
  }
}

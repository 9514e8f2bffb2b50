/**
 * Items that go to the other side: pulls them out of the program's iterable as long as there is credit and the
 * outbox has room. Without either the program's generator simply is not asked for its next item.
 */
import { HEADER_BYTES } from "./frame.ts";
import type { FrameSink } from "./frame_sink.ts";

interface Source {
  readonly iterator: AsyncIterator<unknown> | Iterator<unknown>;
  readonly isAsync: boolean;
}

/** One stream's sending end. */
export class SendingStream {
  readonly #sink: FrameSink;
  readonly #windowBytes: number;
  /** Sends one item and says how long its body was. */
  readonly #send: (item: unknown) => number;
  #creditBytes: number;
  #stopped = false;
  #resume: (() => void) | null = null;
  #waitsForRoom = false;
  #source: Source | null = null;
  /** What the generator answered to being ended; it is told only once. */
  #returned: Promise<unknown> | null = null;

  /** Not running yet; `windowBytes` is what the other side told. */
  constructor(sink: FrameSink, windowBytes: number, send: (item: unknown) => number) {
    this.#sink = sink;
    this.#windowBytes = windowBytes;
    this.#creditBytes = windowBytes;
    this.#send = send;
  }

  /**
   * The other side has taken that many bytes.
   *
   * @returns false if it cannot have: it gives back more than was sent
   */
  credit(bytes: number): boolean {
    if (this.#creditBytes + bytes > this.#windowBytes) {
      return false;
    }
    this.#creditBytes += bytes;
    if (this.#creditBytes > 0) {
      this.#resume?.();
    }
    return true;
  }

  /**
   * Asks the program for no more items. Its generator is told at once, even where it waits for something; when it
   * ends is up to the generator.
   */
  stop(): void {
    if (this.#stopped) {
      return;
    }
    this.#stopped = true;
    this.#resume?.();
    if (this.#source !== null) {
      // `run` awaits the same promise; here it must only not count as a rejection that nobody handles.
      this.#end().catch(() => {});
    }
  }

  /**
   * Sends everything. Settles once the program's generator has ended.
   *
   * @throws whatever the generator or `send` throws
   */
  async run(items: unknown): Promise<void> {
    const source = sourceOf(items);
    const { iterator, isAsync } = source;
    this.#source = source;
    try {
      for (;;) {
        while (!this.#stopped && (this.#creditBytes <= 0 || !this.#sink.hasRoom)) {
          await this.#go();
        }
        if (this.#stopped) {
          break;
        }
        const pulled = iterator.next();
        const result = isAsync ? await pulled : pulled as IteratorResult<unknown>;
        if (result.done === true) {
          this.#source = null;
          return;
        }
        if (!this.#stopped) {
          this.#creditBytes -= this.#send(result.value) + HEADER_BYTES;
        }
      }
    } catch (error) {
      // A generator that threw has ended; one whose item could not be sent has not. The first error counts.
      await this.#end().catch(() => {});
      throw error;
    }
    await this.#end();
  }

  #go(): Promise<void> {
    return new Promise((resolve) => {
      this.#resume = resolve;
      // Credit may wake us any number of times before there is room; to wait for that once is enough.
      if (this.#creditBytes > 0 && !this.#waitsForRoom) {
        this.#waitsForRoom = true;
        this.#sink.whenRoom(() => {
          this.#waitsForRoom = false;
          this.#resume?.();
        });
      }
    });
  }

  #end(): Promise<unknown> {
    this.#returned ??= endOf(this.#source);
    return this.#returned;
  }
}

async function endOf(source: Source | null): Promise<void> {
  await source?.iterator.return?.();
}

function sourceOf(items: unknown): Source {
  if (items !== null && items !== undefined) {
    const { [Symbol.asyncIterator]: inTime, [Symbol.iterator]: atOnce } = items as Partial<
      AsyncIterable<unknown> & Iterable<unknown>
    >;
    if (typeof inTime === "function") {
      return { iterator: inTime.call(items), isAsync: true };
    }
    if (typeof atOnce === "function") {
      return { iterator: atOnce.call(items), isAsync: false };
    }
  }
  throw new TypeError("cannot send items: they want an iterable or an async iterable");
}

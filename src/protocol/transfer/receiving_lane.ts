/**
 * What a receiving session does with its sink: one call after the other, while the next chunks are being decompressed
 * and hashed, and others are on their way.
 */
import type { Session } from "./session.ts";

/** Chunks that have come and are not with the sink yet: two long ones. More is not read from the link. */
const MAX_BYTES = 2 * 1024 * 1024;
/** Of small files, of which each is an act that waits for the disk. */
const MAX_ACTS = 64;

/** The calls to one sink in one session. */
export class SinkLane {
  readonly #session: Session;
  #hasFailed = false;
  #last: Promise<void> = Promise.resolve();
  #acts = 0;
  #bytes = 0;
  #roomWanted: { readonly bytes: number; readonly settle: () => void } | null = null;

  /** Nothing to do. */
  constructor(session: Session) {
    this.#session = session;
  }

  /** Settles when so many bytes more may be added; never, if the session fails before. Calls do not overlap. */
  room(bytes: number): Promise<void> {
    if (this.#hasRoom(bytes)) return Promise.resolve();
    return new Promise((settle) => this.#roomWanted = { bytes, settle });
  }

  /**
   * Adds an act, done in its turn with what is being made ready for it. Whatever fails in either ends the session, and no
   * act is done behind it; but if the session fails of something else, what has come whole is still done.
   *
   * @param bytes how much memory it holds until then
   */
  add<T>(bytes: number, ready: Promise<T>, act: (ready: T) => Promise<void>): void {
    this.#acts++;
    this.#bytes += bytes;
    ready.catch(() => {}); // it may fail before its turn
    this.#last = this.#last.then(async () => {
      await this.#do(ready, act);
      this.#acts--;
      this.#bytes -= bytes;
      this.#giveRoom();
    });
  }

  /** Settles when nothing goes on any more, also after a failure. */
  idle(): Promise<void> {
    return this.#last;
  }

  async #do<T>(ready: Promise<T>, act: (ready: T) => Promise<void>): Promise<void> {
    try {
      const value = await ready;
      if (!this.#hasFailed) await act(value);
    } catch (error) {
      this.#hasFailed = true;
      this.#session.fail(error);
    }
  }

  #hasRoom(bytes: number): boolean {
    return this.#acts < MAX_ACTS && this.#bytes + bytes <= MAX_BYTES;
  }

  #giveRoom(): void {
    const wanted = this.#roomWanted;
    if (wanted === null || !this.#hasRoom(wanted.bytes)) return;
    this.#roomWanted = null;
    wanted.settle();
  }
}

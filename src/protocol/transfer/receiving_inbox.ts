/** What a receiving session hears, one message after the other, and while something else goes on. */
import { endedEarly, outOfTurn } from "./endings.ts";
import type { HeardMessage, Session } from "./session.ts";

/** The messages of the sender, without heartbeats. */
export class Inbox {
  readonly #session: Session;
  /** Being heard, and not taken. */
  #ahead: Promise<HeardMessage | null> | null = null;

  /** Has heard nothing. */
  constructor(session: Session) {
    this.#session = session;
  }

  /**
   * The next message.
   *
   * @throws {TransferError} `malformed` if there is none
   */
  async next(): Promise<HeardMessage> {
    const heard = await this.#take();
    if (heard === null) throw endedEarly();
    return heard;
  }

  /**
   * Waits for the end of the sender's records.
   *
   * @throws {TransferError} `malformed` if a message comes instead
   */
  async end(): Promise<void> {
    const heard = await this.#take();
    if (heard !== null) throw outOfTurn(heard.message.type, "the end");
  }

  /**
   * Waits for something that the sender has to wait for too, and goes on listening: it may be gone, or say `stop`.
   *
   * @throws {TransferError} `malformed` if it says anything else but heartbeats
   */
  async during<T>(work: Promise<T>): Promise<T> {
    this.#ahead ??= this.#session.hear();
    const early = Promise.withResolvers<never>();
    this.#ahead.then(
      (heard) => early.reject(heard === null ? endedEarly() : outOfTurn(heard.message.type, "a heartbeat")),
      early.reject,
    );
    return await Promise.race([work, early.promise]);
  }

  #take(): Promise<HeardMessage | null> {
    const ahead = this.#ahead ?? this.#session.hear();
    this.#ahead = null;
    return ahead;
  }
}

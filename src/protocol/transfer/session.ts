/**
 * What both sides of a session have in common. Many things go on in it at once, and the first that fails ends all of
 * them: the other side is told by `stop` where that helps, the channel is closed, and everything that waits here
 * settles.
 */
import { aborted, isToBeTold, stopMessage, stopped, unforeseen } from "./endings.ts";
import { TransferError } from "./errors.ts";
import type { TransferEvent } from "./events.ts";
import { Liveness, type LivenessHooks } from "./liveness.ts";
import type { DataMessage, HeartbeatMessage, StopMessage, TransferMessage } from "./messages.ts";
import type { Timers } from "../rpc/timers.ts";

/** What was heard: a message, or a chunk with the `data` message that announces it. */
export type HeardRecord =
  | { readonly message: Exclude<TransferMessage, DataMessage> }
  | { readonly message: DataMessage; readonly body: Uint8Array<ArrayBuffer> };

/** What is left of it for a session to act on. */
export type HeardMessage =
  | { readonly message: Exclude<TransferMessage, DataMessage | HeartbeatMessage | StopMessage> }
  | { readonly message: DataMessage; readonly body: Uint8Array<ArrayBuffer> };

/** What a session needs of its channel; see `TransferChannel`. */
export interface SessionChannel {
  /** When bytes were heard for the last time, on the clock of the timers. */
  readonly heardMs: number;
  /** When bytes were said for the last time. */
  readonly saidMs: number;
  /** How much has come of the chunk that is being read, 0 to 1. */
  readonly partOfNext: number;
  /** Says a message, in the order of the calls; settles when there is room for more. */
  send(message: Exclude<TransferMessage, DataMessage>): Promise<void>;
  /** Says a chunk, whose memory belongs to the channel from now on; settles when there is room for more. */
  sendChunk(data: DataMessage, chunk: Uint8Array<ArrayBuffer>): Promise<void>;
  /** What the other side says next; null: it has ended its records. Calls do not overlap. */
  receive(): Promise<HeardRecord | null>;
  /** Says everything and the last record, after which nothing can be said. */
  end(): Promise<void>;
  /** Gives the connection up; everything that waits rejects. Never throws. */
  close(): void;
}

type WithoutReceiver<E> = E extends unknown ? Omit<E, "receiver"> : never;

/**
 * What a session tells. `offer` comes in every session, also in those after a lost link; `file_done` at the receiver
 * only, as no message tells a sender.
 */
export type SessionEvent = WithoutReceiver<
  Extract<TransferEvent, { readonly event: "offer" | "accepted" | "progress" | "file_done" }>
>;

/** Takes events; must not throw. */
export type OnSessionEvent = (event: SessionEvent) => void;

/** What every session is given. */
export interface SessionOptions {
  /** By which heartbeats go out and silence is told. */
  readonly timers: Timers;
  /** Told what happens. */
  readonly onEvent?: OnSessionEvent | undefined;
  /** Ends the session by closing its channel: the other side takes it for a lost link, and waits. */
  readonly signal?: AbortSignal | undefined;
}

/** One side of a session. */
export interface SessionRole extends Omit<LivenessHooks, "failed"> {
  /** A heartbeat of the other side has come. @throws {TransferError} */
  heartbeat(receivedBytes: number): void;
  /** Everything this side says and hears, to the good end; whatever it throws ends the session. */
  converse(session: Session): Promise<void>;
}

/** How long a `stop`, or the end of the records, may take on its way before the channel is closed. */
const FAREWELL_MS = 3_000;

/** How long a `stop` is given to arrive if the other side cannot be heard out. */
const UNREADABLE_MS = 1_000;

/** The channel of a session, and its one failure. */
export class Session {
  /** Of the session; whatever else it waits for goes by them too. */
  readonly timers: Timers;
  readonly #channel: SessionChannel;
  readonly #role: SessionRole;
  readonly #liveness: Liveness;
  /** Whoever waits, to be told of the failure. */
  readonly #waiting = new Set<(failure: TransferError) => void>();
  #failure: TransferError | null = null;
  #isOver = false;
  #farewell: Promise<void> | null = null;

  /** Begins; see `holdSession`. */
  constructor(channel: SessionChannel, timers: Timers, role: SessionRole) {
    this.timers = timers;
    this.#channel = channel;
    this.#role = role;
    this.#liveness = new Liveness(channel, timers, {
      beatsAlways: role.beatsAlways,
      beating: () => role.beating?.(),
      receivedBytes: () => role.receivedBytes(),
      failed: (error) => this.fail(error),
    });
  }

  /** How much has come of the chunk that is being read, 0 to 1; for display. */
  get partOfNext(): number {
    return this.#channel.partOfNext;
  }

  /** What has ended it early. */
  get failure(): TransferError | null {
    return this.#failure;
  }

  /** Ends it early, unless it is over; the first call decides. */
  fail(error: unknown): void {
    if (this.#isOver || this.#failure !== null) return;
    const failure = unforeseen(error);
    this.#failure = failure;
    this.#liveness.stop();
    this.#farewell = this.#sayFarewell(failure);
    for (const tell of this.#waiting) tell(failure);
    this.#waiting.clear();
  }

  /** All that matters was said and heard: nothing that happens from now on is a failure. */
  over(): void {
    this.#isOver = true;
    this.#liveness.stop();
  }

  /**
   * Waits for a promise, but no longer than the session lasts. What it waits for may go on.
   *
   * Not `Promise.race` with a promise of the failure: that would keep something of each of a million chunks until
   * the session ends.
   */
  wait<T>(promise: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      if (this.#failure !== null) reject(this.#failure);
      else this.#waiting.add(reject);
      promise.then(resolve, reject).finally(() => this.#waiting.delete(reject));
    });
  }

  /** Says a message; settles when there is room for more. */
  async say(message: Exclude<TransferMessage, DataMessage>): Promise<void> {
    this.#requireWhole();
    await this.wait(this.#channel.send(message));
  }

  /** Says a chunk, whose memory is given away; settles when there is room for more. */
  async sayChunk(data: DataMessage, chunk: Uint8Array<ArrayBuffer>): Promise<void> {
    this.#requireWhole();
    await this.wait(this.#channel.sendChunk(data, chunk));
  }

  /**
   * What the other side says next that is no heartbeat; null: it has ended its records. Calls do not overlap.
   *
   * @throws {TransferError} what it says with `stop`
   */
  async hear(): Promise<HeardMessage | null> {
    for (;;) {
      this.#requireWhole();
      const heard = await this.wait(this.#liveness.receive());
      if (heard === null) return null;
      const left = this.#withoutSigns(heard);
      if (left !== null) return left;
    }
  }

  /** Sends no heartbeats any more. */
  mute(): void {
    this.#liveness.mute();
  }

  /** Ends our records and hears the other side's end, in the time that there is for it. */
  async endRecords(): Promise<void> {
    await within(this.timers, FAREWELL_MS, this.#endAndDrain());
  }

  /** Closes the channel, after what the other side is to be told. */
  async close(): Promise<void> {
    await this.#farewell;
    this.#channel.close();
  }

  #withoutSigns(heard: HeardRecord): HeardMessage | null {
    if ("body" in heard) return heard;
    const { message } = heard;
    if (message.type === "stop") throw stopped(message);
    if (message.type !== "heartbeat") return { message };
    this.#role.heartbeat(message.receivedBytes);
    return null;
  }

  async #sayFarewell(failure: TransferError): Promise<void> {
    const stop = isToBeTold(failure) ? stopMessage(failure) : null;
    if (stop !== null) await within(this.timers, FAREWELL_MS, this.#tell(stop));
    this.#channel.close();
  }

  async #tell(stop: StopMessage): Promise<void> {
    await this.#channel.send(stop);
    try {
      await this.#endAndDrain();
    } catch (error) {
      // What cannot be read cannot be heard to its end either: the stop is given time to arrive instead.
      if (isUnreadable(error)) await within(this.timers, UNREADABLE_MS, new Promise(() => {}));
    }
  }

  /**
   * A TCP connection that is closed while something lies there unread is reset, and the reset destroys what was said
   * last. So the other side is heard to its end.
   */
  async #endAndDrain(): Promise<void> {
    await this.#channel.end();
    while (await this.#liveness.receive() !== null);
  }

  #requireWhole(): void {
    if (this.#failure !== null) throw this.#failure;
  }
}

/**
 * Holds one session over a channel, which is closed in every case before this settles.
 *
 * @throws {TransferError} why it ended early
 */
export async function holdSession(
  channel: SessionChannel,
  { timers, signal }: SessionOptions,
  role: SessionRole,
): Promise<void> {
  const session = new Session(channel, timers, role);
  const abort = (): void => session.fail(aborted(signal?.reason));
  signal?.addEventListener("abort", abort);
  if (signal?.aborted === true) abort();
  try {
    await role.converse(session);
  } catch (error) {
    session.fail(error);
  } finally {
    await session.close();
    signal?.removeEventListener("abort", abort);
  }
  if (session.failure !== null) throw session.failure;
}

function isUnreadable(error: unknown): boolean {
  return error instanceof TransferError && ["malformed", "tampered", "limit"].includes(error.code);
}

/** Waits for a promise, but not longer than that, and not for its success. */
export async function within(timers: Timers, limitMs: number, promise: Promise<unknown>): Promise<void> {
  const limit = Promise.withResolvers<void>();
  const callOff = timers.after(limitMs, limit.resolve);
  promise.then(() => limit.resolve(), () => limit.resolve());
  await limit.promise;
  callOff();
}

/** How far a session is; see the event `progress`. */
export interface FileProgress {
  /** Of the whole offer. */
  readonly receivedBytes: number;
  /** Number of the entry. */
  readonly file: number;
  /** Of that file. */
  readonly fileBytes: number;
}

const PROGRESS_PAUSE_MS = 100;

/** Tells progress, ten times a second and at each file's end. */
export class ProgressTeller {
  readonly #timers: Timers;
  readonly #onEvent: OnSessionEvent;
  #toldMs = -PROGRESS_PAUSE_MS;

  /** Has told nothing. */
  constructor(timers: Timers, onEvent: OnSessionEvent) {
    this.#timers = timers;
    this.#onEvent = onEvent;
  }

  /** Tells it, unless something was told just now. */
  tell(progress: FileProgress): void {
    if (this.#timers.monotonicMs() - this.#toldMs >= PROGRESS_PAUSE_MS) this.tellNow(progress);
  }

  /** Tells it in any case. */
  tellNow(progress: FileProgress): void {
    this.#toldMs = this.#timers.monotonicMs();
    this.#onEvent({ event: "progress", ...progress });
  }
}

/** Frees memory that nobody looks at any more, now and not some day: a chunk is too long to wait for the collector. */
export function release({ buffer }: Uint8Array<ArrayBuffer>): void {
  if (!buffer.detached) buffer.transfer(0);
}

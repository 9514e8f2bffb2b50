/**
 * What two sides that have paired do until everything has arrived: a session, and after a lost link another one.
 *
 *   met -> session -> done
 *   ^         +- link lost: pause, meet again by the resume secret, within the grace time
 *   |         |        |
 *   +---------|--------+
 *             +- anything else, a `stop` of the other side, tampering: the end
 *
 * The code is never used here. It has let one other side in, and whoever cuts the link must not be given another guess
 * at it.
 */
import type { RandomBytes, Timers } from "../rpc/timers.ts";
import { TransferChannel } from "./channel.ts";
import { TransferError, type TransferErrorCode } from "./errors.ts";
import type { OnTransferEvent } from "./events.ts";
import { LAST_WORD_MS, SILENCE_MS, type TransferLimits } from "./limits.ts";
import type { PairingMemory } from "./memory.ts";
import { CHUNK_BYTES } from "./offer.ts";
import type { TransferRole } from "./pairing.ts";
import { GraceTime, pause } from "./redial.ts";
import { type Dial, meet, type MeetOptions, type Met } from "./rendezvous.ts";
import type { OnSessionEvent, SessionEvent } from "./session.ts";

/** What shares and receives have in common. */
export interface LinkParts {
  /** Which side this is. */
  readonly role: TransferRole;
  /** Makes each connection. */
  readonly dial: Dial;
  /** Whether `dial` reaches a relay, which is told an identifier, and not the other side itself. */
  readonly throughRelay: boolean;
  /** How long a lost link, or a relay that cannot be reached, is tried again, in milliseconds. */
  readonly graceMs: number;
  /** The clock. */
  readonly timers: Timers;
  /** For keys, instances and pauses. */
  readonly random: RandomBytes;
  /** Ends everything at once. */
  readonly signal: AbortSignal;
  /** Told what happens. */
  readonly onEvent: OnTransferEvent;
}

/** One session over a channel that belongs to it; see `sendSession` and `receiveSession`. */
export type Session = (channel: TransferChannel, onEvent: OnSessionEvent) => Promise<void>;

/** What two that have paired do. */
export interface SessionsOptions extends LinkParts {
  /** Which receiver of a share this is, from 1. */
  readonly receiver: number;
  /** By which the two meet again; 32 bytes. */
  readonly secret: Uint8Array<ArrayBuffer>;
  /** Where guesses at the code are written down. */
  readonly memory: PairingMemory;
  /** What is accepted of the other side. */
  readonly limits: TransferLimits;
  /** What is done over each link. */
  readonly session: Session;
  /** Whether nothing is missing here but the word to the other side, which may be gone for good reason. */
  readonly isComplete: () => boolean;
}

/** Why a link is tried again; whatever else ends a session ends the transfer. */
const LINK_FAILURES: ReadonlySet<TransferErrorCode> = new Set<TransferErrorCode>(["lost", "silent"]);
/** How a search for somebody whom one has met before ends when the time is over. */
const GONE: ReadonlySet<TransferErrorCode> = new Set<TransferErrorCode>(["absent", "unreachable", "version"]);
const MS_PER_SECOND = 1_000;

/**
 * Sessions until one has ended well. That the first two have paired is told by the caller, and here for every pairing
 * that follows.
 *
 * @param first whose connection belongs to this function from now on
 * @throws {TransferError} `lost` if the link was lost and could not be had again; what a session ended with
 * @throws the signal's reason
 */
export async function redialledSessions(first: Met, options: SessionsOptions): Promise<void> {
  const grace = new GraceTime(options), progress = new Progress(options);
  for (let met: Met | null = first; met !== null;) {
    const failure = await oneSession(met, progress, options);
    if (failure === null) return;
    grace.lost(progress.hasMoved);
    tellInterrupted(failure, options);
    met = await meetAgain(grace, options);
    if (met !== null) options.onEvent({ event: "paired", receiver: options.receiver, resumed: true });
  }
}

/** @returns null if it ended well, or how the link was lost */
async function oneSession(
  { connection, paired }: Met,
  progress: Progress,
  options: SessionsOptions,
): Promise<TransferError | null> {
  const { timers, limits, signal } = options;
  // A session that is just saying farewell would take its time for it.
  const close = (): void => connection.close();
  signal.addEventListener("abort", close);
  try {
    signal.throwIfAborted();
    progress.begin();
    const channel = new TransferChannel(connection, paired, { limits, timers });
    await options.session(channel, (event) => progress.take(event));
    return null;
  } catch (error) {
    signal.throwIfAborted();
    // Where all is in its place, whatever came instead of the sender's last word spoils nothing.
    if (isLinkFailure(error) || (error instanceof TransferError && options.isComplete())) return error;
    throw error;
  } finally {
    signal.removeEventListener("abort", close);
    close();
  }
}

function isLinkFailure(error: unknown): error is TransferError {
  return error instanceof TransferError && error.side === "here" && LINK_FAILURES.has(error.code);
}

/** @returns null if the other side did not come back and need not */
async function meetAgain(grace: GraceTime, options: SessionsOptions): Promise<Met | null> {
  const { timers, signal, graceMs } = options, isComplete = options.isComplete();
  await pause(grace.pauseMs, timers, signal);
  const leftMs = isComplete ? LAST_WORD_MS : Infinity;
  const untilMs = Math.min(grace.untilMs, timers.monotonicMs() + leftMs);
  try {
    // The time that is left decides, whatever it is spent on: so all of the grace time for the relay.
    return await meet({ ...meetingBySecret(options, options), untilMs, graceMs, onWaiting: () => {} });
  } catch (error) {
    if (!isGone(error)) throw error;
    if (!isComplete) throw notHadAgain(error, graceMs);
    // Without a relay nobody can tell whether the sender is still looking for us.
    const isDialling = error.code === "unreachable" && timers.monotonicMs() >= untilMs && !grace.isOver;
    return isDialling ? await meetAgain(grace, options) : null;
  }
}

function notHadAgain(cause: TransferError, graceMs: number): TransferError {
  const found = cause.code === "absent" ? "the other side did not come back" : cause.message;
  return new TransferError(
    "lost",
    `the link was lost, and could not be had again within ${graceMs / MS_PER_SECOND} s: ${found}`,
    { cause },
  );
}

/** What `meet` is told to meet somebody again. */
export function meetingBySecret(
  parts: LinkParts,
  { secret, memory, receiver }: Pick<SessionsOptions, "secret" | "memory" | "receiver">,
): Omit<MeetOptions, "untilMs" | "onWaiting"> {
  const { role, throughRelay, dial, graceMs, timers, random, signal, onEvent } = parts;
  return {
    pairing: {
      role,
      rendezvous: { kind: "resume", secret },
      sendIdentifier: throughRelay,
      memory,
    },
    dial,
    graceMs,
    timers,
    random,
    signal,
    onUnreachable: (error) => tellInterrupted(error, { onEvent, receiver }),
  };
}

/** Whether somebody whom one has met before did not come back in time. */
export function isGone(error: unknown): error is TransferError {
  return error instanceof TransferError && GONE.has(error.code);
}

/** Tells that the link is tried again. */
export function tellInterrupted(
  { code, message }: TransferError,
  { onEvent, receiver }: Pick<SessionsOptions, "onEvent" | "receiver">,
): void {
  onEvent({ event: "interrupted", receiver, reason: code, message });
}

/** Passes on what sessions tell, the same thing once, and knows whether the last one was of any use. */
class Progress {
  readonly #options: SessionsOptions;
  readonly #filesDone = new Set<number>();
  #isOfferTold = false;
  #leastMissingBytes = Infinity;
  #mostReceivedBytes = 0;
  /** Of the sessions before. */
  #earlierBytes = 0;
  #begunMs = 0;
  #hasMoved = false;

  constructor(options: SessionsOptions) {
    this.#options = options;
  }

  /** Another session begins. */
  begin(): void {
    this.#begunMs = this.#options.timers.monotonicMs();
    this.#hasMoved = false;
    this.#earlierBytes = this.#mostReceivedBytes;
  }

  /**
   * Whether the session moved something, or lasted so long that both sides must have heard one another: a person may
   * still be thinking the offer over. One in which nobody is heard lasts a little longer than the silence that ends it.
   */
  get hasMoved(): boolean {
    return this.#hasMoved || this.#options.timers.monotonicMs() - this.#begunMs > 2 * SILENCE_MS;
  }

  take(event: SessionEvent): void {
    if (!this.#isNew(event)) return;
    this.#options.onEvent({ ...event, receiver: this.#options.receiver });
  }

  /** Whether it was not told before; what was moved is seen on the way. */
  #isNew(event: SessionEvent): boolean {
    switch (event.event) {
      case "offer": {
        const isNew = !this.#isOfferTold;
        this.#isOfferTold = true;
        return isNew;
      }
      case "accepted":
        // What the last session moved unseen shows here.
        if (event.missingBytes < this.#leastMissingBytes) this.#hasMoved = true;
        this.#leastMissingBytes = Math.min(this.#leastMissingBytes, event.missingBytes);
        return true;
      case "progress":
        // Less than a chunk may be a part of one, which is lost with the link: a relay that let one more byte of it pass
        // each time would never come to an end.
        if (event.receivedBytes - this.#earlierBytes >= CHUNK_BYTES) this.#hasMoved = true;
        this.#mostReceivedBytes = Math.max(this.#mostReceivedBytes, event.receivedBytes);
        return true;
      case "file_done": {
        const isNew = !this.#filesDone.has(event.file);
        this.#filesDone.add(event.file);
        this.#hasMoved ||= isNew;
        return isNew;
      }
    }
  }
}

/**
 * The whole life of a receive: meet by the code, or by the secret of an earlier run, or of a guess at the code that
 * nobody answered; then sessions, each of which asks for what the one before has not brought.
 */
import type { RandomBytes, Timers } from "../rpc/timers.ts";
import { TransferError } from "./errors.ts";
import type { OnTransferEvent } from "./events.ts";
import { SILENCE_MS, type TransferLimits } from "./limits.ts";
import type { PairingMemory } from "./memory.ts";
import type { Rendezvous } from "./pairing.ts";
import { PairingError } from "./pairing_error.ts";
import {
  isGone,
  type LinkParts,
  meetingBySecret,
  redialledSessions,
  type Session,
  tellInterrupted,
} from "./redialled_sessions.ts";
import { receiveSession } from "./receiving.ts";
import { type Dial, meet, type Met } from "./rendezvous.ts";
import type { Sink } from "./sink.ts";
import type { Compression } from "./source.ts";

/** A receiver knows of one receiver. */
const ITSELF = 1;
/** How long a sender that did not answer is looked for: it may take so long to notice a lost link, and to dial. */
const UNANSWERED_MS = SILENCE_MS + 5_000;

/** What is received, by what, and over what. */
export interface ReceiveRunOptions {
  /** Where the files go; asked once, when the other side has proven itself. */
  sinkFor(resumeSecret: Uint8Array<ArrayBuffer>): Sink | Promise<Sink>;
  /** Makes chunks smaller, and large again. */
  readonly compression: Compression;
  /** What is accepted of the other side. */
  readonly limits: TransferLimits;
  /** Makes each connection. */
  readonly dial: Dial;
  /** Whether `dial` reaches a relay, which is told an identifier, and not the sender itself. */
  readonly throughRelay: boolean;
  /** The code, or the secret of an earlier run with it. */
  readonly rendezvous: Rendezvous;
  /** Where guesses at the code are written down. */
  readonly memory: PairingMemory;
  /** How long a lost link, or a relay that cannot be reached, is tried again, in milliseconds. */
  readonly graceMs: number;
  /** How long the sender is waited for at first, in milliseconds. */
  readonly waitMs: number;
  /** The clock. */
  readonly timers: Timers;
  /** For keys, instances and pauses. */
  readonly random: RandomBytes;
  /** Told what happens. */
  readonly onEvent: OnTransferEvent;
  /** Ends everything at once. */
  readonly signal: AbortSignal;
}

/**
 * Receives until everything is in its place.
 *
 * @throws {TransferError} `mismatch` if the code is wrong or nobody can tell, and is spent; `absent`, `unreachable`,
 * `version`; `lost` if the link was lost and could not be had again; whatever a session ends with
 * @throws what `sinkFor` and the memory throw, and the signal's reason, when everything is closed
 */
export async function runReceive(options: ReceiveRunOptions): Promise<void> {
  const { rendezvous, memory, limits, onEvent } = options;
  const parts: LinkParts = { ...options, role: "receiver" };
  const met = await firstMeeting(parts, options);
  onEvent({ event: "paired", receiver: ITSELF, resumed: rendezvous.kind === "resume" });
  const secret = met.paired.resumeSecret;
  const into = new Receiving(secret, options);
  const { session } = into;
  await redialledSessions(met, {
    ...parts,
    receiver: ITSELF,
    secret,
    memory,
    limits,
    session,
    isComplete: () => into.isComplete,
  });
  onEvent({ event: "done", receiver: ITSELF });
}

async function firstMeeting(parts: LinkParts, options: ReceiveRunOptions): Promise<Met> {
  const guess = new Guess(options.memory);
  try {
    return await meetFirst(parts, guess, options);
  } catch (error) {
    if (guess.secret === null || !isUnanswered(error)) throw error;
    return await meetUnanswered(error, guess.secret, parts, options);
  }
}

function meetFirst(
  parts: LinkParts,
  memory: PairingMemory,
  { rendezvous, waitMs }: ReceiveRunOptions,
): Promise<Met> {
  const { role, throughRelay, dial, graceMs, timers, random, signal, onEvent } = parts;
  return meet({
    pairing: { role, rendezvous, sendIdentifier: throughRelay, memory },
    dial,
    untilMs: timers.monotonicMs() + waitMs,
    graceMs,
    timers,
    random,
    signal,
    onWaiting: () => onEvent({ event: "waiting" }),
    onUnreachable: (error) => tellInterrupted(error, { onEvent, receiver: ITSELF }),
  });
}

/** Keeps the secret that came of a guess, as long as this run lasts. */
class Guess implements PairingMemory {
  readonly #memory: PairingMemory;
  /** Null: there was no guess. */
  secret: Uint8Array<ArrayBuffer> | null = null;

  constructor(memory: PairingMemory) {
    this.#memory = memory;
  }

  spend(resumeSecret: Uint8Array<ArrayBuffer>): Promise<void> {
    this.secret = resumeSecret;
    return this.#memory.spend(resumeSecret);
  }

  proven(resumeSecret: Uint8Array<ArrayBuffer>): Promise<void> {
    return this.#memory.proven(resumeSecret);
  }
}

/** Whether a mismatch is one because nothing was heard of the guess; a sender that found it wrong has said so. */
function isUnanswered(error: unknown): error is TransferError {
  const isMismatch = error instanceof TransferError && error.code === "mismatch";
  const mismatch = isMismatch ? error.cause : null, why = mismatch instanceof Error ? mismatch.cause : null;
  return why instanceof PairingError && (why.failure === "closed" || why.failure === "silent");
}

/**
 * Looks for a sender that did not answer our guess: it may have found it right, and the link was lost just then. Such a
 * sender looks for us by the secret that came of the guess. Nobody has that who does not know the code, and the code is
 * not used again, so whoever guesses wins nothing by being silent.
 *
 * @throws {TransferError} the mismatch that it is if nobody comes
 */
async function meetUnanswered(
  mismatch: TransferError,
  secret: Uint8Array<ArrayBuffer>,
  parts: LinkParts,
  { memory }: ReceiveRunOptions,
): Promise<Met> {
  const found = new TransferError("lost", "the link was lost before the other side had answered");
  tellInterrupted(found, { ...parts, receiver: ITSELF });
  const meeting = meetingBySecret(parts, { secret, memory, receiver: ITSELF });
  const untilMs = parts.timers.monotonicMs() + UNANSWERED_MS;
  const met = await meet({ ...meeting, untilMs, onWaiting: () => {} }).catch((error) => {
    throw isGone(error) ? mismatch : error;
  });
  try {
    await memory.proven(secret);
  } catch (error) {
    met.connection.close();
    throw error;
  }
  return met;
}

/** Sessions into one sink. */
class Receiving {
  readonly #secret: Uint8Array<ArrayBuffer>;
  readonly #options: ReceiveRunOptions;
  #sink: Sink | null = null;
  #isComplete = false;

  constructor(secret: Uint8Array<ArrayBuffer>, options: ReceiveRunOptions) {
    this.#secret = secret;
    this.#options = options;
  }

  /** Whether everything is in its place, so that only the word to the sender is missing. */
  get isComplete(): boolean {
    return this.#isComplete;
  }

  readonly session: Session = async (channel, onEvent) => {
    const { compression, limits, timers, signal } = this.#options;
    this.#sink ??= this.#watched(await this.#options.sinkFor(this.#secret));
    await receiveSession(channel, { sink: this.#sink, compression, limits, timers, onEvent, signal });
  };

  #watched(sink: Sink): Sink {
    return {
      accept: (offer) => sink.accept(offer),
      write: (file, chunk, bytes, hash) => sink.write(file, chunk, bytes, hash),
      chunkHashes: (file) => sink.chunkHashes(file),
      finishFile: (file) => sink.finishFile(file),
      forgetFile: (file) => sink.forgetFile(file),
      flush: () => sink.flush(),
      finish: async () => {
        await sink.finish();
        this.#isComplete = true;
      },
    };
  }
}

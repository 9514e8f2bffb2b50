/**
 * The whole life of a receive: meet by the code, or by the secret of an earlier run; then sessions, each of which asks
 * for what the one before has not brought.
 */
import type { RandomBytes, Timers } from "../rpc/timers.ts";
import type { OnTransferEvent } from "./events.ts";
import type { TransferLimits } from "./limits.ts";
import type { PairingMemory } from "./memory.ts";
import type { Rendezvous } from "./pairing.ts";
import { type LinkParts, redialledSessions, type Session, tellInterrupted } from "./redialled_sessions.ts";
import { receiveSession } from "./receiving.ts";
import { type Dial, meet, type Met } from "./rendezvous.ts";
import type { Sink } from "./sink.ts";
import type { Compression } from "./source.ts";

const INSTANCE_BYTES = 16;
/** A receiver knows of one receiver. */
const ITSELF = 1;

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
  const parts: LinkParts = { ...options, role: "receiver", instance: options.random(INSTANCE_BYTES) };
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

function firstMeeting(parts: LinkParts, options: ReceiveRunOptions): Promise<Met> {
  const { role, instance, throughRelay, dial, graceMs, timers, random, signal, onEvent } = parts;
  const { rendezvous, memory, waitMs } = options;
  return meet({
    pairing: { role, instance, rendezvous, sendIdentifier: throughRelay, memory },
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

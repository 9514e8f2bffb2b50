/**
 * The whole life of a share, from the code to the last receiver.
 *
 *   code:    meet -> admitted 1 -> meet -> admitted 2 ... -> admitted N: nobody else gets in
 *              |         +- sessions      +- sessions          +- sessions          at the same time
 *              +- a wrong guess, or nobody came: nobody else gets in, those admitted go on
 *   resume:  meet by the secret -> sessions                                         for each receiver of an earlier run
 *
 * One connection at a time waits for the code, so there is never more than one guess under way.
 */
import type { RandomBytes, Timers } from "../rpc/timers.ts";
import type { TransferCode } from "./code.ts";
import { TransferError } from "./errors.ts";
import type { OnTransferEvent } from "./events.ts";
import { DEFAULT_LIMITS } from "./limits.ts";
import type { PairingMemory } from "./memory.ts";
import {
  type LinkParts,
  meetingBySecret,
  redialledSessions,
  type Session,
  tellInterrupted,
} from "./redialled_sessions.ts";
import { type Dial, meet, type MeetOptions, type Met } from "./rendezvous.ts";
import { sendSession } from "./sending.ts";
import type { Compression, Source } from "./source.ts";

/** What is shared, with whom, and over what. */
export interface ShareRunOptions {
  /** What is sent. */
  readonly source: Source;
  /** Makes chunks smaller, and large again. */
  readonly compression: Compression;
  /** Makes each connection. */
  readonly dial: Dial;
  /** Whether `dial` reaches a relay, which is told an identifier, and not the receiver itself. */
  readonly throughRelay: boolean;
  /** Null if nobody is admitted any more: it is spent, or all have come. */
  readonly code: TransferCode | null;
  /** Resume secrets, 32 bytes each, of receivers that paired in an earlier run and have not finished; numbers 1 and up. */
  readonly resume: readonly Uint8Array<ArrayBuffer>[];
  /** How many receivers the code still admits; they get the numbers that follow. */
  readonly receivers: number;
  /** What is to be remembered of the code's try that would make this receiver. */
  memoryOf(receiver: number): PairingMemory;
  /** A receiver has everything; awaited before it is told. */
  finished(receiver: number): Promise<void>;
  /** How long a lost link, or a relay that cannot be reached, is tried again, in milliseconds. */
  readonly graceMs: number;
  /** How long each receiver is waited for at first, in milliseconds, counted from when its predecessor was admitted. */
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
 * Shares until every receiver has everything or has failed.
 *
 * @throws {TransferError} the first failure there was, after the other receivers have ended too: `mismatch` if the code
 * is spent by a wrong guess, `absent` if a receiver did not come, `lost` if one did not come back, `unreachable`, and
 * whatever a session ends with
 * @throws the signal's reason, when everything is closed
 */
export async function runShare(options: ShareRunOptions): Promise<void> {
  await new Share(options).run();
}

class Share {
  readonly #options: ShareRunOptions;
  readonly #parts: LinkParts;
  /** In the order in which they happened. */
  readonly #failures: unknown[] = [];

  constructor(options: ShareRunOptions) {
    this.#options = options;
    this.#parts = { ...options, role: "sender" };
  }

  async run(): Promise<void> {
    const { code, resume, receivers, onEvent, signal } = this.#options;
    if (code !== null && receivers > 0) onEvent({ event: "code", code: code.text });
    const work = resume.map((secret, index) => this.#resume(secret, index + 1));
    if (code !== null) work.push(this.#admit(code, resume.length + 1));
    await Promise.all(work);
    signal.throwIfAborted();
    if (this.#failures.length > 0) throw this.#failures[0];
  }

  /** Lets receivers in by the code, from this number on; settles when all of them have ended. */
  async #admit(code: TransferCode, first: number): Promise<void> {
    const { receivers } = this.#options;
    const admitted: Promise<void>[] = [];
    let receiver = first;
    try {
      for (; receiver < first + receivers; receiver++) {
        const met = await meet(this.#meetingByCode(code, receiver));
        admitted.push(this.#serve(met, receiver, false));
      }
    } catch (error) {
      this.#failed(receiver, error);
    }
    await Promise.all(admitted);
  }

  #meetingByCode(code: TransferCode, receiver: number): MeetOptions {
    const { throughRelay, onEvent } = this.#options;
    const { role, dial, graceMs, timers, random, signal } = this.#parts;
    return {
      pairing: {
        role,
        rendezvous: { kind: "code", code },
        sendIdentifier: throughRelay,
        memory: this.#options.memoryOf(receiver),
      },
      dial,
      graceMs,
      timers,
      random,
      signal,
      ...this.#firstMeeting(),
      onUnreachable: (error) => tellInterrupted(error, { onEvent, receiver }),
    };
  }

  #firstMeeting(): Pick<MeetOptions, "untilMs" | "onWaiting"> {
    const { timers, waitMs, onEvent } = this.#options;
    return { untilMs: timers.monotonicMs() + waitMs, onWaiting: () => onEvent({ event: "waiting" }) };
  }

  /** A receiver of an earlier run. */
  async #resume(secret: Uint8Array<ArrayBuffer>, receiver: number): Promise<void> {
    const memory = this.#options.memoryOf(receiver);
    try {
      const met = await meet({
        ...meetingBySecret(this.#parts, { secret, memory, receiver }),
        ...this.#firstMeeting(),
      });
      await this.#serve(met, receiver, true);
    } catch (error) {
      this.#failed(receiver, error);
    }
  }

  /** Everything that happens with one receiver that has been met; never rejects. */
  async #serve(met: Met, receiver: number, resumed: boolean): Promise<void> {
    const { onEvent } = this.#options;
    try {
      onEvent({ event: "paired", receiver, resumed });
      await redialledSessions(met, {
        ...this.#parts,
        receiver,
        secret: met.paired.resumeSecret,
        memory: this.#options.memoryOf(receiver),
        limits: DEFAULT_LIMITS,
        session: this.#session,
        isComplete: () => false,
      });
      await this.#options.finished(receiver);
      onEvent({ event: "done", receiver });
    } catch (error) {
      this.#failed(receiver, error);
    }
  }

  readonly #session: Session = (channel, onEvent) => {
    const { source, compression, timers, signal } = this.#options;
    return sendSession(channel, { source, compression, timers, onEvent, signal });
  };

  #failed(receiver: number, error: unknown): void {
    const { resume, receivers, signal, onEvent } = this.#options;
    this.#failures.push(error);
    const isOnlyOne = resume.length + receivers <= 1;
    if (signal.aborted || isOnlyOne || !(error instanceof TransferError)) return;
    onEvent({ event: "receiver_failed", receiver, reason: error.code, message: error.message });
  }
}

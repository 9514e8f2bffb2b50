/**
 * How two clients come together at a relay that pairs whoever says the same 33 bytes.
 *
 *   dial -> pair -> met
 *     |       +- nobody came for 20 s: close this connection, then dial again (a relay, or a NAT on the way to it,
 *     |       |  may have forgotten it, and nothing would tell)
 *     |       +- the wrong one (same role, our own ghost, somebody silent or talking nonsense): dial again after a
 *     |       |  random 0-2 s, so that two of the wrong ones do not meet again and again
 *     |       +- a wrong guess; with a code, another version: the end
 *     +- not reached, hung up on at once, or answered by what is no relay, such as a web server: dial again after a
 *        pause that grows, for at most the grace time
 *
 * There is never more than one connection: the old one is closed before the next is dialled, or the relay would pair
 * this side with itself. Nothing is tried again once the other side may have learned whether it guessed right: `pair`
 * says `mismatch` then, and that is final here, however tempting it is to take a cut at that moment for bad luck. What a
 * receiver may do about such luck without another guess is in receive_run.ts.
 */
import type { RandomBytes, Timers } from "../rpc/timers.ts";
import { type Connection, TransportError } from "../transport/transport.ts";
import { TransferError } from "./errors.ts";
import { INSTANCE_BYTES } from "./hello.ts";
import { MAX_REDIAL_PAUSE_MS, RENEW_MS } from "./limits.ts";
import { pair, type Paired, type PairingOptions } from "./pairing.ts";
import { PairingError } from "./pairing_error.ts";
import { Backoff, pause, randomPauseMs } from "./redial.ts";

/** Longest time for one dialling, in milliseconds. */
export const MAX_DIAL_MS = 10_000;
/** A relay that hangs up within this, before a byte came, did not take the connection in the first place. */
export const HANG_UP_MS = 2_000;
/** It is told that the other side is waited for when it did not come in this time. */
const TOLD_AFTER_MS = 250;

/**
 * Makes a connection to the relay, or to the other side itself.
 *
 * @throws when the signal is aborted; a `TransportError` `address`, `permission` or `unsupported`, or a `TypeError`, is
 * taken for one that will not go away
 */
export type Dial = (signal: AbortSignal) => Promise<Connection>;

/** How to meet. */
export interface MeetOptions {
  /** Makes each connection. */
  readonly dial: Dial;
  /** What `pair` is told; the rest of its options is made here. */
  readonly pairing: Pick<PairingOptions, "role" | "rendezvous" | "sendIdentifier" | "memory">;
  /** Until when the other side is waited for, in `Timers.monotonicMs`. */
  readonly untilMs: number;
  /** For how long a relay is tried that cannot be reached, or takes nobody in, in milliseconds. */
  readonly graceMs: number;
  /** The clock. */
  readonly timers: Timers;
  /** For keys, instances and pauses. */
  readonly random: RandomBytes;
  /** Ends everything at once. */
  readonly signal: AbortSignal;
  /** The relay was reached and nobody is there; once, and again after each `onUnreachable`. */
  readonly onWaiting: () => void;
  /** The relay could not be reached, and is tried again; once in a row. */
  readonly onUnreachable: (error: TransferError) => void;
}

/** Two have met. */
export interface Met {
  /** Whose owner is the caller now. */
  readonly connection: Connection;
  /** The keys. */
  readonly paired: Paired;
}

/**
 * Dials and pairs until it has worked.
 *
 * @throws {TransferError} `absent` if nobody came in time; `unreachable` if the relay could not be reached for all of the
 * grace time, or will not be; `mismatch` if the other side does not know the code, which is spent; `version`
 * @throws what the memory throws, and the signal's reason
 */
export function meet(options: MeetOptions): Promise<Met> {
  return new Search(options).run();
}

class Search {
  readonly #options: MeetOptions;
  /** Another one for each search: in one for all, a relay would see which searches are those of one side. */
  readonly #instance: Uint8Array<ArrayBuffer>;
  readonly #backoff: Backoff;
  /** Since when the relay cannot be reached; null if it was, the last time. */
  #failingSinceMs: number | null = null;
  #lastFailure: unknown = null;
  #isWaitingTold = false;
  #versionError: TransferError | null = null;

  constructor(options: MeetOptions) {
    this.#options = options;
    this.#instance = options.random(INSTANCE_BYTES);
    this.#backoff = new Backoff(options.random);
  }

  async run(): Promise<Met> {
    const { timers, signal } = this.#options;
    for (;;) {
      signal.throwIfAborted();
      if (this.#leftMs() <= 0) throw this.#timeOver();
      const outcome = await this.#try();
      if (typeof outcome !== "number") return outcome;
      if (outcome > 0) await pause(Math.max(0, Math.min(outcome, this.#leftMs())), timers, signal);
    }
  }

  /** One connection: what came of it, or how long to wait before the next. */
  async #try(): Promise<Met | number> {
    const begunMs = this.#options.timers.monotonicMs();
    let connection: Connection;
    try {
      connection = await dialWithin(Math.min(MAX_DIAL_MS, this.#patienceMs()), this.#options);
    } catch (error) {
      return this.#notReached(begunMs, error);
    }
    try {
      return { connection, paired: await this.#pair(connection) };
    } catch (error) {
      if (error instanceof PairingError) return this.#notPaired(begunMs, error);
      throw error;
    }
  }

  async #pair(connection: Connection): Promise<Paired> {
    const { pairing, timers, random, signal } = this.#options;
    const callOff = timers.after(TOLD_AFTER_MS, () => this.#tellWaiting());
    try {
      const renewMs = Math.max(0, Math.min(RENEW_MS, this.#leftMs()));
      return await pair(connection, {
        ...pairing,
        instance: this.#instance,
        timers,
        random,
        signal,
        renewMs,
      });
    } catch (error) {
      // `pair` has done it already. Here it is a rule: the old one is closed before the next is dialled.
      connection.close();
      throw error;
    } finally {
      callOff();
    }
  }

  /** @returns the pause before the next try */
  #notPaired(begunMs: number, error: PairingError): number {
    const { timers, random } = this.#options;
    const tookMs = timers.monotonicMs() - begunMs;
    if (error.failure === "closed" && !error.heard && tookMs < HANG_UP_MS) {
      return this.#notReached(begunMs, error);
    }
    // Nothing was guessed: neither side has said more than its hello.
    if (error.isForeign) return this.#notReached(begunMs, error);
    this.#reached();
    if (error.failure === "nobody") return 0;
    if (error.failure === "mismatch") throw mismatch(error);
    if (error.failure === "version") this.#otherVersion(error);
    return randomPauseMs(MAX_REDIAL_PAUSE_MS, random);
  }

  /**
   * The other side speaks another version, for all that anybody on the way has left of its words. With a code that is
   * the answer. Two that have paired before did speak one version, so a byte that says otherwise must not end what they
   * began; it is what is told if nobody else comes.
   */
  #otherVersion(error: PairingError): void {
    this.#versionError = new TransferError("version", error.message, { cause: error });
    if (this.#options.pairing.rendezvous.kind === "code") throw this.#versionError;
  }

  /** @returns the pause before the next try */
  #notReached(begunMs: number, error: unknown): number {
    this.#options.signal.throwIfAborted();
    // One that the end of the time has cut short says less than the one before it.
    if (!(error instanceof DialCutShort) || this.#lastFailure === null) this.#lastFailure = error;
    const isFirst = this.#failingSinceMs === null;
    this.#failingSinceMs ??= begunMs;
    if (isLasting(error) || this.#graceLeftMs() <= 0) throw this.#unreachable();
    if (isFirst) {
      this.#isWaitingTold = false;
      this.#options.onUnreachable(this.#unreachable());
    }
    return Math.min(this.#backoff.nextMs(), this.#graceLeftMs());
  }

  #reached(): void {
    this.#failingSinceMs = null;
    this.#lastFailure = null;
    this.#backoff.reset();
  }

  #tellWaiting(): void {
    if (this.#isWaitingTold) return;
    this.#isWaitingTold = true;
    this.#options.onWaiting();
  }

  #leftMs(): number {
    return this.#options.untilMs - this.#options.timers.monotonicMs();
  }

  #graceLeftMs(): number {
    const { graceMs, timers } = this.#options;
    return this.#failingSinceMs === null ? graceMs : this.#failingSinceMs + graceMs - timers.monotonicMs();
  }

  /** How long a dialling may take; a grace time of nothing still allows one. */
  #patienceMs(): number {
    const graceLeftMs = this.#failingSinceMs === null ? MAX_DIAL_MS : this.#graceLeftMs();
    return Math.max(1, Math.min(this.#leftMs(), graceLeftMs));
  }

  #timeOver(): TransferError {
    if (this.#failingSinceMs !== null) return this.#unreachable();
    if (this.#versionError !== null) return this.#versionError;
    return new TransferError("absent", "the other side did not come in time");
  }

  #unreachable(): TransferError {
    const cause = this.#lastFailure;
    return new TransferError("unreachable", `cannot use the relay: ${foundInstead(cause)}`, { cause });
  }
}

function foundInstead(cause: unknown): string {
  if (!(cause instanceof PairingError)) return cause instanceof Error ? cause.message : "dialling failed";
  return cause.isForeign
    ? "what answers at the relay's address is no Postern relay"
    : "it hangs up at once, it may be full";
}

function mismatch(cause: PairingError): TransferError {
  return new TransferError("mismatch", "the code does not match (typing error, or someone tried to guess)", {
    cause,
  });
}

/** Whether dialling will fail the same way again. */
function isLasting(error: unknown): boolean {
  if (!(error instanceof TransportError)) return error instanceof TypeError;
  return error.code === "address" || error.code === "permission" || error.code === "unsupported";
}

/** Dials for a limited time; a connection that comes after it, or after an abort, is closed at once. */
function dialWithin(limitMs: number, { dial, timers, signal }: MeetOptions): Promise<Connection> {
  return new Promise((resolve, reject) => {
    const stop = new AbortController();
    let isOver = false;
    const end = (settle: () => void): void => {
      if (isOver) return;
      isOver = true;
      callOff();
      signal.removeEventListener("abort", onAbort);
      settle();
    };
    const giveUp = (reason: unknown): void =>
      end(() => {
        reject(reason);
        stop.abort(reason);
      });
    const onAbort = (): void => giveUp(signal.reason);
    const callOff = timers.after(limitMs, () => giveUp(tooSlow(limitMs)));
    signal.addEventListener("abort", onAbort, { once: true });
    // In a promise of its own: one that throws at once must not leave the timer behind.
    Promise.resolve(stop.signal).then(dial).then(
      (connection) => isOver ? connection.close() : end(() => resolve(connection)),
      (error) => end(() => reject(error)),
    );
  });
}

function tooSlow(limitMs: number): TransportError {
  const message = `could not connect: no answer within ${Math.ceil(limitMs)} ms`;
  return limitMs < MAX_DIAL_MS ? new DialCutShort("lost", message) : new TransportError("lost", message);
}

/** The time for a dialling was what was left of a longer one. */
class DialCutShort extends TransportError {}

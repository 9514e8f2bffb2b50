/** Signs of life in a session: heartbeats out, and the rule that whoever is silent for 15 s is gone. */
import { TransferError } from "./errors.ts";
import { HEARTBEAT_MS, SILENCE_MS } from "./limits.ts";
import type { HeardRecord, SessionChannel } from "./session.ts";
import type { Timers } from "../rpc/timers.ts";

/** What it needs of the session. */
export interface LivenessHooks {
  /** Whether a heartbeat goes out each second, or only after a second in which nothing was said. */
  readonly beatsAlways: boolean;
  /** A second has passed, at most; told whether or not a heartbeat goes out. */
  beating?(): void;
  /** For our heartbeats. */
  receivedBytes(): number;
  /** The other side is silent. */
  failed(error: TransferError): void;
}

/** Watches one channel, from its making to `stop`. */
export class Liveness {
  readonly #channel: SessionChannel;
  readonly #timers: Timers;
  readonly #hooks: LivenessHooks;
  /** A `receive` of the channel that has not settled. */
  #receiving: Promise<HeardRecord | null> | null = null;
  #waitingSinceMs = 0;
  /** One at a time: while the other side does not read, they must not pile up. */
  #isBeating = false;
  #callOffBeat: () => void;
  #callOffLook: () => void;

  /** Begins to watch. */
  constructor(channel: SessionChannel, timers: Timers, hooks: LivenessHooks) {
    this.#channel = channel;
    this.#timers = timers;
    this.#hooks = hooks;
    this.#callOffBeat = timers.after(HEARTBEAT_MS, () => this.#beat());
    this.#callOffLook = timers.after(SILENCE_MS, () => this.#look());
  }

  /**
   * The channel's next record. Silence counts only while this is awaited: who is busy with what was said before
   * does not listen, and what was not listened to is not silence. Called again before it has settled, it
   * gives the same one.
   */
  receive(): Promise<HeardRecord | null> {
    if (this.#receiving !== null) return this.#receiving;
    this.#waitingSinceMs = this.#timers.monotonicMs();
    const receiving = this.#channel.receive();
    this.#receiving = receiving;
    const settled = (): void => {
      this.#receiving = null;
    };
    receiving.then(settled, settled);
    return receiving;
  }

  /** No more heartbeats. */
  mute(): void {
    this.#callOffBeat();
  }

  /** Neither heartbeats nor judgement any more. */
  stop(): void {
    this.mute();
    this.#callOffLook();
  }

  #look(): void {
    const leftMs = this.#receiving === null ? SILENCE_MS : this.#silentFromMs() - this.#timers.monotonicMs();
    if (leftMs > 0) {
      this.#callOffLook = this.#timers.after(Math.ceil(leftMs), () => this.#look());
      return;
    }
    this.#hooks.failed(
      new TransferError(
        "silent",
        `cannot go on with the transfer: the other side said nothing for ${SILENCE_MS / 1000} seconds`,
      ),
    );
  }

  #silentFromMs(): number {
    return Math.max(this.#channel.heardMs, this.#waitingSinceMs) + SILENCE_MS;
  }

  #beat(): void {
    const quietMs = this.#timers.monotonicMs() - this.#channel.saidMs;
    const isDue = this.#hooks.beatsAlways || quietMs >= HEARTBEAT_MS;
    const nextMs = isDue ? HEARTBEAT_MS : Math.ceil(HEARTBEAT_MS - quietMs);
    this.#callOffBeat = this.#timers.after(nextMs, () => this.#beat());
    this.#hooks.beating?.();
    if (isDue && !this.#isBeating) this.#sayBeat();
  }

  #sayBeat(): void {
    this.#isBeating = true;
    this.#channel.send({ type: "heartbeat", receivedBytes: this.#hooks.receivedBytes() }).then(
      () => {
        this.#isBeating = false;
      },
      // The link is lost. Whoever listens will hear of it behind what has come before, which is not to be thrown away.
      () => this.mute(),
    );
  }
}

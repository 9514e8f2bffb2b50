/**
 * Signs of life. After a time of silence the other side is asked; if nothing at all comes then, it is gone. One timer
 * runs, and is not touched when bytes arrive: it looks at the clock when it fires.
 */
import { RpcError } from "./errors.ts";
import type { Limits } from "./limits.ts";
import type { Timers } from "./timers.ts";

/** What it needs of the peer. */
export interface KeepAliveHooks {
  /** Sends a ping with that value. */
  ping(value: number): void;
  /** The other side did not answer. */
  silent(): void;
}

interface Ping {
  readonly value: number;
  readonly sentMs: number;
  readonly resolve: (ms: number) => void;
  readonly reject: (error: RpcError) => void;
  readonly callOff: () => void;
}

/** Watches one connection. */
export class KeepAlive {
  readonly #timers: Timers;
  readonly #limits: Limits;
  readonly #hooks: KeepAliveHooks;
  #heardMs: number;
  #askedMs: number | null = null;
  #callOff: (() => void) | null = null;
  #lastValue = 0;
  #pings: Ping[] = [];
  #isStopped = false;

  /** Begins to watch. */
  constructor(timers: Timers, limits: Limits, hooks: KeepAliveHooks) {
    this.#timers = timers;
    this.#limits = limits;
    this.#hooks = hooks;
    this.#heardMs = timers.monotonicMs();
    this.#wait(limits.keepAliveMs);
  }

  /** Bytes have come. */
  heard(): void {
    this.#heardMs = this.#timers.monotonicMs();
    this.#askedMs = null;
  }

  /**
   * Asks, and measures.
   *
   * @throws {RpcError} "deadline_exceeded", "disconnected"
   */
  ping(timeoutMs: number): Promise<number> {
    return new Promise((resolve, reject) => {
      const value = this.#nextValue();
      const callOff = this.#timers.after(timeoutMs, () => {
        this.#pings = this.#pings.filter((ping) => ping.value !== value);
        reject(new RpcError("deadline_exceeded", `no answer to a ping came in ${timeoutMs} ms`));
      });
      this.#pings.push({ value, sentMs: this.#timers.monotonicMs(), resolve, reject, callOff });
      this.#hooks.ping(value);
    });
  }

  /**
   * A pong has come; it answers its ping and those before it, which the other side may leave out.
   *
   * @returns false if no such ping was ever sent
   */
  pong(value: number): boolean {
    if (value === 0 || value > this.#lastValue) {
      return false;
    }
    const nowMs = this.#timers.monotonicMs();
    for (let first = this.#pings[0]; first !== undefined && first.value <= value; first = this.#pings[0]) {
      this.#pings.shift();
      first.callOff();
      first.resolve(nowMs - first.sentMs);
    }
    return true;
  }

  /** Watches no more; whoever waits for a pong gets the error. */
  stop(error: () => RpcError): void {
    this.#isStopped = true;
    this.#callOff?.();
    for (const { reject, callOff } of this.#pings.splice(0)) {
      callOff();
      reject(error());
    }
  }

  #nextValue(): number {
    this.#lastValue++;
    return this.#lastValue;
  }

  #wait(delayMs: number): void {
    if (delayMs !== Infinity && !this.#isStopped) {
      this.#callOff = this.#timers.after(Math.ceil(delayMs), () => this.#look());
    }
  }

  #look(): void {
    const nowMs = this.#timers.monotonicMs();
    const { keepAliveMs, keepAliveTimeoutMs } = this.#limits;
    if (this.#askedMs !== null) {
      const leftMs = this.#askedMs + keepAliveTimeoutMs - nowMs;
      if (leftMs <= 0) {
        this.#hooks.silent();
      } else {
        this.#wait(leftMs);
      }
      return;
    }
    const leftMs = this.#heardMs + keepAliveMs - nowMs;
    if (leftMs > 0) {
      this.#wait(leftMs);
      return;
    }
    this.#askedMs = nowMs;
    this.#hooks.ping(this.#nextValue());
    this.#wait(keepAliveTimeoutMs);
  }
}

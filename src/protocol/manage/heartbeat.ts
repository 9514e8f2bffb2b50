/**
 * Signs of life on a link, for each direction:
 *
 *   dialler   10 s nothing heard, or nothing said: heartbeat      ->
 *                                                      <-         the same frame, at once        server
 *   10 s more nothing heard: the link is dead                     20 s nothing heard: the link is dead
 *
 * Anything that is heard counts. A program that was stopped, or a system that slept, finds all times over at once,
 * while what was sent to it still waits to be read: who comes that late asks once more instead of giving up.
 */

/** Of silence, until a sign of life is asked for or given; and again, until the link is dead. */
export const HEARTBEAT_MS = 10_000;
/** A look at the clock that comes so much later than asked for was not late by chance. */
const ASLEEP_MS = 5_000;

/** Which side of a link. */
export type LinkRole = "dialler" | "server";

/** What is to be done now. */
export type Pulse = "alive" | "ask" | "dead";

/** Watches one link; `nowMs` never goes back. */
export class Heartbeat {
  readonly #role: LinkRole;
  #heardMs: number;
  #saidMs: number;
  /** When the dialler asked; null: nothing is waited for. */
  #askedMs: number | null = null;

  /** Begins to watch. */
  constructor(role: LinkRole, nowMs: number) {
    this.#role = role;
    this.#heardMs = this.#saidMs = nowMs;
  }

  /** Bytes have come. */
  heard(nowMs: number): void {
    this.#heardMs = nowMs;
    this.#askedMs = null;
  }

  /** Bytes are given out. */
  said(nowMs: number): void {
    this.#saidMs = nowMs;
  }

  /** How long nothing was given out. */
  quietMs(nowMs: number): number {
    return nowMs - this.#saidMs;
  }

  /** When to look again, on the clock of `nowMs`; it may have moved on by then. */
  get deadlineMs(): number {
    if (this.#role === "server") return this.#heardMs + 2 * HEARTBEAT_MS;
    return (this.#askedMs ?? Math.min(this.#heardMs, this.#saidMs)) + HEARTBEAT_MS;
  }

  /** Looks at the clock; "ask": a heartbeat is to be sent. */
  look(nowMs: number): Pulse {
    const lateMs = nowMs - this.deadlineMs;
    if (lateMs < 0) return "alive";
    if (this.#role === "server") {
      if (lateMs < ASLEEP_MS) return "dead";
      this.#heardMs = nowMs - HEARTBEAT_MS;
      return "alive";
    }
    if (this.#askedMs !== null && lateMs < ASLEEP_MS) return "dead";
    this.#askedMs = this.#saidMs = nowMs;
    return "ask";
  }
}

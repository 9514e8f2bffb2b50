/**
 * Writes into the registry who is online, many at once: after a restart all hosts come back within seconds, and each
 * durable write of its own would hold everybody up. Nothing waits for these.
 */
import type { Timers } from "../../protocol/rpc/timers.ts";
import type { Journal } from "./journal.ts";
import type { Registry } from "./registry.ts";

/** How long the first of many waits. */
const GATHER_MS = 50;
/** How many one write may hold. */
const MAX_GATHERED = 500;

export class PresenceNotes {
  readonly #registry: Pick<Registry, "batch">;
  readonly #journal: Journal;
  readonly #timers: Timers;
  /** Told when what was noted can be read. */
  readonly #written: () => void;
  #notes: (() => void)[] = [];
  #callOff: (() => void) | null = null;

  constructor(
    registry: Pick<Registry, "batch">,
    journal: Journal,
    timers: Timers,
    written: () => void,
  ) {
    this.#registry = registry;
    this.#journal = journal;
    this.#timers = timers;
    this.#written = written;
  }

  /** Has something written soon, in the order of the calls. */
  add(note: () => void): void {
    this.#notes.push(note);
    if (this.#notes.length >= MAX_GATHERED) return this.flush();
    this.#callOff ??= this.#timers.after(GATHER_MS, () => this.flush());
  }

  /** Writes what there is. On a full disk it is given up: it is told, and no link ends for it. */
  flush(): void {
    this.#callOff?.();
    this.#callOff = null;
    const notes = this.#notes;
    if (notes.length === 0) return;
    this.#notes = [];
    try {
      this.#registry.batch(() => notes.forEach((note) => note()));
    } catch (error) {
      this.#journal.failed("presence of hosts not written", error, { hosts: notes.length });
    }
    this.#written();
  }
}

/**
 * Measures how far away each host is, each at a time of its own: thousands of idle hosts answer a few pings a second, and
 * never all of them at once.
 */
import type { Timers } from "../../protocol/rpc/timers.ts";
import type { HostLink, HostLinks } from "./host_links.ts";

const TICK_MS = 1_000;
/**
 * From the registration to the first ping. In the middle of the dialogue at the beginning of a link it would wait for
 * acknowledgements, and measure those.
 */
const FIRST_MS = 1_000;

export class LatencyRounds {
  readonly #hosts: HostLinks;
  readonly #timers: Timers;
  readonly #pauseMs: number;
  /** A host has a first figure. */
  readonly #measured: () => void;
  /** When each is due, those that have a figure; the soonest first. */
  readonly #due = new Map<HostLink, number>();
  /** The same of those that have none. */
  readonly #newcomers = new Map<HostLink, number>();
  #callOff: () => void = () => {};

  /** @param pauseMs between two measurements of one host */
  constructor(hosts: HostLinks, timers: Timers, pauseMs: number, measured: () => void) {
    this.#hosts = hosts;
    this.#timers = timers;
    this.#pauseMs = pauseMs;
    this.#measured = measured;
  }

  /** Begins. */
  start(): void {
    this.#callOff = this.#timers.after(TICK_MS, () => {
      this.start();
      this.#measureDue(this.#newcomers);
      this.#measureDue(this.#due);
    });
  }

  /** Ends. */
  stop(): void {
    this.#callOff();
  }

  /** A host has come; it is forgotten when its turn comes and it has gone. */
  add(host: HostLink): void {
    this.#newcomers.set(host, this.#timers.monotonicMs() + FIRST_MS);
  }

  #measureDue(queue: Map<HostLink, number>): void {
    const nowMs = this.#timers.monotonicMs();
    for (const [host, dueMs] of queue) {
      if (dueMs > nowMs) break;
      queue.delete(host);
      if (this.#hosts.get(host.keyHex) === host && host.isOnline) void this.#measure(host);
    }
  }

  async #measure(host: HostLink): Promise<void> {
    this.#due.set(host, this.#timers.monotonicMs() + this.#pauseMs);
    if (await host.measure()) this.#measured();
  }
}

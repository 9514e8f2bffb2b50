/** Two threads with a `SharedArrayBuffer` between them: they wake each other by `Atomics`, death is seen by locks. */
import { type AgentLock, whenAgentGone } from "./agent_lock.ts";
import { READER_SLEEPS, type Ring, WRITER_SLEEPS } from "./ring.ts";
import type { RingLink } from "./ring_connection.ts";

/** What a link is made of. */
export interface SharedLinkParts {
  readonly incoming: Ring;
  readonly outgoing: Ring;
  /** The lock by which the other side sees that this one lives. */
  readonly lock: AgentLock;
  /** Id of the other side's thread, which holds its lock already. */
  readonly otherAgent: string;
}

/** One end of such a link. */
export class SharedLink implements RingLink {
  /** Where this side can sleep. */
  readonly #beds: readonly (readonly [Int32Array, number])[];
  readonly #lock: AgentLock;
  readonly #stopWatching: () => void;
  #isGone = false;

  /** Begins to watch the other side. */
  constructor({ incoming, outgoing, lock, otherAgent }: SharedLinkParts) {
    this.#beds = [[incoming.words, READER_SLEEPS], [outgoing.words, WRITER_SLEEPS]];
    this.#lock = lock;
    this.#stopWatching = whenAgentGone(otherAgent, () => {
      this.#isGone = true;
      this.#wakeHere();
    });
  }

  get gone(): boolean {
    return this.#isGone;
  }

  wake(words: Int32Array, index: number): void {
    Atomics.notify(words, index);
  }

  sleep(words: Int32Array, index: number): Promise<unknown> | null {
    const { async, value } = Atomics.waitAsync(words, index, 1);
    return async ? value : null;
  }

  close(): void {
    this.#stopWatching();
    this.#lock.leave();
    this.#wakeHere();
  }

  #wakeHere(): void {
    for (const [words, index] of this.#beds) {
      Atomics.store(words, index, 0);
      Atomics.notify(words, index);
    }
  }
}

/**
 * Two processes with memory and a socket between them. A byte on the socket is a bell: look at your words again. The
 * end of the socket is the other's end, however it came; the system tells it at once.
 *
 * Measured against futex(2) by FFI, called off the thread: a bell there and back took 66 us, a futex 90 us, and a
 * futex would hold the end of the program, leave death to time limits and have another number on each processor.
 */
import type { Connection } from "../transport.ts";
import type { Mapping } from "./mmap_memory.ts";
import type { RingLink } from "./ring_connection.ts";

/** Bells that are read at once; they say all the same. */
const BELLS = 64;
const BELL = new Uint8Array(1);

/** One end of such a link. */
export class MmapLink implements RingLink {
  readonly #socket: Connection;
  readonly #mapping: Mapping;
  readonly #onFirstBell: () => void;
  #bell = Promise.withResolvers<void>();
  #isGone = false;
  #isRinging = false;
  #ringsAgain = false;

  /**
   * Begins to listen to bells.
   *
   * @param onFirstBell called once when the other side has shown that it has the memory
   */
  constructor(socket: Connection, mapping: Mapping, onFirstBell: () => void) {
    this.#socket = socket;
    this.#mapping = mapping;
    this.#onFirstBell = onFirstBell;
    void this.#listen();
  }

  get gone(): boolean {
    return this.#isGone;
  }

  wake(): void {
    // A bell that is under way may have been heard already, before what this one is for.
    if (this.#isRinging) this.#ringsAgain = true;
    else void this.#ring();
  }

  sleep(): Promise<unknown> {
    return this.#bell.promise;
  }

  close(): void {
    this.#socket.close();
    this.#mapping.unmap();
    this.#wakeHere();
  }

  async #listen(): Promise<void> {
    const bells = new Uint8Array(BELLS);
    try {
      for (let isFirst = true; await this.#socket.read(bells) !== null; isFirst = false) {
        if (isFirst) this.#onFirstBell();
        this.#wakeHere();
      }
    } catch {
      // Cut or closed: it is over either way.
    }
    this.#isGone = true;
    this.#wakeHere();
  }

  async #ring(): Promise<void> {
    this.#isRinging = true;
    try {
      do {
        this.#ringsAgain = false;
        await this.#socket.write(BELL);
      } while (this.#ringsAgain);
    } catch {
      // Nobody is there to hear it; reading says so too.
    }
    this.#isRinging = false;
  }

  #wakeHere(): void {
    this.#bell.resolve();
    this.#bell = Promise.withResolvers();
  }
}

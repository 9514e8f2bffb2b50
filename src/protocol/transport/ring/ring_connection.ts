/**
 * A connection made of two rings. Who finds nothing to do says so in a word of the ring ("sleeps") and waits; the
 * other side looks at that word after each change and wakes him:
 *
 *   reader   sleeps = 1;  still nothing? wait              writer   bytes, head;  sleeps was 1? sleeps = 0, wake
 *
 * Each side writes its own word before it reads the other's, so one of them always sees the other: no wake-up is lost,
 * and a busy pair wakes nobody.
 */
import { type Connection, TransportError } from "../transport.ts";
import { closedHere, writingEnded } from "../transport_errors.ts";
import { nextTurn } from "./next_turn.ts";
import { READER_SLEEPS, type Ring, RingReader, RingWriter, WRITER_SLEEPS } from "./ring.ts";

/** How the two sides of a connection of rings wake each other, and learn that one has died. */
export interface RingLink {
  /** Whether the other side has closed or died. It has then written its last byte. */
  readonly gone: boolean;
  /** Wakes the other side, which sleeps at this word; the word was 1 and is 0 now. */
  wake(words: Int32Array, index: number): void;
  /**
   * Waits while the word is 1, or shorter; also ends when the other side goes, and at `close`.
   *
   * @returns null if it did not wait at all
   */
  sleep(words: Int32Array, index: number): Promise<unknown> | null;
  /** Gives up memory and all else, wakes who sleeps here, and lets the other side know. */
  close(): void;
}

/** What a connection says of itself, as in `Connection`. */
export interface RingName {
  readonly transport: string;
  readonly remoteAddress: string | null;
  readonly localAddress: string | null;
}

/**
 * Turns that are waited before sleeping, because waking takes much longer than a turn: 10 us, or 70 where the processor
 * has dozed off. Measured on two idle cores: 64 bytes there and back in 3 us instead of 10 or 75. A turn is no spin:
 * whatever else the program has to do comes first.
 */
const TURNS_BEFORE_SLEEP = 32;
/** Sleeps without such turns after they were in vain: who waits for long, or shares his core, does not burn it. */
const SLEEPS_WITHOUT_TURNS = 15;
/** A long write is made in so many pieces per ring, so that the reader begins with the first of them. */
const PIECES_PER_RING = 4;
/** After so many reads and writes that did not have to wait, the rest of the program gets a turn (1 us). */
const MAX_UNBROKEN = 16;

/** One end of a connection of two rings. */
export class RingConnection implements Connection {
  readonly transport: string;
  readonly remoteAddress: string | null;
  readonly localAddress: string | null;
  /** Memory that only the two ends have. */
  readonly confidential = true;
  readonly #incoming: Ring;
  readonly #outgoing: Ring;
  readonly #reader: RingReader;
  readonly #writer: RingWriter;
  readonly #link: RingLink;
  #isClosed = false;
  #isWriteClosed = false;
  #writing: Promise<void> = Promise.resolve();
  #unbroken = 0;
  #sleepsWithoutTurns = 0;

  /** Takes one end: the ring it reads, the ring it writes, both untouched, and the link to the other. */
  constructor(name: RingName, incoming: Ring, outgoing: Ring, link: RingLink) {
    this.transport = name.transport;
    this.remoteAddress = name.remoteAddress;
    this.localAddress = name.localAddress;
    this.#incoming = incoming;
    this.#outgoing = outgoing;
    this.#reader = new RingReader(incoming);
    this.#writer = new RingWriter(outgoing);
    this.#link = link;
  }

  async read(buffer: Uint8Array<ArrayBuffer>): Promise<number | null> {
    // No bytes would ever be put there.
    if (buffer.length === 0) throw new RangeError("cannot read: the buffer is empty");
    try {
      for (;;) {
        if (++this.#unbroken > MAX_UNBROKEN) await this.#turn();
        if (this.#isClosed) throw closedHere("read");
        const count = this.#readNow(buffer);
        if (count !== 0) return count;
        await this.#sleep(this.#incoming.words, READER_SLEEPS, this.#hasNothingToRead);
      }
    } catch (error) {
      throw this.#failed(error);
    }
  }

  write(bytes: Uint8Array): Promise<void> {
    return this.#writing = this.#write(bytes);
  }

  async #write(bytes: Uint8Array): Promise<void> {
    try {
      const pieceBytes = this.#outgoing.bytes.length / PIECES_PER_RING;
      let rest = bytes;
      for (;;) {
        if (++this.#unbroken > MAX_UNBROKEN) await this.#turn();
        if (this.#isClosed) throw closedHere("write");
        if (this.#isWriteClosed) throw writingEnded();
        const count = this.#writeNow(rest.length > pieceBytes ? rest.subarray(0, pieceBytes) : rest);
        if (count === rest.length) return;
        rest = rest.subarray(count);
        if (count === pieceBytes) continue;
        await this.#sleep(this.#outgoing.words, WRITER_SLEEPS, this.#hasNoRoom);
      }
    } catch (error) {
      throw this.#failed(error);
    }
  }

  async closeWrite(): Promise<void> {
    try {
      await this.#writing;
    } catch {
      // Whoever wrote was told.
    }
    if (this.#isClosed || this.#isWriteClosed) return;
    this.#isWriteClosed = true;
    this.#writer.end();
    this.#wake(this.#outgoing.words, READER_SLEEPS);
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#writer.leave();
    this.#reader.leave();
    this.#wake(this.#outgoing.words, READER_SLEEPS);
    this.#wake(this.#incoming.words, WRITER_SLEEPS);
    this.#link.close();
  }

  /** Bytes read, null at the end, 0 if there is nothing yet. */
  #readNow(buffer: Uint8Array): number | null {
    // Both are asked before the bytes: nothing comes after them, so what is found now is all there is.
    const isOver = this.#reader.writerState() !== "open";
    const isGone = this.#link.gone;
    const count = this.#reader.read(buffer);
    if (count > 0) {
      // A writer who was out of room is woken when half of it is free, not for every few bytes.
      if (this.#reader.unread() * 2 <= this.#incoming.bytes.length) {
        this.#wake(this.#incoming.words, WRITER_SLEEPS);
      }
      return count;
    }
    if (isOver) return null;
    if (isGone) throw lost("read from");
    return 0;
  }

  #writeNow(bytes: Uint8Array): number {
    if (this.#link.gone || this.#writer.readerState() !== "open") throw lost("write to");
    const count = this.#writer.write(bytes);
    if (count > 0) this.#wake(this.#outgoing.words, READER_SLEEPS);
    return count;
  }

  readonly #hasNothingToRead = (): boolean =>
    this.#reader.writerState() === "open" && this.#reader.unread() === 0;

  readonly #hasNoRoom = (): boolean => this.#writer.readerState() === "open" && this.#writer.room() === 0;

  /** A side that writes nonsense gets no second chance. */
  #failed(error: unknown): unknown {
    if (error instanceof TransportError && error.code === "tampered") this.close();
    return error;
  }

  async #sleep(words: Int32Array, index: number, isIdle: () => boolean): Promise<void> {
    if (await this.#turnsEnough(isIdle)) return;
    // It may have come while that was awaited. Nobody would wake us any more, and memory may be gone.
    if (this.#isClosed || this.#link.gone) return;
    Atomics.store(words, index, 1);
    // Only now, with the word up, is it sure that a change from here on wakes us.
    if (!isIdle()) {
      Atomics.store(words, index, 0);
      return;
    }
    const woken = this.#link.sleep(words, index);
    if (woken === null) return;
    await woken;
    this.#unbroken = 0;
    // Memory of a closed connection may be gone.
    if (!this.#isClosed) Atomics.store(words, index, 0);
  }

  /** Whether it took only a few turns until there was something to do. */
  async #turnsEnough(isIdle: () => boolean): Promise<boolean> {
    if (this.#sleepsWithoutTurns > 0) {
      this.#sleepsWithoutTurns--;
      return false;
    }
    for (let turn = 0; turn < TURNS_BEFORE_SLEEP; turn++) {
      await this.#turn();
      if (this.#isClosed || this.#link.gone || !isIdle()) return true;
    }
    this.#sleepsWithoutTurns = SLEEPS_WITHOUT_TURNS;
    return false;
  }

  #wake(words: Int32Array, index: number): void {
    if (Atomics.load(words, index) !== 0 && Atomics.exchange(words, index, 0) !== 0) {
      this.#link.wake(words, index);
    }
  }

  async #turn(): Promise<void> {
    this.#unbroken = 0;
    await nextTurn();
  }
}

function lost(act: string): TransportError {
  return new TransportError("lost", `cannot ${act} the ring: the other end has closed or died`);
}

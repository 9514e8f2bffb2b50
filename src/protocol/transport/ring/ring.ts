/**
 * A ring of bytes in shared memory: one side writes, the other reads, nobody locks. Two of them, one for each
 * direction, make a connection.
 *
 *   memory    | words of ring 0 | words of ring 1 | bytes of ring 0 | bytes of ring 1 |
 *   words     | head, writer's state | tail, reader's state | reader sleeps | writer sleeps |   four lines of 64 bytes
 *
 * Head and tail count all bytes ever written and read, modulo 2^32. Whoever owns one keeps it for himself as well and
 * never reads his own back: the other side can write any number anywhere at any time. What is read from there is one
 * number, checked before use: it may not go backwards and not beyond what lies between.
 */
import { TransportError } from "../transport.ts";

/** Words that one side writes lie on cache lines of their own, else the two sides slow each other down. */
const LINE_WORDS = 16;
const HEAD = 0,
  WRITER_STATE = 1,
  TAIL = LINE_WORDS,
  READER_STATE = LINE_WORDS + 1;
/** Word that is 1 while the reader waits for bytes; the writer puts it back to 0 and wakes him. */
export const READER_SLEEPS = 2 * LINE_WORDS;
/** Word that is 1 while the writer waits for room; the reader puts it back to 0 and wakes him. */
export const WRITER_SLEEPS = 3 * LINE_WORDS;
const RING_WORDS = 4 * LINE_WORDS;
const WORD_BYTES = 4;

/** Smallest and largest ring, in bytes; every size is a power of two. */
export const MIN_RING_BYTES = 4096,
  MAX_RING_BYTES = 64 * 1024 * 1024;
/** Bytes of one ring where nothing else is said. */
export const DEFAULT_RING_BYTES = 256 * 1024;

/** One ring: its words and its bytes, both in shared memory. */
export interface Ring {
  readonly words: Int32Array;
  readonly bytes: Uint8Array;
}

/** State of one side of a ring; no other number is one. */
const OPEN = 0, ENDED = 1, LEFT = 2;

/** What the other side of a ring has said about itself: nothing, that no more will come, or that it has closed. */
export type SideState = "open" | "ended" | "left";

/** Whether that is a size a ring can have: a power of two between the smallest and the largest. */
export function isRingBytes(ringBytes: number): boolean {
  return Number.isInteger(ringBytes) && ringBytes >= MIN_RING_BYTES && ringBytes <= MAX_RING_BYTES &&
    (ringBytes & (ringBytes - 1)) === 0;
}

/**
 * Checks the size that a program asks for.
 *
 * @throws {RangeError} if no ring can have it
 */
export function checkRingBytes(ringBytes: number): number {
  if (!isRingBytes(ringBytes)) {
    throw new RangeError(
      `cannot make a ring of ${ringBytes} bytes: it wants a power of two from ${MIN_RING_BYTES} to ${MAX_RING_BYTES}`,
    );
  }
  return ringBytes;
}

/** Bytes of memory that two rings of that size take. */
export function pairBytes(ringBytes: number): number {
  return 2 * (RING_WORDS * WORD_BYTES + ringBytes);
}

/** The two rings in a memory of `pairBytes(ringBytes)` bytes from `offset`, which is a multiple of 4, on; all zero at first. */
export function ringsIn(memory: ArrayBufferLike, offset: number, ringBytes: number): readonly [Ring, Ring] {
  const first = offset + 2 * RING_WORDS * WORD_BYTES;
  const ring = (index: number): Ring => ({
    words: new Int32Array(memory, offset + index * RING_WORDS * WORD_BYTES, RING_WORDS),
    bytes: new Uint8Array(memory, first + index * ringBytes, ringBytes),
  });
  return [ring(0), ring(1)];
}

/** The writing side of a ring. */
export class RingWriter {
  readonly #words: Int32Array;
  readonly #bytes: Uint8Array;
  #head = 0;
  /** Bytes written and, as far as was last seen, not read. */
  #unread = 0;

  /** Takes the writing side of a ring that nobody has written to. */
  constructor(ring: Ring) {
    this.#words = ring.words;
    this.#bytes = ring.bytes;
  }

  /**
   * Bytes there is room for.
   *
   * @throws {TransportError} "tampered" if the reader's index is impossible
   */
  room(): number {
    const unread = (this.#head - Atomics.load(this.#words, TAIL)) >>> 0;
    // Only reading changes it, so it never grows; that also keeps it below the size of the ring.
    if (unread > this.#unread) throw impossible("reader", this.#unread, unread);
    this.#unread = unread;
    return this.#bytes.length - unread;
  }

  /**
   * Writes what there is room for.
   *
   * @returns how many of the bytes, from the first on
   * @throws {TransportError} "tampered" if the reader's index is impossible
   */
  write(bytes: Uint8Array): number {
    const ring = this.#bytes;
    const count = Math.min(this.room(), bytes.length);
    if (count === 0) return 0;
    const at = this.#head & (ring.length - 1);
    const straight = Math.min(count, ring.length - at);
    ring.set(straight === bytes.length ? bytes : bytes.subarray(0, straight), at);
    if (straight < count) ring.set(bytes.subarray(straight, count), 0);
    this.#head = (this.#head + count) | 0;
    this.#unread += count;
    Atomics.store(this.#words, HEAD, this.#head);
    return count;
  }

  /** Says that no more will come. */
  end(): void {
    Atomics.store(this.#words, WRITER_STATE, ENDED);
  }

  /** Says that this side has closed. */
  leave(): void {
    Atomics.store(this.#words, WRITER_STATE, LEFT);
  }

  /**
   * What the reader has said.
   *
   * @throws {TransportError} "tampered" if that is nothing a reader says
   */
  readerState(): SideState {
    return sideState(Atomics.load(this.#words, READER_STATE));
  }
}

/** The reading side of a ring. */
export class RingReader {
  readonly #words: Int32Array;
  readonly #bytes: Uint8Array;
  #tail = 0;
  /** Bytes that, as far as was last seen, can be read. */
  #unread = 0;

  /** Takes the reading side of a ring that nobody has read from. */
  constructor(ring: Ring) {
    this.#words = ring.words;
    this.#bytes = ring.bytes;
  }

  /**
   * Bytes that can be read.
   *
   * @throws {TransportError} "tampered" if the writer's index is impossible
   */
  unread(): number {
    const unread = (Atomics.load(this.#words, HEAD) - this.#tail) >>> 0;
    // Only writing changes it, so it never shrinks.
    if (unread < this.#unread || unread > this.#bytes.length) {
      throw impossible("writer", this.#unread, unread);
    }
    this.#unread = unread;
    return unread;
  }

  /**
   * Copies what can be read to the beginning of `into`.
   *
   * @returns how many bytes; 0 if there are none
   * @throws {TransportError} "tampered" if the writer's index is impossible
   */
  read(into: Uint8Array): number {
    const ring = this.#bytes;
    const count = Math.min(this.unread(), into.length);
    if (count === 0) return 0;
    const at = this.#tail & (ring.length - 1);
    const straight = Math.min(count, ring.length - at);
    into.set(ring.subarray(at, at + straight));
    if (straight < count) into.set(ring.subarray(0, count - straight), straight);
    this.#tail = (this.#tail + count) | 0;
    this.#unread -= count;
    Atomics.store(this.#words, TAIL, this.#tail);
    return count;
  }

  /** Says that this side has closed. */
  leave(): void {
    Atomics.store(this.#words, READER_STATE, LEFT);
  }

  /**
   * What the writer has said. Asked before `read`, it is true of what `read` finds; asked afterwards, bytes may have
   * come in between.
   *
   * @throws {TransportError} "tampered" if that is nothing a writer says
   */
  writerState(): SideState {
    return sideState(Atomics.load(this.#words, WRITER_STATE));
  }
}

function sideState(state: number): SideState {
  if (state === OPEN) return "open";
  if (state === ENDED) return "ended";
  if (state === LEFT) return "left";
  throw new TransportError(
    "tampered",
    `cannot use the ring: the other side's state is ${state}, 0 to 2 exist`,
  );
}

function impossible(side: string, before: number, now: number): TransportError {
  return new TransportError(
    "tampered",
    `cannot use the ring: the ${side} moved its index so that ${now} bytes would wait where ${before} did`,
  );
}

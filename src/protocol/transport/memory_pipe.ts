/** One direction of a connection in memory: bytes go in at one end and come out, in order, at the other. */
import { TransportError } from "./transport.ts";
import { closedHere, writingEnded } from "./transport_errors.ts";

/** Bytes that wait before a writer has to. */
export const PIPE_BYTES = 256 * 1024;
const FIRST_BUFFER_BYTES = 4 * 1024;
/**
 * Two programs that answer each other at once need no turn of the event loop between them, so no timer of theirs
 * would ever fire, no deadline and no signal. After so many bytes a read waits for a turn, which costs about 1 ms; a
 * read counts for some bytes more than it gives, as it costs time however short it is.
 */
const BYTES_PER_TURN = 4 * 1024 * 1024;
const READ_COST_BYTES = 256;

interface WaitingRead {
  readonly buffer: Uint8Array;
  readonly resolve: (count: number | null) => void;
  readonly reject: (error: TransportError) => void;
}

interface WaitingWrite {
  bytes: Uint8Array;
  readonly resolve: () => void;
  readonly reject: (error: TransportError) => void;
}

/** The pipe; its writing end and its reading end belong to different connections. */
export class MemoryPipe {
  /** Ring: `#held` bytes from `#start` on. It grows with need, so that an idle connection costs little. */
  #ring: Uint8Array<ArrayBuffer> = new Uint8Array(0);
  #start = 0;
  #held = 0;
  #read: WaitingRead | null = null;
  #write: WaitingWrite | null = null;
  #ended = false;
  #readerGone = false;
  #writerClosed = false;
  /** Bytes read since the last turn, with the cost of each read. */
  #sinceTurn = 0;
  #turn: ReturnType<typeof setTimeout> | null = null;

  /** `Connection.read` of the reading end. */
  read(buffer: Uint8Array): Promise<number | null> {
    if (this.#readerGone) return Promise.reject(closedHere("read"));
    if (this.#read !== null) return Promise.reject(new TypeError("cannot read: another read is under way"));
    if (buffer.length === 0) return Promise.reject(new RangeError("cannot read: the buffer is empty"));
    if (this.#held === 0 && this.#write === null) {
      if (this.#ended) return Promise.resolve(null);
    } else if (this.#sinceTurn < BYTES_PER_TURN) {
      return Promise.resolve(this.#takeInto(buffer));
    }
    return new Promise((resolve, reject) => {
      this.#read = { buffer, resolve, reject };
      if (this.#sinceTurn >= BYTES_PER_TURN) this.#turn = setTimeout(() => this.#afterTurn(), 0);
    });
  }

  #afterTurn(): void {
    this.#turn = null;
    this.#sinceTurn = 0;
    this.#serveRead();
  }

  #serveRead(): void {
    const read = this.#read;
    if (read === null || this.#turn !== null) return;
    if (this.#held > 0 || this.#write !== null) {
      this.#read = null;
      read.resolve(this.#takeInto(read.buffer));
    } else if (this.#ended) {
      this.#read = null;
      read.resolve(null);
    }
  }

  /** `Connection.write` of the writing end. */
  write(bytes: Uint8Array): Promise<void> {
    if (this.#writerClosed) return Promise.reject(closedHere("write"));
    if (this.#ended) {
      return Promise.reject(writingEnded());
    }
    if (this.#write !== null) {
      return Promise.reject(new TypeError("cannot write: another write is under way"));
    }
    if (this.#readerGone) return Promise.reject(lost());
    let rest = bytes;
    const read = this.#read;
    if (read !== null && this.#turn === null && rest.length > 0) {
      // The reader waits, so nothing is held: straight from one buffer to the other.
      const count = Math.min(rest.length, read.buffer.length);
      read.buffer.set(rest.subarray(0, count));
      rest = rest.subarray(count);
      this.#read = null;
      this.#sinceTurn += count + READ_COST_BYTES;
      read.resolve(count);
    }
    if (rest.length <= PIPE_BYTES - this.#held) {
      this.#hold(rest);
      return Promise.resolve();
    }
    return new Promise((resolve, reject) => {
      this.#write = { bytes: rest, resolve, reject };
    });
  }

  /** No more comes in; what is held can be read, then the end. */
  end(): Promise<void> {
    if (this.#write !== null) {
      return Promise.reject(new TypeError("cannot end writing: a write is under way"));
    }
    this.#ended = true;
    this.#serveRead();
    return Promise.resolve();
  }

  /** The writing end is closed: as `end`, but what a waiting write still has is given up. */
  closeWriter(): void {
    if (this.#writerClosed) return;
    this.#writerClosed = true;
    this.#ended = true;
    const write = this.#write;
    this.#write = null;
    write?.reject(closedHere("write"));
    this.#serveRead();
  }

  /** The reading end is closed: whatever is held or comes is lost. */
  closeReader(): void {
    if (this.#readerGone) return;
    this.#readerGone = true;
    this.#held = 0;
    this.#ring = new Uint8Array(0);
    if (this.#turn !== null) clearTimeout(this.#turn);
    this.#turn = null;
    const read = this.#read, write = this.#write;
    this.#read = null;
    this.#write = null;
    read?.reject(closedHere("read"));
    write?.reject(lost());
  }

  #takeInto(buffer: Uint8Array): number {
    let count = 0;
    while (this.#held > 0 && count < buffer.length) {
      const piece = Math.min(this.#held, buffer.length - count, this.#ring.length - this.#start);
      buffer.set(this.#ring.subarray(this.#start, this.#start + piece), count);
      this.#start = (this.#start + piece) % this.#ring.length;
      this.#held -= piece;
      count += piece;
    }
    if (this.#held === 0) this.#start = 0;
    this.#sinceTurn += count + READ_COST_BYTES;
    const write = this.#write;
    if (write === null) return count;
    if (count < buffer.length) {
      const piece = Math.min(write.bytes.length, buffer.length - count);
      buffer.set(write.bytes.subarray(0, piece), count);
      write.bytes = write.bytes.subarray(piece);
      count += piece;
    }
    if (write.bytes.length <= PIPE_BYTES - this.#held) {
      this.#hold(write.bytes);
      this.#write = null;
      write.resolve();
    }
    return count;
  }

  #hold(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    this.#makeRoom(this.#held + bytes.length);
    const at = (this.#start + this.#held) % this.#ring.length;
    const untilEnd = Math.min(bytes.length, this.#ring.length - at);
    this.#ring.set(bytes.subarray(0, untilEnd), at);
    this.#ring.set(bytes.subarray(untilEnd), 0);
    this.#held += bytes.length;
  }

  #makeRoom(bytes: number): void {
    if (bytes <= this.#ring.length) return;
    let size = Math.max(FIRST_BUFFER_BYTES, this.#ring.length);
    while (size < bytes) size *= 2;
    const larger = new Uint8Array(size);
    const untilEnd = Math.min(this.#held, this.#ring.length - this.#start);
    larger.set(this.#ring.subarray(this.#start, this.#start + untilEnd));
    larger.set(this.#ring.subarray(0, this.#held - untilEnd), untilEnd);
    this.#ring = larger;
    this.#start = 0;
  }
}

function lost(): TransportError {
  return new TransportError("lost", "cannot write: the other end has closed the connection");
}

/**
 * Frames on their way out. Those added in one turn are written together: writing begins some microtasks later, and
 * what is added while a write is under way makes the next batch.
 */
import type { Connection } from "../transport/transport.ts";
import type { EncodedBody } from "./codec.ts";
import { FRAME_KINDS } from "./frame.ts";
import type { FrameSink } from "./frame_sink.ts";
import type { FrameWriter } from "./frame_writer.ts";

/** An async generator needs three microtasks from one item to the next; one more, and it has paused. */
const MICROTASKS_TO_WAIT = 4;
/** Enough for one write: waiting for more would only keep the other side waiting. */
const ENOUGH_BYTES = 16 * 1024;

/** Writes frames to a connection. */
export class Outbox implements FrameSink {
  readonly #connection: Connection;
  readonly #writer: FrameWriter;
  readonly #maxQueuedBytes: number;
  readonly #failed: (error: unknown) => void;
  readonly #write = (): void => void this.#writeAll();
  /** Whether writing is under way or about to begin. */
  #busy = false;
  /** Whether frames are still taken. */
  #open = true;
  #pongValue: number | null = null;
  #waitingForRoom: (() => void)[] = [];
  #afterWritten: (() => void)[] = [];
  #flushed: (() => void) | null = null;

  /** @param failed told once if the connection takes no more */
  constructor(
    connection: Connection,
    writer: FrameWriter,
    maxQueuedBytes: number,
    failed: (error: unknown) => void,
  ) {
    this.#connection = connection;
    this.#writer = writer;
    this.#maxQueuedBytes = maxQueuedBytes;
    this.#failed = failed;
  }

  get queuedBytes(): number {
    return this.#writer.unwrittenBytes;
  }

  get hasRoom(): boolean {
    return this.#writer.unwrittenBytes < this.#maxQueuedBytes;
  }

  add(kind: number, method: number, id: number, value: number, body: EncodedBody | null): number {
    if (!this.#open) {
      return 0;
    }
    const bodyBytes = this.#writer.add(kind, method, id, value, body);
    this.#begin();
    return bodyBytes;
  }

  pong(value: number): void {
    if (this.#open) {
      this.#pongValue = value;
      this.#begin();
    }
  }

  whenRoom(act: () => void): void {
    if (this.#open) {
      this.#waitingForRoom.push(act);
    } else {
      queueMicrotask(act);
    }
  }

  afterWritten(act: () => void): void {
    if (this.#busy) {
      this.#afterWritten.push(act);
    } else {
      act();
    }
  }

  /** Takes no more frames; resolves when those there are were written, or cannot be. */
  finish(): Promise<void> {
    this.#open = false;
    this.#pongValue = null;
    return new Promise((resolve) => {
      if (this.#busy) {
        this.#flushed = resolve;
      } else {
        resolve();
      }
    });
  }

  /** Takes no more frames and lets go whoever waits; called when the connection is closed. */
  stop(): void {
    this.#open = false;
    this.#writer.abandon();
    this.#letGo();
  }

  #begin(): void {
    if (!this.#busy) {
      this.#busy = true;
      queueMicrotask(this.#write);
    }
  }

  async #writeAll(): Promise<void> {
    try {
      while (this.#writer.queuedBytes > 0 || this.#pongValue !== null) {
        await this.#gather();
        await this.#writeBatch();
      }
    } catch (error) {
      this.#open = false;
      this.#failed(error);
    } finally {
      this.#busy = false;
      callAll(this.#takeAfterWritten());
      if (!this.#open) {
        this.#letGo();
      }
      this.#flushed?.();
    }
  }

  /**
   * Waits as long as more is being added, so that a stream does not make a write of each item. Nothing here takes
   * longer than producing what is waited for.
   */
  async #gather(): Promise<void> {
    for (let before = -1; before < this.#writer.queuedBytes && before < ENOUGH_BYTES;) {
      before = this.#writer.queuedBytes;
      for (let i = 0; i < MICROTASKS_TO_WAIT; i++) {
        await null;
      }
    }
  }

  async #writeBatch(): Promise<void> {
    if (this.#pongValue !== null) {
      this.#writer.add(FRAME_KINDS.pong, 0, 0, this.#pongValue, null);
      this.#pongValue = null;
    }
    // Taken out even if empty: who comes while this batch is being written waits for the next one.
    const written = this.#takeAfterWritten();
    try {
      for (const bytes of this.#writer.take()) {
        await this.#connection.write(bytes);
      }
      // Only now: a write that failed may still be looking at the memory.
      this.#writer.release();
    } finally {
      // Also after a failed write: long bodies that it may be looking at are lent (lent_memory.ts), and not used again.
      callAll(written);
    }
    this.#giveRoom();
  }

  /** Everyone who waits now; whoever finds no room when its turn comes waits again, behind the others. */
  #giveRoom(): void {
    const waiting = this.#waitingForRoom;
    if (waiting.length > 0 && this.hasRoom) {
      this.#waitingForRoom = [];
      callAll(waiting);
    }
  }

  #letGo(): void {
    const waiting = this.#waitingForRoom;
    this.#waitingForRoom = [];
    callAll(waiting);
  }

  #takeAfterWritten(): readonly (() => void)[] {
    const written = this.#afterWritten;
    this.#afterWritten = [];
    return written;
  }
}

function callAll(acts: readonly (() => void)[]): void {
  for (const act of acts) {
    act();
  }
}

/** Two ends of a channel within a test: messages as they are, without keys and bytes. */
import { TransferError } from "../../../src/protocol/transfer/errors.ts";
import { encodeMessage } from "../../../src/protocol/transfer/message_codec.ts";
import type { DataMessage, TransferMessage } from "../../../src/protocol/transfer/messages.ts";
import type { HeardRecord, SessionChannel } from "../../../src/protocol/transfer/session.ts";
import type { Timers } from "../../../src/protocol/rpc/timers.ts";

/** Records that wait before a sender has to. */
const MAX_QUEUED = 8;

/** One end. */
export class MemoryChannel implements SessionChannel {
  heardMs: number;
  saidMs: number;
  readonly #timers: Timers;
  readonly #inbox: (HeardRecord | null)[] = [];
  #other: MemoryChannel = this;
  #failure: TransferError | null = null;
  #arrived: (() => void)[] = [];
  #taken: (() => void)[] = [];

  /** Set by a test: nothing here is on its way. */
  partOfNext = 0;

  constructor(timers: Timers) {
    this.#timers = timers;
    this.heardMs = this.saidMs = timers.monotonicMs();
  }

  /** The two ends of one channel. */
  static pair(timers: Timers): readonly [MemoryChannel, MemoryChannel] {
    const one = new MemoryChannel(timers), other = new MemoryChannel(timers);
    one.#other = other;
    other.#other = one;
    return [one, other];
  }

  /** Whether nothing can be said or heard here any more. */
  get isClosed(): boolean {
    return this.#failure !== null;
  }

  /** What the other end has said, and nobody has taken. */
  get waiting(): number {
    return this.#inbox.length;
  }

  async send(message: Exclude<TransferMessage, DataMessage>): Promise<void> {
    encodeMessage(message); // throws if the real channel would
    await this.sendRaw({ message });
  }

  async sendChunk(message: DataMessage, chunk: Uint8Array<ArrayBuffer>): Promise<void> {
    encodeMessage(message);
    const body = chunk.slice();
    chunk.buffer.transfer(0);
    await this.sendRaw({ message, body });
  }

  /** Sends whatever it is; null is the end. */
  async sendRaw(record: HeardRecord | null): Promise<void> {
    if (this.#failure !== null) throw this.#failure;
    this.saidMs = this.#timers.monotonicMs();
    this.#other.#take(record);
    while (this.#other.#inbox.length > MAX_QUEUED) {
      await new Promise<void>((resolve) => this.#taken.push(resolve));
      if (this.#failure !== null) throw this.#failure;
    }
  }

  async receive(): Promise<HeardRecord | null> {
    while (this.#inbox.length === 0) {
      if (this.#failure !== null) throw this.#failure;
      await new Promise<void>((resolve) => this.#arrived.push(resolve));
    }
    const record = this.#inbox[0];
    if (record !== null) this.#inbox.shift(); // the end stays
    callAll(this.#other.#taken);
    return record ?? null;
  }

  end(): Promise<void> {
    return this.sendRaw(null);
  }

  close(): void {
    if (this.#failure !== null) return;
    this.#inbox.length = 0;
    this.#fail(new TransferError("cancelled", "the connection was closed here"));
    this.#other.#fail(new TransferError("lost", "the connection was lost"));
  }

  /** The link breaks. */
  cut(): void {
    this.#fail(new TransferError("lost", "the connection was lost"));
    this.#other.#fail(new TransferError("lost", "the connection was lost"));
  }

  #take(record: HeardRecord | null): void {
    if (this.#failure !== null) return;
    this.heardMs = this.#timers.monotonicMs();
    this.#inbox.push(record);
    callAll(this.#arrived);
  }

  #fail(failure: TransferError): void {
    this.#failure ??= failure;
    callAll(this.#arrived);
    callAll(this.#taken);
  }
}

function callAll(waiting: (() => void)[]): void {
  for (const tell of waiting.splice(0)) tell();
}

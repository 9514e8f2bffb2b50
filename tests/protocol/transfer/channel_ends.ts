/** Both ends of a transfer's channel as after a pairing, and a hand that writes records for one of them. */
import { type RecordKeys } from "../../../src/protocol/record/sealed_connection.ts";
import { RecordOpener, type RecordParts, RecordSealer } from "../../../src/protocol/record/record.ts";
import { systemTimers, type Timers } from "../../../src/protocol/rpc/timers.ts";
import { TransferChannel } from "../../../src/protocol/transfer/channel.ts";
import { TransferError } from "../../../src/protocol/transfer/errors.ts";
import type { DataMessage } from "../../../src/protocol/transfer/messages.ts";
import { CHUNK_BYTES } from "../../../src/protocol/transfer/offer.ts";
import { DEFAULT_LIMITS, type TransferLimits } from "../../../src/protocol/transfer/limits.ts";
import { memoryPair } from "../../../src/protocol/transport/memory.ts";
import type { Connection } from "../../../src/protocol/transport/transport.ts";

const senderKey = new Uint8Array(32).fill(1), receiverKey = new Uint8Array(32).fill(2);
/** Keys of the side that sends files. */
export const senderKeys: RecordKeys = { sending: senderKey, receiving: receiverKey };
/** Keys of the other side. */
export const receiverKeys: RecordKeys = { sending: receiverKey, receiving: senderKey };

/** What may be said of a channel that is made. */
export interface EndOptions {
  readonly limits?: TransferLimits;
  readonly timers?: Timers;
  readonly sealer?: RecordSealer;
  readonly opener?: RecordOpener;
}

/** Work that is under way at once, and goes on when a channel is closed. */
class Load {
  /** How much there was at once, at most. */
  most = 0;
  readonly #now = new Set<Promise<unknown>>();

  watch<T>(work: Promise<T>): Promise<T> {
    this.#now.add(work);
    this.most = Math.max(this.most, this.#now.size);
    const over = (): boolean => this.#now.delete(work);
    work.then(over, over);
    return work;
  }

  /** Settles once there is none. */
  async atRest(): Promise<void> {
    while (this.#now.size > 0) await Promise.allSettled(this.#now);
  }
}

/** A sealer whose work is counted and waited for. */
export class WatchedSealer extends RecordSealer {
  readonly load: Load = new Load();

  override sealParts(plaintext: Uint8Array): RecordParts {
    const parts = super.sealParts(plaintext);
    this.load.watch(parts.body);
    return parts;
  }

  override sealEndParts(): RecordParts {
    const parts = super.sealEndParts();
    this.load.watch(parts.body);
    return parts;
  }
}

/** An opener whose work is counted and waited for. */
export class WatchedOpener extends RecordOpener {
  readonly load: Load = new Load();

  override open(record: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer> | null> {
    return this.load.watch(super.open(record));
  }
}

/** One end over a connection. */
export function channelOver(
  connection: Connection,
  keys: RecordKeys,
  {
    limits = DEFAULT_LIMITS,
    timers = systemTimers,
    sealer = new RecordSealer(keys.sending),
    opener = new RecordOpener(keys.receiving),
  }: EndOptions = {},
): TransferChannel {
  return new TransferChannel(connection, { sealer, opener }, { limits, timers });
}

/** Both ends, in memory. */
export function channelPair(): { sender: TransferChannel; receiver: TransferChannel } {
  const [a, b] = memoryPair();
  return { sender: channelOver(a, senderKeys), receiver: channelOver(b, receiverKeys) };
}

/** What comes out of a channel in one word each: `heartbeat 7`, `data 0 5 of 64`, `end`, or the code of an error. */
export async function heard(channel: TransferChannel): Promise<string> {
  try {
    const received = await channel.receive();
    if (received === null) return "end";
    if ("body" in received) {
      const { message: { file, chunk }, body } = received;
      return `data ${file} ${chunk} of ${body.length}`;
    }
    const { message } = received;
    return message.type === "heartbeat" ? `heartbeat ${message.receivedBytes}` : message.type;
  } catch (error) {
    if (error instanceof TransferError) return error.code;
    throw error;
  }
}

/** After these words of `heard` nothing more comes. */
const LAST_WORDS: ReadonlySet<string> = new Set([
  "end",
  "tampered",
  "malformed",
  "lost",
  "limit",
  "cancelled",
]);

/** Everything that comes out, up to the end or an error. */
export async function heardAll(channel: TransferChannel): Promise<string[]> {
  const words = [await heard(channel)];
  while (!LAST_WORDS.has(words.at(-1) ?? "")) words.push(await heard(channel));
  return words;
}

/** A connection, of which some methods are other ones. */
export function changed(
  connection: Connection,
  methods: Partial<Pick<Connection, "read" | "write">>,
): Connection {
  return {
    transport: connection.transport,
    confidential: connection.confidential,
    localAddress: null,
    remoteAddress: null,
    read: methods.read ?? ((buffer) => connection.read(buffer)),
    write: methods.write ?? ((bytes) => connection.write(bytes)),
    closeWrite: () => connection.closeWrite(),
    close: () => connection.close(),
  };
}

/** What says that a chunk of the first file comes. */
export function data(chunk: number): DataMessage {
  return { type: "data", file: 0, chunk };
}

/** A chunk whose bytes tell its number. */
export function chunkOf(number: number, length: number = CHUNK_BYTES): Uint8Array<ArrayBuffer> {
  return new Uint8Array(length).fill(number);
}

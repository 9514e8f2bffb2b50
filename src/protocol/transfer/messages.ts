/** The messages of a transfer; what they look like on the wire is in message_codec.ts. */
import type { TransferErrorCode } from "./errors.ts";
import type { ChunkRange, OfferEntry } from "./offer.ts";

/** Sender, first: what comes in the `entries` that follow, at least one of them. */
export interface OfferMessage {
  readonly type: "offer";
  readonly kind: "files" | "text";
  /** How many entries follow. */
  readonly entries: number;
  readonly totalBytes: number;
}

/** Sender: the next entries of the offer, at least one. */
export interface EntriesMessage {
  readonly type: "entries";
  readonly entries: readonly OfferEntry[];
}

/** Receiver, once the offer is accepted: the chunks it wants, in ascending order; nothing is asked for twice. */
export interface WantMessage {
  readonly type: "want";
  readonly ranges: readonly ChunkRange[];
  /** No further `want` follows. */
  readonly last: boolean;
}

/** Sender: the record behind this one is a chunk. Chunks come in the order in which they were asked for. */
export interface DataMessage {
  readonly type: "data";
  readonly file: number;
  readonly chunk: number;
}

/** Sender, for each file that is not a folder, in order, once its last wanted chunk was sent. */
export interface HashMessage {
  readonly type: "hash";
  readonly file: number;
  /** See `fileHash`; 32 bytes. */
  readonly hash: Uint8Array<ArrayBuffer>;
}

/** Either side, at least once a second. */
export interface HeartbeatMessage {
  readonly type: "heartbeat";
  /** What the receiver has of the offer, with what has come of the next chunk; for display. 0 from a sender. */
  readonly receivedBytes: number;
}

/** Receiver, last: everything is in place. The sender answers with the end of its records. */
export interface DoneMessage {
  readonly type: "done";
}

/** Either side, last: it ends the transfer for good. */
export interface StopMessage {
  readonly type: "stop";
  readonly reason: TransferErrorCode;
  /** For the person at the other side; at most 1,024 bytes of UTF-8. */
  readonly text: string;
}

/** Every message. */
export type TransferMessage =
  | OfferMessage
  | EntriesMessage
  | WantMessage
  | DataMessage
  | HashMessage
  | HeartbeatMessage
  | DoneMessage
  | StopMessage;

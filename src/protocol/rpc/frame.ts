/**
 * The frame: everything that travels on an RPC connection, handshake included. See docs/wire-formats.md.
 *
 *   | length u32 | kind u8 | flags u8 | method u16 | id u32 | value u32 | body | zeros up to a multiple of 8 |
 *
 * Big-endian. `length` is that of the body alone. With the padding every header, and so every body, begins at a
 * multiple of 8 bytes, and a typed array can lie on a body where it was received.
 */
export const LENGTH_BYTES = 4,
  KIND_BYTES = 1,
  FLAGS_BYTES = 1,
  METHOD_BYTES = 2,
  ID_BYTES = 4,
  VALUE_BYTES = 4;
/** Everything before the body. */
export const HEADER_BYTES = LENGTH_BYTES + KIND_BYTES + FLAGS_BYTES + METHOD_BYTES + ID_BYTES + VALUE_BYTES;
/** What header and body are padded to. */
export const FRAME_ALIGNMENT_BYTES = 8;

/**
 * Kinds of frame. "Caller" is the side that began the call, "handler" the other; calls have odd ids if the dialling
 * side began them, even ones otherwise. Fields that a kind does not name are zero, and so are all flags.
 */
export const FRAME_KINDS = {
  /** Handshake, first frame of each side; body: see hello.ts. */
  hello: 1,
  /** Handshake: proof of the secret, 32 bytes. */
  proof: 2,
  /** Handshake, last frame, from the listening side: the connection is taken. */
  accept: 3,

  /** Caller: begins a call; method, id, value: milliseconds left to its deadline or 0 for none; body: the input. */
  call: 16,
  /** Handler: ends a call that has an output; id; body: the output. */
  reply: 17,
  /**
   * Handler: ends a call that failed; id, value: number of the code; body: the message.
   * Caller: its items failed; the handler's reading of them throws that error.
   */
  error: 18,
  /** Either: one item of a stream; id; body: the item. */
  item: 19,
  /** Either: the sender's items are complete; id. From the handler of a method without output it ends the call. */
  end: 20,
  /** Either: the sender takes that many more bytes of items (16 for each header included); id, value: bytes. */
  credit: 21,
  /** Either: the sender reads no more items; whoever sends them answers with end. */
  stop: 22,
  /** Caller: wants the call no more; id, value: 3 cancelled or 4 deadline_exceeded. The handler still ends it. */
  cancel: 23,

  /** Either: wants a pong with the same value. */
  ping: 32,
  pong: 33,
  /**
   * Either, once: the sender begins no more calls, and takes none that is begun after this was seen (a ping follows, and
   * its pong tells); what is open is finished, then `close` follows.
   */
  drain: 34,
  /** Either, last frame of its sender; value: number of the reason; body: a message of at most 256 bytes. */
  close: 35,
} as const;

/** Name of a kind. */
export type FrameKind = keyof typeof FRAME_KINDS;

/** Longest body of a frame before the connection is accepted. */
export const MAX_HANDSHAKE_BODY_BYTES = 512;
/** Longest message of `error`, in bytes of UTF-8. */
export const MAX_MESSAGE_BYTES = 1024;

/** One frame as received. `body` lies in the receive buffer: it is valid only until the reader is asked for more. */
export interface Frame {
  readonly kind: number;
  readonly method: number;
  readonly id: number;
  readonly value: number;
  readonly body: Uint8Array<ArrayBuffer>;
}

/** Length of a body with the zeros behind it. */
export function paddedBytes(bodyBytes: number): number {
  return Math.ceil(bodyBytes / FRAME_ALIGNMENT_BYTES) * FRAME_ALIGNMENT_BYTES;
}

/** What arrived is no frame, or one that is not allowed; the connection is closed with that reason. */
export class FrameError extends Error {
  /** What the other side is told. */
  readonly reason: "malformed" | "too_large";

  /** Makes one. */
  constructor(reason: "malformed" | "too_large", message: string) {
    super(message);
    this.name = "FrameError";
    this.reason = reason;
  }
}

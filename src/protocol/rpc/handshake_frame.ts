/** Frames as a handshake uses them, and how it is refused. */
import { decodeClose, encodeClose } from "./error_body.ts";
import type { CloseReason } from "./errors.ts";
import {
  FLAGS_BYTES,
  type Frame,
  FRAME_KINDS,
  FrameError,
  HEADER_BYTES,
  ID_BYTES,
  KIND_BYTES,
  LENGTH_BYTES,
  METHOD_BYTES,
  paddedBytes,
} from "./frame.ts";

const KIND_AT = LENGTH_BYTES,
  VALUE_AT = KIND_AT + KIND_BYTES + FLAGS_BYTES + METHOD_BYTES + ID_BYTES;

/** Kinds of frame that a handshake knows. */
export const HANDSHAKE_KINDS: readonly number[] = [
  FRAME_KINDS.hello,
  FRAME_KINDS.proof,
  FRAME_KINDS.accept,
  FRAME_KINDS.close,
];

/** Why a handshake is refused, as a `close` frame can say it. */
export type RefusalReason = Exclude<CloseReason, "lost" | "aborted">;

/** What may be said of a refusal besides its reason and message. */
export interface RefusalOptions extends ErrorOptions {
  /** Which side refuses. @default "here" */
  readonly by?: "here" | "there";
  /** What the other side is told besides the reason. @default the message */
  readonly told?: string;
}

/** Ends a handshake. */
export class HandshakeRefusal extends Error {
  /** Why. */
  readonly reason: RefusalReason;
  /** Which side refuses. */
  readonly by: "here" | "there";
  /** What the other side is told besides the reason; empty where that is no business of a stranger. */
  readonly told: string;

  /** Makes one. */
  constructor(reason: RefusalReason, message: string, options: RefusalOptions = {}) {
    super(message, options);
    this.name = "HandshakeRefusal";
    this.reason = reason;
    this.by = options.by ?? "here";
    this.told = options.told ?? message;
  }
}

/** What arrived is no part of a handshake. */
export function malformed(found: string): HandshakeRefusal {
  return new HandshakeRefusal("handshake_malformed", found);
}

/** Writes a frame; `value` is the number of the reason in a `close`, and 0 in every other. */
export function encodeHandshakeFrame(kind: number, body: Uint8Array, value = 0): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(HEADER_BYTES + paddedBytes(body.length));
  const view = new DataView(bytes.buffer);
  view.setUint32(0, body.length);
  view.setUint8(KIND_AT, kind);
  view.setUint32(VALUE_AT, value);
  bytes.set(body, HEADER_BYTES);
  return bytes;
}

/** Writes the frame that tells the other side of a refusal. */
export function encodeRefusal(reason: RefusalReason, text: string): Uint8Array<ArrayBuffer> {
  const { value, body } = encodeClose(reason, text);
  return encodeHandshakeFrame(FRAME_KINDS.close, body, value);
}

/** The refusal that a `close` frame of the other side tells of; of another kind if it is none. */
export function refusalOf({ value, body }: Frame): HandshakeRefusal {
  try {
    const { reason, message } = decodeClose(value, body);
    if (reason === "lost" || reason === "aborted") {
      return malformed(`found a close frame that says ${reason}`);
    }
    const text = message === "" ? "" : `, ${message}`;
    return new HandshakeRefusal(reason, `the other side refused: ${reason}${text}`, { by: "there" });
  } catch (error) {
    if (error instanceof FrameError) return malformed(error.message);
    throw error;
  }
}

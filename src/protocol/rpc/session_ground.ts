/** What both halves of a session, calls of ours and calls of theirs, stand on. */
import type { Codec } from "./codec.ts";
import { CodecError } from "./codec.ts";
import type { Deadlines } from "./deadlines.ts";
import { ConnectionError, RpcError } from "./errors.ts";
import { type Frame, FrameError } from "./frame.ts";
import type { FrameSink } from "./frame_sink.ts";
import type { HeldBody } from "./held_body.ts";
import type { Limits, ToldLimits } from "./limits.ts";
import type { Timers } from "./timers.ts";

/** Shared by everything of one connection. */
export interface SessionGround {
  readonly codec: Codec;
  readonly sink: FrameSink;
  readonly limits: Limits;
  readonly told: ToldLimits;
  readonly timers: Timers;
  readonly deadlines: Deadlines;
  /** Holds the body of the frame being looked at. */
  readonly hold: () => HeldBody;
  /** A call has ended, or what it left behind. */
  readonly changed: () => void;
}

/**
 * Queues a frame with a value of the program's.
 *
 * @returns bytes of its body
 * @throws {RpcError} "unencodable" if the codec has no form for it, or the other side takes nothing so long
 */
export function sendValue(
  ground: SessionGround,
  kind: number,
  method: number,
  id: number,
  number: number,
  value: unknown,
): number {
  try {
    return ground.sink.add(kind, method, id, number, ground.codec.encode(value));
  } catch (cause) {
    const why = cause instanceof CodecError || cause instanceof FrameError
      ? cause.message
      : "cannot send a value: the codec failed";
    throw new RpcError("unencodable", why, { cause });
  }
}

/**
 * The value of a body that stays the program's.
 *
 * @throws {ConnectionError} "undecodable"
 */
export function ownValue(ground: SessionGround, frame: Frame): unknown {
  return decoded(ground.codec, ground.codec.views ? ground.hold().keep() : frame.body);
}

/**
 * The value of a body.
 *
 * @throws {ConnectionError} "undecodable"
 */
export function decoded(codec: Codec, body: Uint8Array<ArrayBuffer>): unknown {
  try {
    return codec.decode(body);
  } catch (cause) {
    const why = cause instanceof CodecError ? cause.message : "the codec failed";
    throw new ConnectionError("undecodable", "here", `cannot read a body: ${why}`, { cause });
  }
}

/** The refusal of a frame that this side's bookkeeping does not allow. */
export function malformed(what: string): ConnectionError {
  return new ConnectionError("malformed", "here", `cannot take a frame: ${what}`);
}

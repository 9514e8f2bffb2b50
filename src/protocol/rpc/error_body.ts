/**
 * Bodies of `error` and `close` frames: the message in UTF-8, cut where it is too long. For the code "application" the reason and a line feed
 * come first; a reason holds no line feed, so the first one ends it. See docs/wire-formats.md.
 *
 * The code or the reason of the closing is the number in `value`.
 */
import {
  ApplicationError,
  CALL_ERROR_NUMBERS,
  type CallErrorCode,
  CLOSE_REASON_NUMBERS,
  type CloseReason,
  ConnectionError,
  RpcError,
} from "./errors.ts";
import { FrameError, MAX_MESSAGE_BYTES } from "./frame.ts";
import { MAX_CLOSE_BODY_BYTES } from "./frame_rules.ts";

/** Number and body of a frame that tells of a failure. */
export interface FailureFrame {
  readonly value: number;
  readonly body: Uint8Array<ArrayBuffer>;
}

const LINE_FEED = 0x0a;
const encoder = new TextEncoder();
const strictDecoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * Control characters, line and paragraph separators, and those that are not seen but change how the rest is; without
 * the two joiners, which scripts and emoji are written with.
 */
const UNPRINTABLE = /(?![\u200c\u200d])[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu;

const CODES = namesByNumber<CallErrorCode>(CALL_ERROR_NUMBERS);
const REASONS = namesByNumber<CloseReason>(CLOSE_REASON_NUMBERS);

function namesByNumber<Name extends string>(numbers: Readonly<Record<string, number>>): Map<number, Name> {
  return new Map(Object.entries(numbers).map(([name, number]) => [number, name as Name]));
}

/** As much of a text as fits, cut between two characters. */
function cut(text: string, maxBytes: number): Uint8Array<ArrayBuffer> {
  const buffer = new Uint8Array(maxBytes);
  return buffer.slice(0, encoder.encodeInto(text, buffer).written);
}

/**
 * What an `error` frame says of an error. "disconnected" is a matter of the connection that it happened on; the
 * caller on another one is told "internal", or it would believe its own was gone.
 */
export function encodeCallError(error: RpcError): FailureFrame {
  if (error instanceof ApplicationError) {
    const head = encoder.encode(`${error.reason}\n`), message = cut(error.message, MAX_MESSAGE_BYTES);
    const body = new Uint8Array(head.length + message.length);
    body.set(head);
    body.set(message, head.length);
    return { value: CALL_ERROR_NUMBERS.application, body };
  }
  // "application" without a reason, or a code that is none, is possible for an RpcError made by hand, and could not
  // be read.
  const travels = Object.hasOwn(CALL_ERROR_NUMBERS, error.code) && error.code !== "disconnected" &&
    error.code !== "application";
  const told = travels ? error.code : "internal";
  return { value: CALL_ERROR_NUMBERS[told], body: cut(error.message, MAX_MESSAGE_BYTES) };
}

/**
 * The error that an `error` frame tells of.
 *
 * @throws {FrameError} if the number is of no code that travels, or the body is not of the form
 */
export function decodeCallError(value: number, body: Uint8Array<ArrayBuffer>): RpcError {
  const code = CODES.get(value);
  if (code === undefined || code === "disconnected") {
    throw new FrameError(
      "malformed",
      `cannot read an error frame: its number ${value} is no code that travels`,
    );
  }
  if (code !== "application") {
    return new RpcError(code, decodeMessage(body, MAX_MESSAGE_BYTES));
  }
  const reasonBytes = Math.max(0, body.indexOf(LINE_FEED));
  const reason = decodeMessage(body.subarray(0, reasonBytes), MAX_MESSAGE_BYTES);
  const message = decodeMessage(body.subarray(reasonBytes + 1), MAX_MESSAGE_BYTES);
  try {
    return new ApplicationError(reason, message);
  } catch (cause) {
    if (!(cause instanceof TypeError)) {
      throw cause;
    }
    throw new FrameError(
      "malformed",
      "cannot read an error frame: it has no reason of the form of an application's",
    );
  }
}

/** What a `close` frame says; reasons that only this side knows ("lost", "aborted") are told as "normal". */
export function encodeClose(reason: CloseReason, message: string): FailureFrame {
  const told = reason === "lost" || reason === "aborted" ? "normal" : reason;
  return { value: CLOSE_REASON_NUMBERS[told], body: cut(message, MAX_CLOSE_BODY_BYTES) };
}

/**
 * What a `close` frame tells.
 *
 * @throws {FrameError} if the number is of no reason, or the body is not of the form
 */
export function decodeClose(value: number, body: Uint8Array<ArrayBuffer>): ConnectionError {
  const reason = REASONS.get(value);
  if (reason === undefined) {
    throw new FrameError("malformed", `cannot read a close frame: its number ${value} is no reason`);
  }
  return new ConnectionError(reason, "there", decodeMessage(body, MAX_CLOSE_BODY_BYTES));
}

/** With "?" for what cannot be printed: a stranger's text goes into a log or onto a terminal. */
function decodeMessage(body: Uint8Array<ArrayBuffer>, maxBytes: number): string {
  if (body.length > maxBytes) {
    throw new FrameError(
      "malformed",
      `cannot read a message of ${body.length} bytes: it wants at most ${maxBytes}`,
    );
  }
  try {
    return strictDecoder.decode(body).replace(UNPRINTABLE, "?");
  } catch {
    throw new FrameError("malformed", "cannot read a message: it is not UTF-8");
  }
}

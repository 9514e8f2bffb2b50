/**
 * Everything that can go wrong with a call or a connection, by code. The number of a code is what the wire carries,
 * see docs/wire-formats.md; a number is never used again for something else.
 */

/** Why a call failed, by the number that an `error` frame carries. */
export const CALL_ERROR_NUMBERS = {
  /** The handler refused, with a code and a message of the application's own: always an `ApplicationError`. */
  application: 1,
  /** The handler failed in a way it did not name; what it threw stays on its side. */
  internal: 2,
  /** The caller gave up. */
  cancelled: 3,
  /** The time that the caller allowed is over. */
  deadline_exceeded: 4,
  /** The other side does not serve this method. */
  unimplemented: 5,
  /** The input, an item or the output does not have the form that the contract demands. */
  invalid_argument: 6,
  /** The value cannot be written by the codec, or is longer than the other side takes. */
  unencodable: 7,
  /** The other side is closing and takes no more calls, or there is no connection. The call was not begun. */
  unavailable: 8,
  /** Too many calls are open or waiting. The call was not begun. */
  exhausted: 9,
  /** The connection went while the call was open: it may have run or not. */
  disconnected: 10,
} as const;

/** Why a call failed. */
export type CallErrorCode = keyof typeof CALL_ERROR_NUMBERS;

/** Why a connection was closed, by the number that a `close` frame carries. */
export const CLOSE_REASON_NUMBERS = {
  /** Everything was finished, or the program is ending. */
  normal: 0,
  /** What arrived is no frame: unknown kind, flags or method, an id out of order, padding that is not zero. */
  malformed: 1,
  /** A body is longer than this side takes. */
  too_large: 2,
  /** A body that the codec cannot read. */
  undecodable: 3,
  /** More open calls or more bytes on a stream than this side has allowed. */
  limit_exceeded: 4,
  /** No sign of life in time. */
  silent: 5,
  /** Open calls did not finish in the time for closing. */
  drain_timeout: 6,
  /** The bytes were changed on the way. */
  tampered: 7,
  /** Something failed on this side that is nobody else's fault. */
  internal: 8,

  /** The other side speaks another version of this protocol. */
  protocol_version: 32,
  /** The other side wants another kind of handshake. */
  handshake_mismatch: 33,
  /** The other side has the same role; also what a reflected hello shows. */
  role_mismatch: 34,
  codec_mismatch: 35,
  contract_mismatch: 36,
  service_mismatch: 37,
  /** The application's own version differs. */
  application_version: 38,
  /** The proof is not that of the secret for this connection. */
  authentication_failed: 39,
  /** The handshake was not finished in time. */
  handshake_timeout: 40,
  /** What arrived is no part of a handshake. */
  handshake_malformed: 41,
  /** Another peer has the one place there is. */
  taken: 42,
  /** Too many connections, or too many unfinished handshakes. */
  too_many_connections: 43,
  /** The process at the other end is not one whose executable is signed. */
  process_not_signed: 44,
} as const;

/** Why a connection was closed. */
export type CloseReason = keyof typeof CLOSE_REASON_NUMBERS | "lost" | "aborted";

/** A call failed. */
export class RpcError extends Error {
  /** Why, for programs. */
  readonly code: CallErrorCode;

  /**
   * Makes one; thrown by a handler, its code and message reach the caller. So does one that a call of the handler's own
   * failed with: a handler that does not want its "unavailable" to be taken for that of this call catches it.
   */
  constructor(code: CallErrorCode, message: string, options: ErrorOptions = {}) {
    super(message, options);
    this.name = "RpcError";
    this.code = code;
  }
}

/**
 * A refusal in the application's own words. A handler throws it, and the caller gets one with the same reason and
 * message, with "?" for control characters, line breaks included. Anything else a handler throws, `RpcError` aside,
 * becomes "internal" without a word of what it was.
 */
export class ApplicationError extends RpcError {
  /** The application's own code: 1 to 64 characters out of `A-Z a-z 0-9 _ . -`. */
  readonly reason: string;

  /**
   * Makes one.
   *
   * @throws {TypeError} if the reason is not of that form
   */
  constructor(reason: string, message: string, options: ErrorOptions = {}) {
    if (!/^[A-Za-z0-9_.-]{1,64}$/.test(reason)) {
      throw new TypeError("cannot make an error: its reason wants 1 to 64 characters of A-Z a-z 0-9 _ . -");
    }
    super("application", message, options);
    this.name = "ApplicationError";
    this.reason = reason;
  }
}

/** A connection was refused or closed. */
export class ConnectionError extends Error {
  /** Why, for programs. "lost": the transport ended without a word; "aborted": closed here, by this program. */
  readonly reason: CloseReason;
  /** Which side closed it. */
  readonly by: "here" | "there";

  /** Makes one. */
  constructor(reason: CloseReason, by: "here" | "there", message: string, options: ErrorOptions = {}) {
    super(message, options);
    this.name = "ConnectionError";
    this.reason = reason;
    this.by = by;
  }
}

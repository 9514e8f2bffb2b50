/**
 * How values become bodies of frames. Both sides of a connection use the same codec; its id is part of the hello.
 */

/** What a codec makes of a value: text (written as UTF-8), bytes, or several runs of bytes, one behind the other. */
export type EncodedBody = string | Uint8Array | readonly Uint8Array[];

/**
 * Bytes of this length and above are long: they are not copied on their way to the connection, so they must not be
 * changed until they are written.
 */
export const LONG_BODY_BYTES = 16 * 1024;

/** Arrays and objects inside one another that the codecs here write and read, at most. */
export const MAX_DEPTH = 64;

/** A codec; one object serves any number of connections. */
export interface Codec {
  /** Name on the wire: 1 to 16 characters out of `a-z 0-9 - .`. */
  readonly id: string;
  /**
   * Whether decoded values may point into the body they came from. Where they do, the body stays untouched until the
   * handler has settled and is detached then: a view kept beyond that is empty, never other bytes. Where the call
   * failed, or its caller waits no more, it stays what it was. Whatever goes on reading the memory below JavaScript,
   * such as a write to a file, is waited for before the handler answers: it would find the bytes of another call. What
   * a connection of this library is still sending stays as it is. Outputs and items are the program's for ever, or until it gives them back.
   */
  readonly views: boolean;
  /**
   * Makes a body of a value, `undefined` included. Bytes given back may belong to the value or to the codec: runs
   * shorter than `LONG_BODY_BYTES` are copied before the next call of `encode`, longer ones may not be copied and so
   * must not be changed until the call has settled.
   *
   * @throws {CodecError} if the codec has no form for the value
   */
  encode(value: unknown): EncodedBody;
  /**
   * Makes a value of a body, which begins at a multiple of 8 bytes.
   *
   * @throws {CodecError} for any bytes that are not of its format, too deep ones included; nothing else
   */
  decode(body: Uint8Array<ArrayBuffer>): unknown;
}

/** A value that cannot be encoded, or bytes that cannot be decoded. */
export class CodecError extends Error {
  /** Makes one; the message never repeats the value. */
  constructor(message: string, options: ErrorOptions = {}) {
    super(message, options);
    this.name = "CodecError";
  }
}

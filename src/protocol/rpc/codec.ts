/**
 * How values become bodies of frames. Both sides of a connection use the same codec; its id is part of the hello.
 */

/** What a codec makes of a value: text (written as UTF-8), bytes, or several runs of bytes, one behind the other. */
export type EncodedBody = string | Uint8Array | readonly Uint8Array[];

/** A codec; one object serves any number of connections. */
export interface Codec {
  /** Name on the wire: 1 to 16 characters out of `a-z 0-9 - .`. */
  readonly id: string;
  /**
   * Whether decoded values may point into the body they came from. Where they do, the body stays untouched until the
   * handler has settled and is detached then: a view kept beyond that is empty, never other bytes.
   */
  readonly views: boolean;
  /**
   * Makes a body of a value, `undefined` included. Bytes given back may belong to the value or to the codec: they
   * are copied or written out before the next call of `encode` where they are short, and must not be changed by
   * the program until the call has settled where they are long.
   *
   * @throws {CodecError} if the codec has no form for the value
   */
  encode(value: unknown): EncodedBody;
  /**
   * Makes a value of a body, which begins at a multiple of 8 bytes.
   *
   * @throws {CodecError} for any bytes that `encode` would not make, too deep or too large ones included; nothing else
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

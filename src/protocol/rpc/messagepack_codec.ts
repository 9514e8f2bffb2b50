/**
 * The codec "messagepack" (https://github.com/msgpack/msgpack/blob/master/spec.md). Binary data is copied out of the
 * body; `undefined` at the top is the empty body.
 *
 * | TypeScript | on the wire |
 * | --- | --- |
 * | null | nil |
 * | whole number of -2^31 to 2^32 - 1 | int of 8, 16 or 32 bits, the shortest |
 * | any other number | float 64; float 32 is read too |
 * | bigint of -2^63 to 2^64 - 1 | int 64 below zero, else uint 64 |
 * | string, Uint8Array, array | str, bin, array |
 * | object without a class | map; properties that are undefined are left out |
 * | Date | timestamp, extension -1 |
 *
 * Nothing else has a form, and no other extension is read.
 */
import { type Codec, CodecError, type EncodedBody, LONG_BODY_BYTES } from "./codec.ts";
import { MessagePackReader } from "./messagepack_reader.ts";
import { MessagePackWriter } from "./messagepack_writer.ts";

/** The codec "messagepack". */
export const messagePack: Codec = { id: "messagepack", views: false, encode, decode };

/** Gives the codec "messagepack". */
export function messagePackCodec(): Codec {
  return messagePack;
}

/**
 * The same for a peer whose writer copies every item it may send (`FrameWriterOptions.blockBytes`): long bytes that are
 * a whole value are not copied here as well.
 */
export const messagePackOfCopied: Codec = { ...messagePack, encode: encodeToBeCopied };

function encodeToBeCopied(value: unknown): EncodedBody {
  if (!(value instanceof Uint8Array) || value.length < LONG_BODY_BYTES) return encode(value);
  const isShort = value.length <= 0xffff, head = new DataView(new ArrayBuffer(isShort ? 3 : 5));
  head.setUint8(0, isShort ? 0xc5 : 0xc6);
  if (isShort) head.setUint16(1, value.length);
  else head.setUint32(1, value.length);
  return [new Uint8Array(head.buffer), value];
}

/** Memory for the next value; null while one is being written, as a getter may write another. */
let spare: Uint8Array<ArrayBuffer> | null = null;

function encode(value: unknown): EncodedBody {
  if (value === undefined) return "";
  const writer = new MessagePackWriter(spare ?? new Uint8Array(LONG_BODY_BYTES));
  spare = null;
  try {
    writer.value(value, 0);
  } catch (cause) {
    if (cause instanceof CodecError) throw cause;
    throw new CodecError("cannot write a value as MessagePack: a property of it cannot be read", { cause });
  }
  const bytes = writer.written();
  // What is long is not copied by whoever gets it.
  if (bytes.length < LONG_BODY_BYTES) spare = new Uint8Array(bytes.buffer);
  return bytes;
}

function decode(body: Uint8Array<ArrayBuffer>): unknown {
  if (body.length === 0) return undefined;
  const reader = new MessagePackReader(body);
  const value = reader.value(0);
  reader.requireEnd();
  return value;
}

/**
 * The codec "view": bytes and typed arrays without a copy, see docs/wire-formats.md. A value is one field, or a flat
 * record of named fields; a field is null, a boolean, a number, a bigint of 64 bits, a string or a typed array.
 *
 *   body:  nothing (undefined) | one field without a name (a value) | fields with names (a record)
 *   field: | type u8 | name length u8 | 0 u16 | data length u32 | name | zeros | data | zeros |
 *
 * Name and data are filled up with zeros to a multiple of 8 bytes, so that each array lies where its elements can be
 * read. Everything is big-endian but the elements, which are little-endian as in the machine's memory.
 */
import { type Codec, CodecError, type EncodedBody } from "./codec.ts";
import { type FieldValue, ViewReader } from "./view_reader.ts";
import { ViewWriter } from "./view_writer.ts";

/** What the codec can write. */
export type ViewValue = undefined | FieldValue | { readonly [name: string]: FieldValue };

/** The codec "view". */
export const view: Codec = { id: "view", views: true, encode, decode };

/** Gives the codec "view". */
export function viewCodec(): Codec {
  return view;
}

function encode(value: unknown): EncodedBody {
  requireLittleEndian();
  const writer = new ViewWriter();
  if (value === undefined) return "";
  if (typeof value !== "object" || value === null || ArrayBuffer.isView(value)) {
    writer.field("", value);
    return writer.parts();
  }
  const prototype = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) {
    throw new CodecError(
      "cannot write a view: found an object of a class, accepted are typed arrays and plain records",
    );
  }
  const entries = Object.entries(value).filter((entry) => entry[1] !== undefined);
  if (entries.length === 0) writer.emptyRecord();
  for (const [name, field] of entries) writer.namedField(name, field);
  return writer.parts();
}

function decode(body: Uint8Array<ArrayBuffer>): unknown {
  requireLittleEndian();
  return body.length === 0 ? undefined : new ViewReader(body).value();
}

/** Every machine that runs a browser or Deno is; on another one the arrays would have to be copied. */
function requireLittleEndian(): void {
  if (!IS_LITTLE_ENDIAN) {
    throw new CodecError('cannot use the codec "view": this machine is not little-endian');
  }
}

const IS_LITTLE_ENDIAN = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;

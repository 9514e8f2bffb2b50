/** Fields of the codec "view" to bytes; see view_codec.ts. */
import { CodecError, LONG_BODY_BYTES } from "./codec.ts";
import { FRAME_ALIGNMENT_BYTES, paddedBytes } from "./frame.ts";
import { writeText } from "./utf8.ts";
import { ARRAY_TYPES, FIELD_HEAD_BYTES, isFieldName, MAX_FIELDS, VIEW_TYPES } from "./view_format.ts";

const UTF8_BYTES_PER_UNIT = 3;
const NUMBER_BYTES = 8;
const MIN_INT64 = -(2n ** 63n), MAX_UINT64 = 2n ** 64n - 1n;

/** What small values are written into; whoever gets a part of it copies it before the next value is written. */
const scratch = new Uint8Array(LONG_BODY_BYTES - 1 - (LONG_BODY_BYTES - 1) % FRAME_ALIGNMENT_BYTES);
const scratchView = new DataView(scratch.buffer);

/** Writes the fields of one value. Long arrays stay where they are. */
export class ViewWriter {
  readonly #parts: Uint8Array[] = [];
  #memory: Uint8Array<ArrayBuffer> = scratch;
  #view: DataView = scratchView;
  /** `#begin` to `#at` of the memory is the part that is not finished. */
  #begin = 0;
  #at = 0;
  #fields = 0;

  /** What was written, in order. */
  parts(): readonly Uint8Array[] {
    this.#finishPart();
    return this.#parts;
  }

  /** Writes a record without fields. */
  emptyRecord(): void {
    this.#head(VIEW_TYPES.empty_record, "", 0);
  }

  /** @throws {CodecError} if the name is none, there are too many, or the value has no form */
  namedField(name: string, value: unknown): void {
    if (!isFieldName(name)) {
      throw new CodecError(
        "cannot write a view: found a field whose name is no identifier of at most 64 ASCII characters",
      );
    }
    if (++this.#fields > MAX_FIELDS) {
      throw new CodecError(`cannot write a view: found more than ${MAX_FIELDS} fields`);
    }
    this.field(name, value);
  }

  /** @throws {CodecError} if the value has no form */
  field(name: string, value: unknown): void {
    switch (typeof value) {
      case "boolean":
        return this.#head(value ? VIEW_TYPES.true : VIEW_TYPES.false, name, 0);
      case "number":
        this.#head(VIEW_TYPES.number, name, NUMBER_BYTES);
        // One spelling of NaN.
        this.#view.setFloat64(this.#at, Number.isNaN(value) ? NaN : value);
        this.#at += NUMBER_BYTES;
        return;
      case "bigint":
        return this.#bigint(name, value);
      case "string":
        return this.#text(name, value);
      default:
        if (value === null) return this.#head(VIEW_TYPES.null, name, 0);
        if (ArrayBuffer.isView(value)) return this.#array(name, value);
        throw new CodecError(`cannot write a view: found a ${typeof value} where a field is expected`);
    }
  }

  #bigint(name: string, value: bigint): void {
    if (value < MIN_INT64 || value > MAX_UINT64) {
      throw new CodecError("cannot write a view: found a bigint of more than 64 bits");
    }
    this.#head(value < 0n ? VIEW_TYPES.int64 : VIEW_TYPES.uint64, name, NUMBER_BYTES);
    this.#view.setBigUint64(this.#at, value);
    this.#at += NUMBER_BYTES;
  }

  #text(name: string, text: string): void {
    if (text.length * UTF8_BYTES_PER_UNIT < scratch.length / 2) {
      this.#reserve(
        FIELD_HEAD_BYTES + paddedBytes(name.length) + text.length * UTF8_BYTES_PER_UNIT +
          FRAME_ALIGNMENT_BYTES,
      );
      const textAt = this.#at + FIELD_HEAD_BYTES + paddedBytes(name.length);
      const bytes = writeText(text, this.#memory, textAt);
      this.#head(VIEW_TYPES.text, name, bytes);
      this.#at += bytes;
      this.#pad(bytes);
    } else {
      this.#data(VIEW_TYPES.text, name, new TextEncoder().encode(text));
    }
  }

  #array(name: string, array: ArrayBufferView): void {
    const type = ARRAY_TYPES[Object.prototype.toString.call(array).slice("[object ".length, -1)];
    if (type === undefined) {
      throw new CodecError("cannot write a view: found a DataView, accepted are typed arrays");
    }
    const { buffer } = array;
    if (buffer instanceof ArrayBuffer && buffer.detached) {
      throw new CodecError("cannot write a view: found an array whose memory was given away or released");
    }
    let bytes = new Uint8Array(buffer, array.byteOffset, array.byteLength);
    // Others could change shared memory, and the program resize its own, while it is being written.
    if (!(buffer instanceof ArrayBuffer) || buffer.resizable) bytes = new Uint8Array(bytes);
    this.#data(type.number, name, bytes);
  }

  #data(type: number, name: string, data: Uint8Array): void {
    this.#head(type, name, data.length);
    if (data.length < scratch.length / 2) {
      this.#reserve(data.length + FRAME_ALIGNMENT_BYTES);
      this.#memory.set(data, this.#at);
      this.#at += data.length;
    } else {
      this.#finishPart();
      this.#parts.push(data);
    }
    this.#pad(data.length);
  }

  #head(type: number, name: string, dataBytes: number): void {
    this.#reserve(FIELD_HEAD_BYTES + paddedBytes(name.length) + NUMBER_BYTES);
    this.#view.setUint32(this.#at, type << 24 | name.length << 16);
    this.#view.setUint32(this.#at + 4, dataBytes);
    this.#at += FIELD_HEAD_BYTES;
    writeText(name, this.#memory, this.#at);
    this.#at += name.length;
    this.#pad(name.length);
  }

  #pad(bytes: number): void {
    for (let left = paddedBytes(bytes) - bytes; left > 0; left--) {
      this.#reserve(1);
      this.#memory[this.#at++] = 0;
    }
  }

  /** Other memory is taken where that in use does not suffice; parts of both stay valid. */
  #reserve(bytes: number): void {
    if (this.#at + bytes <= this.#memory.length) return;
    this.#finishPart();
    this.#memory = new Uint8Array(scratch.length);
    this.#view = new DataView(this.#memory.buffer);
    this.#begin = this.#at = 0;
  }

  #finishPart(): void {
    if (this.#at > this.#begin) this.#parts.push(this.#memory.subarray(this.#begin, this.#at));
    this.#begin = this.#at;
  }
}

/** Bytes to fields of the codec "view"; see view_codec.ts. */
import { CodecError } from "./codec.ts";
import { paddedBytes } from "./frame.ts";
import { readText } from "./utf8.ts";
import {
  ARRAY_TYPE_NUMBERS,
  FIELD_HEAD_BYTES,
  isFieldName,
  MAX_FIELDS,
  type TypedArray,
  VIEW_TYPES,
} from "./view_format.ts";

const NUMBER_BYTES = 8;
const NAN_BITS = 0x7ff8000000000000n;

/** What a field holds. */
export type FieldValue = null | boolean | number | bigint | string | TypedArray;

interface Field {
  readonly name: string;
  readonly value: FieldValue;
}

/** Reads one value; its arrays lie in the body. */
export class ViewReader {
  readonly #body: Uint8Array<ArrayBuffer>;
  readonly #view: DataView;
  #at = 0;

  /** @param body at least one byte, at a multiple of 8 bytes in its buffer */
  constructor(body: Uint8Array<ArrayBuffer>) {
    this.#body = body;
    this.#view = new DataView(body.buffer, body.byteOffset, body.length);
  }

  /** @throws {CodecError} if the body is no value */
  value(): FieldValue | Record<string, FieldValue> {
    if (this.#body[0] === VIEW_TYPES.empty_record) return this.#emptyRecord();
    const first = this.#field();
    if (first.name === "") {
      if (this.#at < this.#body.length) throw refused("something behind the only field");
      return first.value;
    }
    const record: Record<string, FieldValue> = { [first.name]: first.value };
    for (let fields = 1; this.#at < this.#body.length; fields++) {
      const { name, value } = this.#field();
      if (fields === MAX_FIELDS) throw refused(`more than ${MAX_FIELDS} fields`);
      if (name === "" || Object.hasOwn(record, name)) {
        throw refused("a field without a name, or two of one name");
      }
      record[name] = value;
    }
    return record;
  }

  #emptyRecord(): Record<string, never> {
    const isOnlyType = this.#body.length === FIELD_HEAD_BYTES &&
      this.#body.subarray(1).every((byte) => byte === 0);
    if (!isOnlyType) throw refused("a record without fields that has more than that");
    return {};
  }

  #field(): Field {
    const at = this.#take(FIELD_HEAD_BYTES);
    const type = this.#view.getUint8(at), nameBytes = this.#view.getUint8(at + 1);
    const dataBytes = this.#view.getUint32(at + 4);
    if (this.#view.getUint16(at + 2) !== 0) throw refused("a head with bytes that must be zero");
    const nameAt = this.#takePadded(nameBytes);
    const name = nameBytes === 0 ? "" : asText(this.#body.subarray(nameAt, nameAt + nameBytes));
    if (nameBytes > 0 && !isFieldName(name)) throw refused("a name that is no identifier");
    const dataAt = this.#takePadded(dataBytes);
    return { name, value: this.#data(type, dataAt, dataBytes) };
  }

  #data(type: number, at: number, bytes: number): FieldValue {
    const array = ARRAY_TYPE_NUMBERS.get(type);
    if (array !== undefined) {
      if (bytes % array.elementBytes !== 0) throw refused("an array that ends within an element");
      return array.make(this.#body.buffer, this.#body.byteOffset + at, bytes / array.elementBytes);
    }
    if (type === VIEW_TYPES.text) return asText(this.#body.subarray(at, at + bytes));
    const isNumber = type >= VIEW_TYPES.number && type <= VIEW_TYPES.int64;
    if (bytes !== (isNumber ? NUMBER_BYTES : 0)) throw refused("data of another length than its type has");
    switch (type) {
      case VIEW_TYPES.null:
        return null;
      case VIEW_TYPES.false:
        return false;
      case VIEW_TYPES.true:
        return true;
      case VIEW_TYPES.number:
        return this.#number(at);
      case VIEW_TYPES.uint64:
        return this.#view.getBigUint64(at);
      case VIEW_TYPES.int64:
        return this.#negative(at);
      default:
        throw refused(`a field of type ${type}`);
    }
  }

  #number(at: number): number {
    const value = this.#view.getFloat64(at);
    if (Number.isNaN(value) && this.#view.getBigUint64(at) !== NAN_BITS) {
      throw refused("another spelling of NaN");
    }
    return value;
  }

  #negative(at: number): bigint {
    const value = this.#view.getBigInt64(at);
    if (value >= 0n) throw refused("a number that is not below zero where one is expected");
    return value;
  }

  #takePadded(bytes: number): number {
    const at = this.#take(paddedBytes(bytes));
    for (let i = at + bytes; i < this.#at; i++) {
      if (this.#body[i] !== 0) throw refused("padding that is not zero");
    }
    return at;
  }

  #take(bytes: number): number {
    const at = this.#at;
    if (bytes > this.#body.length - at) throw refused("an end within a field");
    this.#at = at + bytes;
    return at;
  }
}

function asText(bytes: Uint8Array): string {
  try {
    return readText(bytes);
  } catch {
    throw refused("a text that is no UTF-8");
  }
}

function refused(found: string): CodecError {
  return new CodecError(`cannot read a view: found ${found}`);
}

/** Numbers and limits of the codec "view"; see docs/wire-formats.md. */

/** Types of a field; those of typed arrays are in `ARRAY_TYPES`. */
export const VIEW_TYPES = {
  null: 0,
  false: 1,
  true: 2,
  /** 8 bytes, IEEE 754. */
  number: 3,
  /** 8 bytes; zero and above. */
  uint64: 4,
  /** 8 bytes; below zero. */
  int64: 5,
  /** UTF-8. */
  text: 6,
  /** A record without fields; has neither name nor data. */
  empty_record: 7,
} as const;

/** A typed array that lies on memory of its own. */
export type TypedArray =
  | Uint8Array<ArrayBuffer>
  | Uint8ClampedArray<ArrayBuffer>
  | Int8Array<ArrayBuffer>
  | Uint16Array<ArrayBuffer>
  | Int16Array<ArrayBuffer>
  | Uint32Array<ArrayBuffer>
  | Int32Array<ArrayBuffer>
  | BigUint64Array<ArrayBuffer>
  | BigInt64Array<ArrayBuffer>
  | Float16Array<ArrayBuffer>
  | Float32Array<ArrayBuffer>
  | Float64Array<ArrayBuffer>;

/** Makes a typed array on a part of a buffer. */
export interface ArrayType {
  readonly number: number;
  readonly elementBytes: number;
  readonly make: (buffer: ArrayBuffer, byteOffset: number, length: number) => TypedArray;
}

/** By the name of the class, as `Symbol.toStringTag` of an array says it. */
export const ARRAY_TYPES: Readonly<Record<string, ArrayType>> = {
  Uint8Array: { number: 16, elementBytes: 1, make: (...on) => new Uint8Array(...on) },
  Uint8ClampedArray: { number: 17, elementBytes: 1, make: (...on) => new Uint8ClampedArray(...on) },
  Int8Array: { number: 18, elementBytes: 1, make: (...on) => new Int8Array(...on) },
  Uint16Array: { number: 19, elementBytes: 2, make: (...on) => new Uint16Array(...on) },
  Int16Array: { number: 20, elementBytes: 2, make: (...on) => new Int16Array(...on) },
  Uint32Array: { number: 21, elementBytes: 4, make: (...on) => new Uint32Array(...on) },
  Int32Array: { number: 22, elementBytes: 4, make: (...on) => new Int32Array(...on) },
  BigUint64Array: { number: 23, elementBytes: 8, make: (...on) => new BigUint64Array(...on) },
  BigInt64Array: { number: 24, elementBytes: 8, make: (...on) => new BigInt64Array(...on) },
  Float16Array: { number: 25, elementBytes: 2, make: (...on) => new Float16Array(...on) },
  Float32Array: { number: 26, elementBytes: 4, make: (...on) => new Float32Array(...on) },
  Float64Array: { number: 27, elementBytes: 8, make: (...on) => new Float64Array(...on) },
};

/** The same by number, as far as this runtime has them: `Float16Array` is young. */
export const ARRAY_TYPE_NUMBERS: ReadonlyMap<number, ArrayType> = new Map(
  Object.entries(ARRAY_TYPES).filter(([name]) => name in globalThis).map(([, type]) => [type.number, type]),
);

/** Type, length of the name, zero, length of the data. */
export const FIELD_HEAD_BYTES = 1 + 1 + 2 + 4;
/** Fields of one record, at most. */
export const MAX_FIELDS = 256;

const FIELD_NAME = /^[A-Za-z_$][A-Za-z0-9_$]{0,63}$/;

/** Whether a field may have that name: an identifier of at most 64 ASCII characters, but not `__proto__`. */
export function isFieldName(name: string): boolean {
  return FIELD_NAME.test(name) && name !== "__proto__";
}

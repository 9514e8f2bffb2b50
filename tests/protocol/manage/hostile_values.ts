/** Values that a schema must refuse, made of one that it takes: every place of it changed in every way. */

/** One of each kind that MessagePack or a program can make. */
const WRONG: readonly unknown[] = [
  undefined,
  null,
  true,
  0,
  -1,
  1.5,
  NaN,
  Infinity,
  2 ** 53,
  7n,
  "",
  "\u001b[2J",
  "a\nb",
  "x".repeat(100_000),
  [],
  [[]],
  {},
  new Uint8Array(0),
  new Uint8Array(1_000_000),
  new Date(0),
  new Map(),
  Object.create({ inherited: 1 }),
];

/** A value that was changed, and how. */
export interface HostileValue {
  readonly how: string;
  readonly value: unknown;
}

/** Whether a value is an object whose keys are looked at. */
function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype;
}

/** Every object in a value once with a key more and once with each of its keys less. */
export function* withOtherKeys(value: unknown, place = "it"): Generator<HostileValue> {
  if (Array.isArray(value)) {
    for (const [at, item] of value.entries()) {
      for (const { how, value: changed } of withOtherKeys(item, `${place}[${at}]`)) {
        yield { how, value: value.with(at, changed) };
      }
    }
  }
  if (!isRecord(value)) return;
  for (const extra of ["extra", "constructor", "toString", Symbol("extra")]) {
    yield { how: `${place} with ${String(extra)}`, value: { ...value, [extra]: 1 } };
  }
  yield { how: `${place} by inheritance`, value: Object.create(value) };
  yield {
    how: `${place} by getters`,
    value: Object.defineProperties(
      {},
      Object.fromEntries(
        Object.entries(value).map(([key, item]) => [key, { get: () => item, enumerable: true }]),
      ),
    ),
  };
  for (const key of Object.keys(value)) {
    const { [key]: _left, ...rest } = value;
    yield { how: `${place} without ${key}`, value: rest };
    for (const { how, value: changed } of withOtherKeys(value[key], `${place}.${key}`)) {
      yield { how, value: { ...value, [key]: changed } };
    }
  }
}

/** Every place in a value once with each wrong thing. */
export function* withOtherValues(value: unknown, place = "it"): Generator<HostileValue> {
  for (const [number, wrong] of WRONG.entries()) yield { how: `${place} = WRONG[${number}]`, value: wrong };
  const entries = Array.isArray(value) ? [...value.entries()] : isRecord(value) ? Object.entries(value) : [];
  for (const [key, item] of entries) {
    for (const { how, value: changed } of withOtherValues(item, `${place}.${key}`)) {
      yield {
        how,
        value: Array.isArray(value)
          ? value.with(Number(key), changed)
          : { ...(value as object), [key]: changed },
      };
    }
  }
}

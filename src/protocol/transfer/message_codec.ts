/**
 * Messages and their bytes: one MessagePack map each, with the keys of messages.ts in the order that stands there.
 *
 * Every message has exactly one form: the shortest head for every length and number, no key twice, none missing, none
 * unknown. What decodes is encoded again and compared, so that a second form of a number, keys in another order and
 * a key that came twice need no rule each, and no two implementations can read one message differently.
 */
import { CodecError } from "../rpc/codec.ts";
import { messagePack } from "../rpc/messagepack_codec.ts";
import { TRANSFER_ERROR_CODES, TransferError } from "./errors.ts";
import type { TransferLimits } from "./limits.ts";
import type { EntriesMessage, TransferMessage, WantMessage } from "./messages.ts";
import type { ChunkRange, OfferEntry } from "./offer.ts";

/** Longest message. */
export const MAX_MESSAGE_BYTES = 65_536;
/** Longest path of an entry, in bytes of UTF-8. */
export const MAX_ENTRY_PATH_BYTES = 4096;
/** Longest text of a `stop`, in bytes of UTF-8. */
export const MAX_STOP_TEXT_BYTES = 1024;

const FILE_HASH_BYTES = 32;
const MAX_UINT32 = 0xffff_ffff;
const MAX_MODE = 0o777;
/** The first and the last moment that a Date can hold lie so far from 1970. */
const MAX_DATE_MS = 8_640_000_000_000_000;
/** Every character needs at least one byte and at most three. */
const UTF8_BYTES_PER_UNIT = 3;

/** Whether a value may stand in a field. */
type Check = (value: unknown) => boolean;
/** All fields of a map, in the order of the wire. */
type Fields = Readonly<Record<string, Check>>;

const encoder = new TextEncoder();
const entry: Fields = {
  kind: oneOf("file", "folder"),
  path: text(1, MAX_ENTRY_PATH_BYTES),
  sizeBytes: whole(0, Number.MAX_SAFE_INTEGER),
  modifiedMs: whole(-MAX_DATE_MS, MAX_DATE_MS),
  mode: whole(0, MAX_MODE),
};
const range: Fields = {
  file: whole(0, MAX_UINT32),
  first: whole(0, MAX_UINT32),
  count: whole(1, MAX_UINT32),
};
const messages: Readonly<Record<TransferMessage["type"], Fields>> = {
  offer: {
    type: oneOf("offer"),
    kind: oneOf("files", "text"),
    entries: whole(1, MAX_UINT32),
    totalBytes: whole(0, Number.MAX_SAFE_INTEGER),
  },
  entries: { type: oneOf("entries"), entries: list(1, entry, isSizedAsItsKind) },
  want: { type: oneOf("want"), ranges: list(0, range, isWithinFile), last: oneOf(true, false) },
  data: { type: oneOf("data"), file: whole(0, MAX_UINT32), chunk: whole(0, MAX_UINT32) },
  hash: { type: oneOf("hash"), file: whole(0, MAX_UINT32), hash: bytes(FILE_HASH_BYTES) },
  heartbeat: { type: oneOf("heartbeat"), receivedBytes: whole(0, Number.MAX_SAFE_INTEGER) },
  done: { type: oneOf("done") },
  stop: {
    type: oneOf("stop"),
    reason: (value) => typeof value === "string" && TRANSFER_ERROR_CODES.includes(value),
    text: text(0, MAX_STOP_TEXT_BYTES),
  },
};

/**
 * Makes the bytes of a message.
 *
 * @throws {RangeError} if it is none that the other side would take: that is a fault of this side
 */
export function encodeMessage(message: TransferMessage): Uint8Array<ArrayBuffer> {
  const fault = faultOf(message);
  if (fault !== null) throw new RangeError(`cannot send a message: ${fault}`);
  const encoded = canonical(message).slice(); // the codec uses its memory again
  if (encoded.length > MAX_MESSAGE_BYTES) {
    throw new RangeError(
      `cannot send a message: found ${encoded.length} bytes, accepted ${MAX_MESSAGE_BYTES}`,
    );
  }
  return encoded;
}

/**
 * Makes a message of bytes that may be anybody's.
 *
 * @throws {TransferError} `malformed` if they are no message; `limit` for an offer of more than is accepted
 */
export function decodeMessage(bytes: Uint8Array<ArrayBuffer>, limits: TransferLimits): TransferMessage {
  if (bytes.length > MAX_MESSAGE_BYTES) {
    throw malformed(`found ${bytes.length} bytes, accepted are at most ${MAX_MESSAGE_BYTES}`);
  }
  const value = decodedMap(bytes);
  const fault = faultOf(value);
  if (fault !== null) throw malformed(fault);
  const message = value as unknown as TransferMessage;
  if (!equal(canonical(message), bytes)) throw malformed("found another form of it than the one that it has");
  if (message.type === "offer") requireWithin(message.entries, message.totalBytes, limits);
  return message;
}

/** Puts the entries of an offer into as few messages as hold them, in order. */
export function* entriesMessages(entries: readonly OfferEntry[]): Generator<EntriesMessage> {
  for (const group of grouped(entries, (each) => ENTRY_BYTES + encoder.encode(each.path).length)) {
    yield { type: "entries", entries: group };
  }
}

/** Puts ranges into as few messages as hold them, in order: at least one, as the last one says that it is. */
export function* wantMessages(ranges: readonly ChunkRange[]): Generator<WantMessage> {
  let waiting: readonly ChunkRange[] = [];
  for (const group of grouped(ranges, () => RANGE_BYTES)) {
    if (waiting.length > 0) yield { type: "want", ranges: waiting, last: false };
    waiting = group;
  }
  yield { type: "want", ranges: waiting, last: true };
}

/** Longest head of a map or an array here, number with its head, and head of a text. */
const HEAD_BYTES = 3, NUMBER_BYTES = 9;
/** Longest form of an entry but for its path, and of a range: keys with their heads, and values. */
const ENTRY_BYTES = 1 + fieldBytes(entry) + "folder".length + 1 + HEAD_BYTES + 3 * NUMBER_BYTES;
const RANGE_BYTES = 1 + fieldBytes(range) + 3 * NUMBER_BYTES;
/** What is left for the elements of a list in a message of one list. */
const LIST_BYTES = MAX_MESSAGE_BYTES - 64;

function fieldBytes(fields: Fields): number {
  return Object.keys(fields).reduce((sum, key) => sum + 1 + key.length, 0);
}

function* grouped<T>(elements: readonly T[], bytesOf: (element: T) => number): Generator<T[]> {
  let group: T[] = [], groupBytes = 0;
  for (const element of elements) {
    const elementBytes = bytesOf(element);
    if (group.length > 0 && groupBytes + elementBytes > LIST_BYTES) {
      yield group;
      group = [];
      groupBytes = 0;
    }
    group.push(element);
    groupBytes += elementBytes;
  }
  if (group.length > 0) yield group;
}

function decodedMap(bytes: Uint8Array<ArrayBuffer>): unknown {
  try {
    return messagePack.decode(bytes);
  } catch (cause) {
    if (cause instanceof CodecError) throw malformed("it is not MessagePack", { cause });
    throw cause;
  }
}

/** What is wrong with a value as a message, without repeating any of it; null if nothing is. */
function faultOf(value: unknown): string | null {
  if (!isMap(value)) return "found no map";
  const { type } = value;
  if (typeof type !== "string" || !Object.hasOwn(messages, type)) return "found no known type";
  const fields = messages[type as TransferMessage["type"]];
  const field = faultyField(value, fields);
  return field === null ? null : `found a "${type}" whose ${field}`;
}

/** Where a map differs from its form; null if it does not. */
function faultyField(map: Readonly<Record<string, unknown>>, fields: Fields): string | null {
  const names = Object.keys(fields);
  for (const name of names) {
    if (!Object.hasOwn(map, name)) return `"${name}" is missing`;
    if (fields[name]?.(map[name]) !== true) return `"${name}" is not what it may be`;
  }
  return Object.keys(map).length === names.length ? null : "fields are more than it has";
}

/** The one form: fields in the order of the table. Lies in the memory of the codec until it encodes again. */
function canonical(message: TransferMessage): Uint8Array {
  const fields = messages[message.type];
  const encoded = messagePack.encode(ordered(message, fields));
  if (!(encoded instanceof Uint8Array)) {
    throw new TypeError("cannot encode a message: the codec gave no bytes");
  }
  return encoded;
}

function ordered(map: object, fields: Fields): Record<string, unknown> {
  const values = map as Readonly<Record<string, unknown>>;
  return Object.fromEntries(Object.keys(fields).map((name) => [name, inOrder(values[name])]));
}

function inOrder(value: unknown): unknown {
  if (!Array.isArray(value)) return value;
  return value.map((each) => ordered(each, Object.hasOwn(each, "path") ? entry : range));
}

function requireWithin(entries: number, totalBytes: number, limits: TransferLimits): void {
  if (entries > limits.maxEntries) {
    throw new TransferError(
      "limit",
      `cannot take the offer: it has ${entries} files and folders, accepted are ${limits.maxEntries}`,
    );
  }
  if (totalBytes > limits.maxTotalBytes) {
    throw new TransferError(
      "limit",
      `cannot take the offer: it has ${totalBytes} bytes, accepted are ${limits.maxTotalBytes}`,
    );
  }
}

function oneOf(...accepted: readonly unknown[]): Check {
  return (value) => accepted.includes(value);
}

function whole(least: number, most: number): Check {
  return (value) =>
    typeof value === "number" && Number.isInteger(value) && value >= least && value <= most &&
    !Object.is(value, -0);
}

function text(leastBytes: number, mostBytes: number): Check {
  return (value) => {
    if (typeof value !== "string" || value.length < leastBytes || value.length > mostBytes) return false;
    // An unpaired surrogate would arrive as another character.
    if (!value.isWellFormed()) return false;
    return value.length * UTF8_BYTES_PER_UNIT <= mostBytes || encoder.encode(value).length <= mostBytes;
  };
}

function bytes(length: number): Check {
  return (value) => value instanceof Uint8Array && value.length === length;
}

function list(least: number, fields: Fields, also: (element: Record<string, unknown>) => boolean): Check {
  return (value) =>
    Array.isArray(value) && value.length >= least &&
    value.every((each) => isMap(each) && faultyField(each, fields) === null && also(each));
}

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype;
}

function isSizedAsItsKind(each: Record<string, unknown>): boolean {
  return each["kind"] === "file" || each["sizeBytes"] === 0;
}

function isWithinFile(each: Record<string, unknown>): boolean {
  return Number(each["first"]) + Number(each["count"]) <= MAX_UINT32 + 1;
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, at) => byte === b[at]);
}

function malformed(found: string, options: ErrorOptions = {}): TransferError {
  return new TransferError("malformed", `cannot read a message: ${found}`, options);
}

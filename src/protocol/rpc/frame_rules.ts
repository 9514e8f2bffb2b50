/**
 * Which fields a frame of each kind has, as the comments of `FRAME_KINDS` say. What a kind does not have is zero.
 */
import { FRAME_KINDS, type FrameKind, MAX_HANDSHAKE_BODY_BYTES, MAX_MESSAGE_BYTES } from "./frame.ts";

/** Longest reason of an `ApplicationError` and the line end behind it. */
const APPLICATION_REASON_BYTES = 64 + 1;
/** Longest body of an `error` frame. */
export const MAX_ERROR_BODY_BYTES: number = APPLICATION_REASON_BYTES + MAX_MESSAGE_BYTES;
/** Longest body of a `close` frame. */
export const MAX_CLOSE_BODY_BYTES = 256;

/** What a kind of frame has. */
interface FrameRule {
  readonly method?: true;
  readonly id?: true;
  readonly value?: true;
  /** Longest body in bytes; "negotiated": what the receiving side has told in its hello. Without it, none. */
  readonly body?: number | "negotiated";
}

const RULES: Readonly<Record<FrameKind, FrameRule>> = {
  hello: { body: MAX_HANDSHAKE_BODY_BYTES },
  proof: { body: MAX_HANDSHAKE_BODY_BYTES },
  accept: {},
  call: { method: true, id: true, value: true, body: "negotiated" },
  reply: { id: true, body: "negotiated" },
  error: { id: true, value: true, body: MAX_ERROR_BODY_BYTES },
  item: { id: true, body: "negotiated" },
  end: { id: true },
  credit: { id: true, value: true },
  stop: { id: true },
  cancel: { id: true, value: true },
  ping: { value: true },
  pong: { value: true },
  drain: {},
  close: { value: true, body: MAX_CLOSE_BODY_BYTES },
};

/** Bits of what `frameFields` gives. */
export const HAS_METHOD = 1,
  HAS_ID = 2,
  HAS_VALUE = 4;

const KIND_LIMIT = 256;
/** For each kind that there is: the bits of its fields. For every other number: -1. */
const FIELDS = new Int8Array(KIND_LIMIT).fill(-1);
/** Longest body; -1: negotiated. */
const BODY_LIMITS = new Int32Array(KIND_LIMIT);

for (const [name, rule] of Object.entries(RULES)) {
  const kind = FRAME_KINDS[name as FrameKind];
  FIELDS[kind] = (rule.method ? HAS_METHOD : 0) | (rule.id ? HAS_ID : 0) | (rule.value ? HAS_VALUE : 0);
  BODY_LIMITS[kind] = rule.body === "negotiated" ? -1 : rule.body ?? 0;
}

/** Which of method, id and value a kind may have, as bits; -1 if there is no such kind. */
export function frameFields(kind: number): number {
  return FIELDS[kind] ?? -1;
}

/** Longest body of a kind in bytes, for a side that takes `maxBodyBytes` where that is negotiated; 0: it has none. */
export function frameBodyLimit(kind: number, maxBodyBytes: number): number {
  const limit = BODY_LIMITS[kind] ?? 0;
  return limit < 0 ? maxBodyBytes : limit;
}

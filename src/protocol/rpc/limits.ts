/**
 * What one connection may cost. Each side has its own; those marked "told" are part of its hello, so that an honest
 * other side keeps them and whoever does not is closed.
 */
export interface Limits {
  /** Longest body of one frame this side takes, in bytes; told. */
  readonly maxBodyBytes: number;
  /** Calls of the other side that may be open here at once; told. */
  readonly maxConcurrentCalls: number;
  /** Bytes of items that the other side may send ahead on one stream; told. */
  readonly streamWindowBytes: number;
  /** Calls of our own that may wait, beyond those the other side takes at once. */
  readonly maxWaitingCalls: number;
  /** Bytes that may wait to be written before producers of replies and items are made to wait. */
  readonly maxQueuedBytes: number;
  /** Time from the connection to its accepted handshake. */
  readonly handshakeTimeoutMs: number;
  /** Silence of the other side after which it is asked whether it lives. */
  readonly keepAliveMs: number;
  /** Time it has to answer. */
  readonly keepAliveTimeoutMs: number;
  /** Deadline of a call with one output and no items that names none; streams have none unless they name one. */
  readonly defaultDeadlineMs: number;
  /** Time that open calls have to finish when the connection is closed gracefully. */
  readonly drainTimeoutMs: number;
}

/** What one side tells the other in its hello. */
export type ToldLimits = Pick<Limits, "maxBodyBytes" | "maxConcurrentCalls" | "streamWindowBytes">;

const KIB = 1024, MIB = 1024 * KIB;

/** What holds where nothing else is said. */
export const DEFAULT_LIMITS: Limits = {
  maxBodyBytes: 4 * MIB,
  maxConcurrentCalls: 256,
  streamWindowBytes: 256 * KIB,
  maxWaitingCalls: 16_384,
  maxQueuedBytes: 4 * MIB,
  handshakeTimeoutMs: 5_000,
  keepAliveMs: 15_000,
  keepAliveTimeoutMs: 10_000,
  defaultDeadlineMs: 30_000,
  drainTimeoutMs: 10_000,
};

const MAX_U32 = 0xffff_ffff;

/** What each limit wants to be; no call would ever end with a window or a queue of nothing. */
const FORMS: Readonly<Record<keyof Limits, readonly [(value: number) => boolean, string]>> = {
  maxBodyBytes: [isU32, "a whole number below 2^32"],
  maxConcurrentCalls: [isU32, "a whole number below 2^32"],
  streamWindowBytes: [(value) => isU32(value) && value > 0, "a whole number from 1 to 2^32 - 1"],
  maxWaitingCalls: [isFromZero, "a number from 0 on"],
  maxQueuedBytes: [(value) => value > 0, "a number above 0"],
  handshakeTimeoutMs: [isFromZero, "a number from 0 on"],
  keepAliveMs: [isFromZero, "a number from 0 on"],
  keepAliveTimeoutMs: [isFromZero, "a number from 0 on"],
  defaultDeadlineMs: [isFromZero, "a number from 0 on"],
  drainTimeoutMs: [isFromZero, "a number from 0 on"],
};

function isFromZero(value: number): boolean {
  return value >= 0;
}

function isU32(value: number): boolean {
  return Number.isInteger(value) && value >= 0 && value <= MAX_U32;
}

/**
 * Limits in full: those that are not named are the default ones.
 *
 * @throws {TypeError} if one is no number, or cannot be kept
 */
export function completeLimits(limits: Partial<Limits> = {}): Limits {
  const complete: Limits = { ...DEFAULT_LIMITS, ...limits };
  for (const [name, [isOfForm, form]] of Object.entries(FORMS)) {
    const value: unknown = complete[name as keyof Limits];
    if (typeof value !== "number" || !isOfForm(value)) {
      throw new TypeError(`cannot keep to the limit ${name} of ${value}: it wants ${form}`);
    }
  }
  return complete;
}

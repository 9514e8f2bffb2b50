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
  maxConcurrentCalls: 1024,
  streamWindowBytes: 256 * KIB,
  maxWaitingCalls: 16_384,
  maxQueuedBytes: 4 * MIB,
  handshakeTimeoutMs: 5_000,
  keepAliveMs: 15_000,
  keepAliveTimeoutMs: 10_000,
  defaultDeadlineMs: 30_000,
  drainTimeoutMs: 10_000,
};

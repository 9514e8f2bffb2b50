/** What one side accepts of the other, and how long it waits. */

/** What the other side can make this one hold or believe. */
export interface TransferLimits {
  /** Entries of an offer, folders included. */
  readonly maxEntries: number;
  /** Sum of the lengths of all paths of an offer, in bytes of UTF-8. */
  readonly maxPathBytes: number;
  /** Sum of the sizes of an offer. */
  readonly maxTotalBytes: number;
}

const MIB = 1024 * 1024;
const TIB = MIB * MIB;

/** What is accepted if nothing else is said. */
export const DEFAULT_LIMITS: TransferLimits = {
  maxEntries: 100_000,
  maxPathBytes: 16 * MIB,
  maxTotalBytes: 16 * TIB,
};

/** A side that hears nothing for this long ends with an error. */
export const SILENCE_MS = 15_000;
/** Every side says something at least this often once both have proven themselves. */
export const HEARTBEAT_MS = 1_000;
/** How long the rest of a hello is waited for. */
export const PAIRING_STEP_MS = 3_000;
/** How long a confirmation is waited for. The guess is made durable before, which takes a busy disk many seconds. */
export const CONFIRMATION_MS: number = SILENCE_MS;
/** A connection that waits at the relay is given up and made anew after this. */
export const RENEW_MS = 20_000;
/** After a meeting with the wrong one, the next try comes after a random time of up to this. */
export const MAX_REDIAL_PAUSE_MS = 2_000;
/** How long a lost link, or a relay that cannot be reached, is tried again. */
export const DEFAULT_GRACE_MS = 120_000;
/**
 * How long a receiver that has everything looks for its sender to tell it so: longer than a sender takes to notice that
 * the link was lost, and than a connection that waits at the relay in vain.
 */
export const LAST_WORD_MS: number = RENEW_MS + 10_000;
/** How long the other side is waited for at first. */
export const DEFAULT_WAIT_MS = 3_600_000;

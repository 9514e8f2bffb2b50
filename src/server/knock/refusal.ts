/**
 * Why a datagram did not become a command. The words are stable: they are labels in the status file, values
 * of `reason=` in log lines that fail2ban reads, and rows of a table in docs/knock.md.
 */

/** Refused while the packet can still be used: whoever sent it may send it again from the right place. */
export const UNSPENT_REASONS = [
  "length",
  "unknown_key",
  "decrypt_budget",
  "authentication",
  "version",
  "replayed",
  "no_floor",
  "beyond_skew",
  "too_old",
  "destination",
  "source",
] as const;

/** Refused after the packet's counter became the key's floor: the packet is used up. */
export const SPENT_REASONS = [
  "command_not_allowed",
  "peer_rate",
  "key_rate",
  "global_rate",
  "floor_not_durable",
  "queue_full",
] as const;

export const REFUSAL_REASONS = [...UNSPENT_REASONS, ...SPENT_REASONS] as const;

export type UnspentReason = typeof UNSPENT_REASONS[number];
export type SpentReason = typeof SPENT_REASONS[number];
export type RefusalReason = UnspentReason | SpentReason;

/** How many datagrams each reason has refused since the start. */
export type RefusalCounts = Record<RefusalReason, number>;

export function noRefusals(): RefusalCounts {
  return Object.fromEntries(REFUSAL_REASONS.map((reason) => [reason, 0])) as RefusalCounts;
}

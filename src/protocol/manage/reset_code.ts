/** Why a flow or a whole link ended before its time; a number is never used again for something else. */

/** By name; the number is what a `reset` frame carries. */
export const RESET_CODES = {
  /** Whoever opened the flow, or has the other end of it, does not want it any more. */
  cancelled: 0,
  /** The server's policy does not allow it. */
  refused_by_server: 1,
  /** The host's own agent.toml does not allow it. */
  refused_by_host: 2,
  /** No host has this key or name. */
  unknown_host: 3,
  /** The host has no link at the moment. */
  offline: 4,
  /** The two sides speak different versions. */
  version: 5,
  /** What came is not what the protocol allows here. */
  malformed: 6,
  /** No flow number, or no room for one more session, is left. */
  exhausted: 7,
  /** The administrator, host or invitation was revoked. */
  revoked: 8,
  /** What was allowed until a certain time is over. */
  expired: 9,
  /** Somebody else took this place: a newer link of the same key, a newer viewer of the same session. */
  replaced: 10,
  /** Another living link has this key. */
  in_use: 11,
  /** The audit row could not be made durable, and without it there is no session. */
  not_audited: 12,
  /** The program ends. */
  shutting_down: 13,
  /** The proof of the key is wrong, or the key is not known. */
  authentication: 14,
  /** The token is not known, was used with another key, was revoked, or is over. */
  token: 15,
  /** No sign of life in time. */
  silent: 16,
  /** Something failed that is nobody else's fault. */
  internal: 17,
  /** The link that carried it is gone. */
  lost: 18,
} as const;

/** Why, for programs. */
export type ResetCode = keyof typeof RESET_CODES;

const BY_NUMBER: ReadonlyMap<number, ResetCode> = new Map(
  Object.entries(RESET_CODES).map(([code, number]) => [number, code as ResetCode]),
);

/** The name of a number; a number that is not known here, of a later version, is "internal". */
export function resetCodeOf(number: number): ResetCode {
  return BY_NUMBER.get(number) ?? "internal";
}

/** A flow, or the link under it, ended with a reason. */
export class ResetError extends Error {
  /** Why, for programs. */
  readonly code: ResetCode;
  /** Which side said so. */
  readonly by: "here" | "there";

  /** Makes one; the message names the side that refuses, such as `web1 refuses: ...`. */
  constructor(code: ResetCode, by: "here" | "there", message: string, options: ErrorOptions = {}) {
    super(message, options);
    this.name = "ResetError";
    this.code = code;
    this.by = by;
  }
}

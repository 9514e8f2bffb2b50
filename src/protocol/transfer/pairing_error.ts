/** Why two did not pair. */

/**
 * What went wrong:
 * - `nobody`: not a byte came in the time to wait
 * - `same_role`: two senders or two receivers met
 * - `same_instance`: this side met itself, or its own connection from before
 * - `reflected`: what this side said came back
 * - `silent`: the other side began, and then said nothing for too long
 * - `closed`: the connection could not be had any longer
 * - `malformed`: what came is not what the protocol allows there
 * - `version`: the other side speaks another version
 * - `mismatch`: the other side does not know the code, or nobody can tell; the one guess is used up. No other failure
 *   of these uses it up.
 */
export type PairingFailure =
  | "nobody"
  | "same_role"
  | "same_instance"
  | "reflected"
  | "silent"
  | "closed"
  | "malformed"
  | "version"
  | "mismatch";

/** Two did not pair. */
export class PairingError extends Error {
  /** What went wrong, for programs. */
  readonly failure: PairingFailure;
  /** Whether a single byte had come from the other side; without one, it was the relay that closed. */
  readonly heard: boolean;
  /** Whether what came does not even begin as a hello does: whoever answers there does not speak this protocol. */
  readonly isForeign: boolean;

  /** Makes one. */
  constructor(
    failure: PairingFailure,
    found: string,
    options: ErrorOptions & { heard?: boolean; isForeign?: boolean } = {},
  ) {
    super(`cannot pair: ${found}`, options);
    this.name = "PairingError";
    this.failure = failure;
    this.heard = options.heard ?? true;
    this.isForeign = options.isForeign ?? false;
  }
}

/** What can go wrong with a transfer, for people and for programs. */

/**
 * Why a transfer, or one try at it, ended:
 * - `code`: the text is no code, or one that is too easy to guess
 * - `mismatch`: the other side does not know the code; the code is spent
 * - `spent`: the code was used for a guess before, and is not used for another
 * - `unreachable`: no relay could be reached, it is full, or it dropped the connection, for all of the grace time
 * - `absent`: the other side did not come in time
 * - `silent`: the other side said nothing for too long
 * - `lost`: the link broke and could not be had again within the grace time
 * - `malformed`: what came is not what the protocol allows here
 * - `tampered`: records were changed, left out, repeated or put elsewhere on the way
 * - `version`: the other side speaks another version
 * - `refused`: the person or program at the other side does not want it
 * - `path`: a name that is not safe to write
 * - `collision`: two names that are one on some file system
 * - `exists`: something of that name is there and may not be replaced
 * - `limit`: more files, bytes or messages than are accepted
 * - `space`: not enough room
 * - `storage`: a file could not be read or written here
 * - `changed`: a file that is being sent was changed meanwhile
 * - `hash`: a file that came is not the file that was sent
 * - `cancelled`: somebody ended it here or there
 */
export type TransferErrorCode =
  | "code"
  | "mismatch"
  | "spent"
  | "unreachable"
  | "absent"
  | "silent"
  | "lost"
  | "malformed"
  | "tampered"
  | "version"
  | "refused"
  | "path"
  | "collision"
  | "exists"
  | "limit"
  | "space"
  | "storage"
  | "changed"
  | "hash"
  | "cancelled";

/** A record, so that none of the codes can be forgotten here. */
const CODES: Readonly<Record<TransferErrorCode, true>> = {
  code: true,
  mismatch: true,
  spent: true,
  unreachable: true,
  absent: true,
  silent: true,
  lost: true,
  malformed: true,
  tampered: true,
  version: true,
  refused: true,
  path: true,
  collision: true,
  exists: true,
  limit: true,
  space: true,
  storage: true,
  changed: true,
  hash: true,
  cancelled: true,
};

/** Every code, in the order above. */
export const TRANSFER_ERROR_CODES: readonly string[] = Object.keys(CODES);

/** Where a transfer failed, as seen from here. */
export type TransferSide = "here" | "there";

/** A transfer, or one try at it, failed. */
export class TransferError extends Error {
  /** What went wrong, for programs. */
  readonly code: TransferErrorCode;
  /** Who ended it: this side, or the other one by a `stop` message. */
  readonly side: TransferSide;

  /** Makes one; the message says what could not be done, what was found and what is accepted. */
  constructor(
    code: TransferErrorCode,
    message: string,
    options: ErrorOptions & { side?: TransferSide } = {},
  ) {
    super(message, options);
    this.name = "TransferError";
    this.code = code;
    this.side = options.side ?? "here";
  }
}

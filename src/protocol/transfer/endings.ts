/** How a session ends early, in words for the person here and for the one at the other side. */
import { RecordError } from "../record/record.ts";
import { TransportError } from "../transport/transport.ts";
import { TransferError, type TransferErrorCode } from "./errors.ts";
import type { StopMessage } from "./messages.ts";

/**
 * What the other side is told, always these words: the message of an error may name a folder of this machine. What is
 * not here is not told. `lost` and `silent`: both sides try again. `cancelled`: this side may go on later, and the
 * other one waits for that.
 */
const STOP_TEXTS: Partial<Readonly<Record<TransferErrorCode, string>>> = {
  malformed: "something was said that the protocol does not allow",
  tampered: "something was changed on the way",
  refused: "the offer was not accepted",
  path: "a name in the offer is not safe to write",
  collision: "two names in the offer are one on some file systems",
  exists: "something of the same name is there already",
  limit: "the offer is more than is accepted",
  space: "there is not enough room",
  storage: "a file could not be read or written",
  changed: "what is shared was changed meanwhile",
  hash: "a file that arrived is not the file that was sent",
};

/** What nobody can mean who has paired; a run would redial for some of these, and the other side has ended it. */
const NO_REASONS: ReadonlySet<TransferErrorCode> = new Set<TransferErrorCode>([
  "code",
  "mismatch",
  "spent",
  "unreachable",
  "absent",
  "silent",
  "lost",
]);

/** Whether the other side is to be told of a failure. */
export function isToBeTold({ side, code }: TransferError): boolean {
  return side === "here" && Object.hasOwn(STOP_TEXTS, code);
}

/** The end of the message of a `path` that is refused for its hidden name alone: before it stands a peer's name. */
export const HIDDEN_NAME_FOUND = "a name that begins with a dot, accepted are others";
/** What the other side is told then. */
export const HIDDEN_NAME_STOP = "a name begins with a dot, and such names were not allowed there";

/** The message that tells it. */
export function stopMessage({ code, message }: TransferError): StopMessage {
  const isHidden = code === "path" && message.endsWith(HIDDEN_NAME_FOUND);
  return { type: "stop", reason: code, text: isHidden ? HIDDEN_NAME_STOP : STOP_TEXTS[code] ?? "" };
}

/** The other side has ended the transfer for good. Its text is anybody's, and is made printable where it is printed. */
export function stopped({ reason, text }: StopMessage): TransferError {
  return new TransferError(
    NO_REASONS.has(reason) ? "cancelled" : reason,
    `the other side ended the transfer: ${text === "" ? reason : text}`,
    { side: "there" },
  );
}

/** The signal was aborted. */
export function aborted(reason: unknown): TransferError {
  return new TransferError("cancelled", "the transfer was interrupted here", { cause: reason });
}

/** The other side has ended its records, and nothing is done. */
export function endedEarly(): TransferError {
  return outOfTurn("the end", "more messages");
}

/** The other side said what it may not say now. */
export function outOfTurn(found: string, accepted: string): TransferError {
  return new TransferError(
    "malformed",
    `cannot go on with the transfer: found ${found} where only ${accepted} may come`,
  );
}

/** Any error as that of a transfer. What has no name of its own is a failure of what is kept here. */
export function unforeseen(error: unknown): TransferError {
  if (error instanceof TransferError) return error;
  const code = codeOf(error);
  return new TransferError(code, FOUND[code], { cause: error });
}

const FOUND = {
  lost: "the link was lost",
  tampered: "the link was tampered with: what came is not what was sent",
  storage: "cannot go on with the transfer: something failed here",
} as const;

function codeOf(error: unknown): keyof typeof FOUND {
  if (error instanceof TransportError) return error.code === "tampered" ? "tampered" : "lost";
  if (error instanceof RecordError) return error.refusal === "truncated" ? "lost" : "tampered";
  return "storage";
}

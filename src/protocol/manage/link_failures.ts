/** Why a link or a flow is over, in words. */
import type { LinkError } from "./frame.ts";
import { type ResetCode, ResetError } from "./reset_code.ts";

type What = "flow" | "link";

/** This side ended it. */
export function saidHere(code: ResetCode, text: string, what: What): ResetError {
  return new ResetError(code, "here", wordsOf(code, text, what));
}

/** The other side ended it. */
export function saidThere(
  { code, text }: { readonly code: ResetCode; readonly text: string },
  what: What,
): ResetError {
  return new ResetError(code, "there", wordsOf(code, text, what));
}

function wordsOf(code: ResetCode, text: string, what: What): string {
  return text === "" ? `the ${what} was ended: ${code}` : text;
}

/** The other side broke the rules of a link. */
export function brokenRules(error: LinkError): ResetError {
  return new ResetError(error.reason, "here", error.message, { cause: error });
}

/** Nothing was heard for too long. */
export function silent(): ResetError {
  return new ResetError("silent", "here", "the other side gave no sign of life in time");
}

/** The connection under a link has gone. */
export function lostLink(why: string, options: ErrorOptions): ResetError {
  return new ResetError("lost", "there", `the link was lost: ${why}`, options);
}

/** For a flow whose link is over; why is its cause. */
export function lostWithLink(end: ResetError): ResetError {
  return new ResetError("lost", end.by, `the link is gone: ${end.message}`, { cause: end });
}

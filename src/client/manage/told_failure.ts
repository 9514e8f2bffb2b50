/**
 * What went wrong with a link or a session, in words for people. Every refusal names its side: the server, or the host
 * by its name.
 */
import { RESET_CODES, type ResetCode, ResetError } from "../../protocol/manage/reset_code.ts";
import { ApplicationError, ConnectionError, RpcError } from "../../protocol/rpc/errors.ts";
import { TransportError } from "../../protocol/transport/transport.ts";
import { Failure, type FailureOptions } from "../../system/failure.ts";

const AGAIN = "run the command again";
/** Causes that are followed, so that a cycle ends. */
const MAX_CAUSES = 8;
const COMPARE = "compare what postern --version prints here, on the server and on HOST";
const JOIN_AGAIN = "ask the operator of the server for a new invitation, then postern client join TOKEN";

interface Words {
  /** Which side it is, or what happened; before what the other side says. */
  readonly lead: string;
  /** Where it says nothing. */
  readonly otherwise?: string;
  readonly hint?: string;
}

const SERVER = "the server refuses";

/** By code; `HOST` stands for the host, or what there is of it. */
const WORDS: Readonly<Record<ResetCode, Words>> = {
  cancelled: { lead: "the session was given up" },
  refused_by_server: {
    lead: SERVER,
    hint: "policy.toml on the server decides; its operator can allow it",
  },
  refused_by_host: {
    lead: "HOST refuses",
    hint: "agent.toml on HOST decides, whatever the server allows; who runs HOST can change it",
  },
  unknown_host: {
    lead: SERVER,
    otherwise: "no such host",
    hint: "postern client hosts lists those that you may reach",
  },
  offline: { lead: "HOST is offline", hint: "postern client hosts shows since when" },
  version: { lead: "the versions do not fit", hint: COMPARE },
  malformed: { lead: "the other side broke the protocol", hint: COMPARE },
  exhausted: { lead: "no room is left for one more session", hint: "end others, or wait a little" },
  revoked: { lead: SERVER, otherwise: "revoked", hint: JOIN_AGAIN },
  expired: {
    lead: "the time is over that was allowed for it",
    hint: "the operator of the server can allow more",
  },
  replaced: { lead: "the session was taken over elsewhere" },
  in_use: { lead: SERVER, otherwise: "this key is connected already", hint: AGAIN },
  not_audited: {
    lead: SERVER,
    otherwise: "it could not write its audit",
    hint: "without a row of its audit it opens no session; its operator has to look at its disk",
  },
  shutting_down: { lead: "the other side is ending", hint: AGAIN },
  authentication: { lead: SERVER, otherwise: "it does not know the key of this machine", hint: JOIN_AGAIN },
  token: { lead: SERVER, otherwise: "the token is good no more", hint: JOIN_AGAIN },
  silent: { lead: "the link was lost: no sign of life", hint: AGAIN },
  internal: { lead: "the other side failed" },
  lost: { lead: "the link was lost", hint: AGAIN },
};

/** What this side refuses itself is no refusal of the server. */
const OWN: Partial<Readonly<Record<ResetCode, string>>> = {
  authentication: "somebody may stand in between; ask the operator of the server before you try again",
  malformed: COMPARE,
  version: COMPARE,
};

/** What is told of a reset; its code stays with it, for programs that go on or give up by it. */
export class ToldFailure extends Failure {
  /** Why, for programs. */
  readonly code: ResetCode;

  /** Makes one. */
  constructor(code: ResetCode, message: string, options: FailureOptions = {}) {
    super(message, options);
    this.code = code;
  }
}

/** Whether a text is one of the codes. */
export function isResetCode(text: string): text is ResetCode {
  return Object.hasOwn(RESET_CODES, text);
}

/**
 * The failure that people are told of instead of what was thrown; anything that is not of links and calls comes back as
 * it is.
 *
 * @param host the name of the host that it is about
 */
export function toldFailure(error: unknown, host?: string): unknown {
  if (error instanceof ResetError) return told(error.code, error, host);
  if (error instanceof ApplicationError) {
    return isResetCode(error.reason)
      ? told(error.reason, error, host)
      : new Failure(`${host ?? "the other side"}: ${error.message}`);
  }
  if (error instanceof RpcError) return ofCall(error, host);
  if (error instanceof ConnectionError) {
    return told(error.reason === "silent" ? "silent" : "lost", error, host);
  }
  if (error instanceof TransportError) {
    if (error.cause instanceof ResetError) return toldFailure(error.cause, host);
    return error.code === "lost" || error.code === "closed"
      ? told("lost", error, host)
      : new Failure(error.message, { cause: error.cause });
  }
  return error;
}

/** Why, at the bottom: a session is lost because its link is, and that for a reason of its own. */
export function firstReason(error: unknown): unknown {
  let current = error;
  for (let depth = 0; depth < MAX_CAUSES && current instanceof ResetError; depth++) {
    if (!(current.cause instanceof ResetError)) return current;
    current = current.cause;
  }
  return current;
}

function told(code: ResetCode, error: Error, host: string | undefined): Failure {
  const { message, cause } = error;
  const named = (text: string): string => text.replaceAll("HOST", host ?? "the host");
  const own = error instanceof ResetError && error.by === "here" ? OWN[code] : undefined;
  if (own !== undefined) return new ToldFailure(code, message, { cause, hint: named(own) });
  const { lead, otherwise, hint } = WORDS[code];
  const words = named(lead);
  return new ToldFailure(code, wholeText(words, message || (otherwise ?? "")), {
    cause,
    hint: hint === undefined ? undefined : named(hint),
  });
}

/** The side is said once, also where the other side says it itself; a host that says the server's is still the one. */
function wholeText(words: string, message: string): string {
  const [side = ""] = words.split(":", 1);
  if (message === "") return words;
  return message.startsWith(`${side}:`) ? message : `${words}: ${message}`;
}

function ofCall(error: RpcError, host: string | undefined): Failure {
  const who = host ?? "the server";
  switch (error.code) {
    case "disconnected":
    case "unavailable":
      return told("lost", error, host);
    case "deadline_exceeded":
      return new Failure(`${who} did not answer in time: ${error.message}`, { hint: AGAIN });
    case "invalid_argument":
    case "unimplemented":
      return told("version", error, host);
    default:
      return new Failure(`${who} failed: ${error.message}`, { cause: error.cause });
  }
}

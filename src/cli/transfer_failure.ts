/** How a transfer that failed is told to people: what happened, and what to do next. */
import { HIDDEN_NAME_FOUND, HIDDEN_NAME_STOP } from "../protocol/transfer/endings.ts";
import { TransferError, type TransferErrorCode } from "../protocol/transfer/errors.ts";
import { Failure, UsageFailure } from "../system/failure.ts";

/** Which side of which transfer. */
export interface TransferContext {
  readonly side: "sender" | "receiver";
  /** As it was named on the command line. */
  readonly relay: string;
}

type Hints = Partial<Readonly<Record<TransferErrorCode, string>>>;

const GO_ON = "run the same command again on both sides: what has arrived is kept, and only the rest is sent";
const OTHER_VERSION = "compare what postern --version prints on both sides";

/** Of what both sides can do. */
const HINTS: Hints = {
  silent: GO_ON,
  lost: GO_ON,
  cancelled: GO_ON,
  malformed: OTHER_VERSION,
  version: OTHER_VERSION,
  tampered: "run the same command again on both sides; if it happens again, use another relay",
  hash: GO_ON,
};

const SENDER_HINTS: Hints = {
  code: "leave --code away, and a random one is made",
  mismatch: "the code is spent; run the same command again, which makes a new one",
  spent: "leave --code away, and a random one is made",
  absent: "run the same command again, and tell the other side the code",
  changed: "run the same command again to share it as it is now",
};

const AGAIN = "ask the other side to share it again";

const RECEIVER_HINTS: Hints = {
  code:
    "a code is a number and three words, such as 482913-apple-river-stone; without one you are asked, and Tab completes",
  mismatch: "the code is spent; ask the other side to make a new one by running its command again",
  spent: "ask the other side to make a new one by running its command again",
  absent:
    "is the number of the code right? If it is, look whether the other side still waits, at the same relay; a code is " +
    "good for one receiver",
  refused: AGAIN,
  path: `${AGAIN}, under another name`,
  collision: `${AGAIN}, with one of them renamed`,
  exists: `${AGAIN}, and add --overwrite to replace what is there, or name another folder with -o`,
  limit: `${AGAIN}, and add --max-files or --max-bytes to take more`,
  space: "make room there, then run the same command again on both sides",
  changed: "run the same command again to begin anew",
};
const LINK_HINT = `take the link away, or name another folder with -o, and ${AGAIN}`;
/** As file_sink_errors.ts says it. */
const NO_FOLDER = /: (?:it is no folder.*|.* on the way there is none|there is no such folder, and .*)$/;
const HIDDEN_HINT = `${AGAIN}, and add --hidden to take names that begin with a dot`;

/** An offer that was not taken is over: its code is used up. */
const BOTH_AGAIN = "run the same command again, and give the other side the new code; it adds";

/** What the one who reads this can say to the other side, where that one ended it. */
const HINTS_FOR_THERE: Hints = {
  path: "give it another name, and share it again",
  collision: "rename one of them, and share it again",
  refused: "run the same command again for a new code, if the other side wants it after all",
  exists: `${BOTH_AGAIN} --overwrite, or -o with another folder`,
  limit: `${BOTH_AGAIN} --max-files or --max-bytes`,
  space: "the other side can make room and run its command again",
  changed: "ask the other side to run its command again",
  cancelled: GO_ON,
  tampered: HINTS.tampered ?? "",
  malformed: OTHER_VERSION,
};

/** What is thrown on, instead of what a transfer has thrown. Codes and secrets are in none of it. */
export function transferFailure(error: unknown, context: TransferContext): unknown {
  if (!(error instanceof TransferError)) return error;
  // Messages are whole as they are. Only behind an unforeseen error the cause says what it was.
  const { cause } = error.message.endsWith("something failed here") ? error : {};
  const options = { hint: hintOf(error, context), cause };
  return error.code === "code"
    ? new UsageFailure(error.message, options)
    : new Failure(error.message, options);
}

function hintOf(
  { code, side, message }: TransferError,
  { side: own, relay }: TransferContext,
): string | undefined {
  if (side === "there") return hintForThere(code, message);
  if (code === "unreachable" && message.endsWith("it may be full")) {
    return `wait a little and run the same command again; whoever runs the relay at ${relay} can allow more with --max-parked`;
  }
  if (code === "unreachable") {
    return `look whether a relay runs at ${relay} (postern server relay starts one), then run the same command again`;
  }
  // The nearest word is named already.
  if (code === "code" && message.includes("did you mean")) return undefined;
  // By the end of the message: before it stands a name that the other side chose.
  if (code === "path" && message.endsWith(HIDDEN_NAME_FOUND)) {
    return HIDDEN_HINT;
  }
  if (code === "exists" && message.endsWith("a symbolic link is there, accepted are files and folders")) {
    return LINK_HINT;
  }
  if (code === "storage" && NO_FOLDER.test(message)) {
    return "name a folder with -o; one that is missing is made";
  }
  return (own === "sender" ? SENDER_HINTS : RECEIVER_HINTS)[code] ?? HINTS[code];
}

function hintForThere(code: TransferErrorCode, message: string): string | undefined {
  if (code === "path" && message.endsWith(HIDDEN_NAME_STOP)) {
    return `${BOTH_AGAIN} --hidden, or leaves --yes away and is asked`;
  }
  return HINTS_FOR_THERE[code];
}

/** It was ended by Ctrl-C or a signal. */
export function interruptedFailure(signal: string): Failure {
  return new Failure(`the transfer was interrupted by ${signal}`, { hint: GO_ON });
}

/** The same, where nothing has come that could be kept. */
export function interruptedEarly({ message }: Error): Failure {
  return new Failure(message, { hint: "nothing has arrived; run the same command again to begin" });
}

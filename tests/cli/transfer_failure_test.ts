/** What people read when a transfer fails, and how it is ended. */
import assert from "node:assert/strict";
import {
  interruptedEarly,
  interruptedFailure,
  type TransferContext,
  transferFailure,
} from "../../src/cli/transfer_failure.ts";
import { HIDDEN_NAME_FOUND, stopMessage, stopped } from "../../src/protocol/transfer/endings.ts";
import { generateCode } from "../../src/protocol/transfer/code.ts";
import { TransferError, type TransferErrorCode } from "../../src/protocol/transfer/errors.ts";
import { systemRandomBytes } from "../../src/protocol/rpc/timers.ts";
import { Failure, UsageFailure } from "../../src/system/failure.ts";
import { withoutKeys } from "../../src/system/without_keys.ts";

const RELAY = "relay.example:8080";
const SIDES = ["sender", "receiver"] as const;

/** Every reason, and whether its end is worth a hint at each side. */
const REASONS: Readonly<Record<TransferErrorCode, readonly TransferContext["side"][]>> = {
  code: ["sender", "receiver"],
  mismatch: ["sender", "receiver"],
  spent: ["sender", "receiver"],
  unreachable: ["sender", "receiver"],
  absent: ["sender", "receiver"],
  silent: ["sender", "receiver"],
  lost: ["sender", "receiver"],
  malformed: ["sender", "receiver"],
  tampered: ["sender", "receiver"],
  version: ["sender", "receiver"],
  refused: ["receiver"],
  path: ["receiver"],
  collision: ["receiver"],
  exists: ["receiver"],
  limit: ["receiver"],
  space: ["receiver"],
  // What the system said is in the message.
  storage: [],
  changed: ["sender", "receiver"],
  hash: ["sender", "receiver"],
  cancelled: ["sender", "receiver"],
};

function failureOf(error: unknown, side: TransferContext["side"]): Failure {
  const failure = transferFailure(error, { side, relay: RELAY });
  assert(failure instanceof Failure, String(failure));
  return failure;
}

for (const [code, hinted] of Object.entries(REASONS) as [TransferErrorCode, readonly string[]][]) {
  Deno.test(`transferFailure() of "${code}" keeps the message and says the next step where there is one`, () => {
    for (const side of SIDES) {
      const failure = failureOf(new TransferError(code, "what happened"), side);
      assert.equal(failure.message, "what happened");
      assert.equal(failure.hint !== undefined, hinted.includes(side), `${side}: ${failure.hint}`);
      assert.doesNotMatch(failure.hint ?? "", /\.$/);
      // A code that cannot be read is wrong usage; everything else failed.
      assert.equal(failure instanceof UsageFailure, code === "code");
    }
  });
}

Deno.test("transferFailure() names the relay where it cannot be reached, and the option that takes hidden names", () => {
  assert.match(
    failureOf(new TransferError("unreachable", "x"), "sender").hint ?? "",
    /at relay\.example:8080 /,
  );
  const hidden = new TransferError(
    "path",
    'the path ".a": found a name that begins with a dot, accepted are others',
  );
  assert.match(failureOf(hidden, "receiver").hint ?? "", /--hidden/);
  const link = new TransferError(
    "exists",
    "cannot write in/d: a symbolic link is there, accepted are files and folders",
  );
  assert.match(failureOf(link, "receiver").hint ?? "", /^take the link away, or name another folder with -o/);
  assert.doesNotMatch(failureOf(new TransferError("path", "found .."), "receiver").hint ?? "", /--hidden/);
  // The sender's name for a file decides about no hint.
  const named = new TransferError(
    "path",
    'the path "../a name that begins with a dot, accepted are others": found a name "." or ".."',
  );
  assert.doesNotMatch(failureOf(named, "receiver").hint ?? "", /--hidden/);
});

Deno.test("transferFailure() of a relay that is full says to wait, and not to look whether one runs", () => {
  const full = new TransferError("unreachable", "cannot use the relay: it hangs up at once, it may be full");
  assert.match(failureOf(full, "sender").hint ?? "", /^wait a little .*--max-parked$/);
});

Deno.test("transferFailure() gives other hints where the other side ended it", () => {
  const there = (code: TransferErrorCode): string | undefined =>
    failureOf(new TransferError(code, "x", { side: "there" }), "sender").hint;
  assert.match(
    there("exists") ?? "",
    /^run the same command again, .* it adds --overwrite, or -o with another folder$/,
  );
  assert.match(there("path") ?? "", /^give it another name/);
  const hidden = stopped(stopMessage(new TransferError("path", `the path ".a": found ${HIDDEN_NAME_FOUND}`)));
  assert.equal(
    hidden.message,
    "the other side ended the transfer: a name begins with a dot, and such names were not allowed there",
  );
  assert.match(
    failureOf(hidden, "sender").hint ?? "",
    /^run the same command again, .* it adds --hidden, or leaves --yes away/,
  );
  // The name stands before, and is the sender's to choose.
  const named = stopMessage(
    new TransferError("path", `the path "${HIDDEN_NAME_FOUND}": found a control character`),
  );
  assert.doesNotMatch(named.text, /dot/);
  assert.match(there("limit") ?? "", /--max-files or --max-bytes$/);
  assert.match(there("space") ?? "", /make room/);
  assert.match(there("refused") ?? "", /^run the same command again for a new code/);
});

Deno.test("transferFailure() tells the cause only where the message is none", () => {
  const cause = new Error("the disk is on fire");
  const known = failureOf(new TransferError("storage", "could not read a: it burns", { cause }), "sender");
  assert.equal(known.cause, undefined);
  const unforeseen = new TransferError("storage", "cannot go on with the transfer: something failed here", {
    cause,
  });
  assert.equal(failureOf(unforeseen, "sender").cause, cause);
});

Deno.test("transferFailure() leaves what is no failure of a transfer as it is", () => {
  const error = new Failure("cannot share", { hint: "do not" });
  assert.equal(transferFailure(error, { side: "sender", relay: RELAY }), error);
  const interrupted = interruptedFailure("Ctrl-C"), early = interruptedEarly(interrupted);
  assert.match(interrupted.hint ?? "", /^run the same command again on both sides/);
  assert.equal(early.message, interrupted.message);
  assert.doesNotMatch(early.hint ?? "", /kept/);
});

Deno.test("no code looks like a key, which would be hidden where it is printed", () => {
  for (let i = 0; i < 1000; i++) {
    const { text } = generateCode(systemRandomBytes);
    assert.equal(withoutKeys(text), text);
  }
  const longest = `123456789-${Array.from({ length: 8 }, () => "abstract").join("-")}`;
  assert.equal(withoutKeys(longest), longest);
});

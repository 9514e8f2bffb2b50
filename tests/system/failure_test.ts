import assert from "node:assert/strict";
import { describeError, Failure, UsageFailure } from "../../src/system/failure.ts";

Deno.test("Failure carries hint and cause and UsageFailure is one", () => {
  const cause = new Error("inner");
  const failure = new UsageFailure("outer", { hint: "try this", cause });
  assert.ok(failure instanceof Failure);
  assert.equal(failure.hint, "try this");
  assert.equal(failure.cause, cause);
  assert.equal("cause" in new Failure("plain"), false);
});

Deno.test("describeError() joins the cause chain and says nothing twice", () => {
  const root = new Error("disk full");
  const middle = new Error("could not save: disk full", { cause: root });
  assert.equal(
    describeError(new Failure("could not write /a", { cause: root })),
    "could not write /a: disk full",
  );
  assert.equal(describeError(middle), "could not save: disk full");
});

Deno.test("describeError() lists the errors of an AggregateError", () => {
  const all = new AggregateError([new Error("a"), new Error("b")], "every way failed");
  assert.equal(describeError(all), "every way failed: a; b");
});

Deno.test("describeError() ends on a cause cycle and copes with what is no Error", () => {
  const cyclic = new Error("one");
  cyclic.cause = new Error("two", { cause: cyclic });
  assert.equal(describeError(cyclic), "one: two");
  assert.equal(describeError("text"), "text");
  assert.equal(describeError(undefined), "unknown error");
});

Deno.test("describeError() stays on one line whatever the message holds", () => {
  assert.equal(describeError(new Error("a\nb\x1b[2J\u202e")), "a\\u000ab\\u001b[2J\\u202e");
});

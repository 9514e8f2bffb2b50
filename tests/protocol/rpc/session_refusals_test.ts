/** Frames that no honest other side sends. */
import assert from "node:assert/strict";
import { ConnectionError, type RpcError } from "../../../src/protocol/rpc/errors.ts";
import { BOTH, ECHO, everything, SLOW, SUM, watched } from "./everything.ts";
import { settled } from "./fake_timers.ts";
import { type SentFrame, Stage } from "./session_stage.ts";

const hostile: readonly (readonly [string, string, readonly SentFrame[]])[] = [
  ["a call with an id of the wrong side", "malformed", [{ kind: "call", method: ECHO, id: 2, body: "1" }]],
  ["a call with the id 0", "malformed", [{ kind: "call", method: ECHO, body: "1" }]],
  ["a call with an id that was used", "malformed", [
    { kind: "call", method: ECHO, id: 1, body: "1" },
    { kind: "call", method: ECHO, id: 1, body: "1" },
  ]],
  ["a call with an id that is open", "malformed", [
    { kind: "call", method: SLOW, id: 1, body: "1" },
    { kind: "call", method: SLOW, id: 1, body: "1" },
  ]],
  ["a call with an id of long ago", "malformed", [
    { kind: "call", method: ECHO, id: 9, body: "1" },
    { kind: "call", method: ECHO, id: 7, body: "1" },
  ]],
  ["a call with an id too far ahead", "malformed", [
    { kind: "call", method: ECHO, id: 0x4000_0001, body: "1" },
  ]],
  ["a call of a method that there is none of", "malformed", [{ kind: "call", method: 5, id: 1, body: "1" }]],
  ["an input that is no JSON", "undecodable", [{ kind: "call", method: ECHO, id: 1, body: "{" }]],
  [
    "more calls than were told",
    "limit_exceeded",
    [1, 3, 5, 7, 9].map((id) => (
      { kind: "call", method: SLOW, id, body: "1" } as const
    )),
  ],
  ["a reply to a call that was never made", "malformed", [{ kind: "reply", id: 2, body: "1" }]],
  ["a reply to its own call", "malformed", [
    { kind: "call", method: SLOW, id: 1, body: "1" },
    { kind: "reply", id: 1, body: "1" },
  ]],
  ["a cancel of a call that was never made", "malformed", [{ kind: "cancel", id: 1, value: 3 }]],
  ["a cancel with another code", "malformed", [
    { kind: "call", method: SLOW, id: 1, body: "1" },
    { kind: "cancel", id: 1, value: 5 },
  ]],
  ["an item for a method that takes none", "malformed", [
    { kind: "call", method: SLOW, id: 1, body: "1" },
    { kind: "item", id: 1, body: "1" },
  ]],
  ["an item that is no JSON", "undecodable", [
    { kind: "call", method: SUM, id: 1, body: "null" },
    { kind: "item", id: 1, body: "]" },
  ]],
  ["an item after the end", "malformed", [
    { kind: "call", method: SUM, id: 1, body: "null" },
    { kind: "end", id: 1 },
    { kind: "item", id: 1, body: "1" },
  ]],
  ["a second end", "malformed", [
    { kind: "call", method: SUM, id: 1, body: "null" },
    { kind: "end", id: 1 },
    { kind: "end", id: 1 },
  ]],
  ["an error of items with a number that is no code", "malformed", [
    { kind: "call", method: SUM, id: 1, body: "null" },
    { kind: "error", id: 1, value: 99 },
  ]],
  ["an application's error without a reason", "malformed", [
    { kind: "call", method: SUM, id: 1, body: "null" },
    { kind: "error", id: 1, value: 1, body: "no line feed" },
  ]],
  ["credit for a method that gives no items", "malformed", [
    { kind: "call", method: SLOW, id: 1, body: "1" },
    { kind: "credit", id: 1, value: 1 },
  ]],
  ["a stop of a method that gives no items", "malformed", [
    { kind: "call", method: SLOW, id: 1, body: "1" },
    { kind: "stop", id: 1 },
  ]],
  ["credit for items that were not sent", "malformed", [
    { kind: "call", method: BOTH, id: 1, body: "null" },
    { kind: "credit", id: 1, value: 1 },
  ]],
  ["a pong for no ping", "malformed", [{ kind: "pong", value: 1 }]],
  ["a call after drain", "malformed", [{ kind: "drain" }, { kind: "call", method: ECHO, id: 1, body: "1" }]],
  ["a second drain", "malformed", [{ kind: "drain" }, { kind: "drain" }]],
  ["a hello after the handshake", "malformed", [{ kind: "hello" }]],
  ["a proof after the handshake", "malformed", [{ kind: "proof" }]],
  ["an accept after the handshake", "malformed", [{ kind: "accept" }]],
  ["a close with a number that is no reason", "malformed", [{ kind: "close", value: 99 }]],
];

for (const [what, reason, frames] of hostile) {
  Deno.test(`a session refuses ${what} as ${reason}`, async () => {
    const stage = new Stage({ serves: watched().served, limits: { maxConcurrentCalls: 4 } });
    const last = frames.at(-1);
    assert(last !== undefined);
    for (const frame of frames.slice(0, -1)) assert.equal(stage.receive(frame), null);
    assert.throws(
      () => stage.receive(last),
      (error: Error) => "reason" in error && error.reason === reason,
    );
    stage.session.end(new ConnectionError("malformed", "here", "the test is over"));
    await settled();
    assert.equal(stage.timers.pending, 0);
  });
}

const badAnswers: readonly (readonly [string, string, "slow" | "count", readonly SentFrame[]])[] = [
  ["a reply that is no JSON", "undecodable", "slow", [{ kind: "reply", id: 1, body: "{" }]],
  ["a reply to a stream", "malformed", "count", [{ kind: "reply", id: 1, body: "1" }]],
  ["an end of a call with one output", "malformed", "slow", [{ kind: "end", id: 1 }]],
  ["an item of a call with one output", "malformed", "slow", [{ kind: "item", id: 1, body: "1" }]],
  ["a stop of items that there are none of", "malformed", "slow", [{ kind: "stop", id: 1 }]],
  ["credit for items that there are none of", "malformed", "slow", [{ kind: "credit", id: 1, value: 1 }]],
  ["a cancel from the handler's side", "malformed", "slow", [{ kind: "cancel", id: 1, value: 3 }]],
  ["an error with the code of lost connections", "malformed", "slow", [{ kind: "error", id: 1, value: 10 }]],
  ["an error with the number 0", "malformed", "slow", [{ kind: "error", id: 1, value: 0 }]],
];

for (const [what, reason, method, frames] of badAnswers) {
  Deno.test(`a caller refuses ${what} as ${reason}`, async () => {
    const stage = new Stage({ role: "dialler", calls: everything });
    const { slow, count } = stage.session.client;
    const outcome = method === "count" ? count(1).next() : slow(1);
    const code = outcome.then(() => "none", (error: RpcError) => error.code);
    for (const frame of frames) {
      assert.throws(
        () => stage.receive(frame),
        (error: Error) => "reason" in error && error.reason === reason,
      );
    }
    stage.session.end(new ConnectionError("malformed", "here", "closed for it"));
    assert.equal(await code, "disconnected");
    assert.deepEqual(stage.session.counts(), {
      pending: 0,
      waiting: 0,
      handlers: 0,
      streams: 0,
      timers: 0,
      queuedBytes: 0,
    });
  });
}

import assert from "node:assert/strict";
import fc from "fast-check";
import {
  decodeCallError,
  decodeClose,
  encodeCallError,
  encodeClose,
} from "../../../src/protocol/rpc/error_body.ts";
import {
  ApplicationError,
  CALL_ERROR_NUMBERS,
  type CallErrorCode,
  CLOSE_REASON_NUMBERS,
  type CloseReason,
  RpcError,
} from "../../../src/protocol/rpc/errors.ts";
import { FrameError } from "../../../src/protocol/rpc/frame.ts";
import { holds } from "../../property.ts";

Deno.test("errors of every code come back as they were, but for those of another connection", () => {
  for (const code of Object.keys(CALL_ERROR_NUMBERS) as CallErrorCode[]) {
    const error = code === "application"
      ? new ApplicationError("a.b-c_1", "text")
      : new RpcError(code, "text");
    const { value, body } = encodeCallError(error);
    const back = decodeCallError(value, body);
    assert.equal(back.code, code === "disconnected" ? "internal" : code);
    assert.equal(back.message, "text");
    assert.equal(
      back instanceof ApplicationError ? back.reason : null,
      code === "application" ? "a.b-c_1" : null,
    );
  }
});

Deno.test("messages are cut to 1024 bytes between two characters", () => {
  holds(fc.property(fc.string({ unit: "grapheme", maxLength: 2000 }), (text) => {
    const { value, body } = encodeCallError(new ApplicationError("reason", text));
    const back = decodeCallError(value, body);
    assert(body.length <= 7 + 1024);
    assert(text.toWellFormed().startsWith(back.message));
    assert(back.message.length === text.length || body.length > 7 + 1020);
  }));
});

Deno.test("decodeCallError() refuses numbers, reasons and text that are none", () => {
  const utf8 = (text: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(text);
  for (const value of [0, 10, 11, 0xffff_ffff]) {
    assert.throws(() => decodeCallError(value, utf8("x")), FrameError);
  }
  for (const text of ["", "\n", "no line feed", "two words\nx", `${"r".repeat(65)}\nx`]) {
    assert.throws(() => decodeCallError(1, utf8(text)), FrameError);
  }
  assert.throws(() => decodeCallError(2, new Uint8Array([0xff])), FrameError);
  assert.throws(() => decodeCallError(2, new Uint8Array(1025).fill(0x61)), FrameError);
});

Deno.test("messages of the other side drive no terminal and forge no line of a log", () => {
  const body = new TextEncoder().encode("\x1b]0;x\x07\x1b[2J\r\n\u009b\u2028\u202efdp\ufeff");
  const harmless = "?]0;x??[2J?????fdp?";
  assert.equal(decodeClose(0, body).message, harmless);
  assert.equal(decodeCallError(CALL_ERROR_NUMBERS.internal, body).message, harmless);
  const refused = decodeCallError(1, new TextEncoder().encode(`a\n${new TextDecoder().decode(body)}`));
  assert.equal(refused.message, harmless);
  const words =
    "na\u0308chste Ti\u1ebft, \u0928\u092e\u0938\u094d\u0924\u0947\u00a0\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645 \u{1f469}\u200d\u{1f4bb}";
  assert.equal(decodeClose(0, new TextEncoder().encode(words)).message, words);
});

Deno.test("reasons of closing come back as they were, those of this side alone as normal", () => {
  for (const reason of [...Object.keys(CLOSE_REASON_NUMBERS), "lost", "aborted"] as CloseReason[]) {
    const { value, body } = encodeClose(reason, "m".repeat(300));
    const back = decodeClose(value, body);
    assert.equal(back.reason, reason === "lost" || reason === "aborted" ? "normal" : reason);
    assert.deepEqual([back.by, back.message], ["there", "m".repeat(256)]);
  }
  assert.throws(() => decodeClose(9, new Uint8Array(0)), FrameError);
  assert.throws(() => decodeClose(0, new Uint8Array([0xc0, 0x80])), FrameError);
});

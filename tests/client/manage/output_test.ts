/** Output of many hosts: as lines, and captured. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { CapturedOutput } from "../../../src/client/manage/captured_output.ts";
import { LineOutput } from "../../../src/client/manage/line_output.ts";
import { Collected } from "./collected.ts";

const encoder = new TextEncoder();

function lines(
  host: string,
  isTerminal = false,
): { readonly output: LineOutput; readonly printed: Collected } {
  const printed = new Collected();
  const output = new LineOutput(host, (bytes) => Promise.resolve(printed.take(bytes)), isTerminal);
  return { output, printed };
}

Deno.test("LineOutput puts the name before each line, and ends the last one", async () => {
  const { output, printed } = lines("web1");
  for (const part of ["on", "e\ntwo\n", "\nlast"]) await output.take(encoder.encode(part));
  assert.equal(printed.text, "web1: one\nweb1: two\nweb1: \n");
  await output.end();
  assert.equal(printed.text, "web1: one\nweb1: two\nweb1: \nweb1: last\n");
});

Deno.test("LineOutput prints nothing of a program that prints nothing", async () => {
  const { output, printed } = lines("web1");
  await output.take(new Uint8Array(0));
  await output.end();
  assert.equal(printed.bytes, 0);
});

Deno.test("LineOutput writes whole lines only, however they come in pieces", async () => {
  const pieces = fc.array(fc.string({ unit: fc.constantFrom("a", "b", "\n"), minLength: 1, maxLength: 6 }));
  await fc.assert(fc.asyncProperty(pieces, async (texts) => {
    const written: string[] = [];
    const output = new LineOutput("h", (bytes) => {
      written.push(new TextDecoder().decode(bytes));
      return Promise.resolve();
    }, true);
    for (const text of texts) {
      const piece = encoder.encode(text);
      await output.take(piece);
      // Whoever gave them may use them again.
      piece.fill(0);
    }
    await output.end();
    assert(written.every((each) => each.endsWith("\n")));
    const text = texts.join(""), expected = text === "" ? [] : text.replace(/\n$/, "").split("\n");
    assert.equal(written.join(""), expected.map((line) => `h: ${line}\n`).join(""));
  }));
});

Deno.test("LineOutput cuts a line without an end, so that it needs no memory without one", async () => {
  const { output, printed } = lines("h");
  const long = encoder.encode("x".repeat(150_000));
  await output.take(long);
  assert(printed.bytes > 131_000);
  await output.end();
  const parts = printed.text.split("\n");
  assert.equal(parts.pop(), "");
  assert(parts.every((part) => part.startsWith("h: ")));
  assert.equal(parts.map((part) => part.slice(3)).join(""), "x".repeat(150_000));
});

Deno.test("LineOutput lets no host drive a terminal, and changes nothing for a program that reads", async () => {
  const text = "a\rweb2: fine\n\x1b[2Ab\u009bc\u0085d\x08e\x7f\0\tü é\r\nlast\x1b";
  const shown = "evil: a?web2: fine\nevil: ?[2Ab??c??d?e??\tü é\r\nevil: last?\n";
  for (const isTerminal of [true, false]) {
    const { output, printed } = lines("evil", isTerminal);
    // Byte by byte: nothing is told from a piece alone.
    for (const byte of encoder.encode(text)) await output.take(Uint8Array.of(byte));
    await output.end();
    const exact = text.split("\n").map((line) => `evil: ${line}\n`).join("");
    assert.equal(printed.text, isTerminal ? shown : exact);
  }
});

Deno.test("LineOutput and CapturedOutput take a flood of single bytes as quickly as the same in one piece", async () => {
  // With work that grows by the square of a line, this takes minutes.
  const text = "x".repeat(200 * 1024), bytes = encoder.encode(text);
  const { output, printed } = lines("h"), whole = lines("h"), captured = new CapturedOutput();
  for (let at = 0; at < bytes.length; at++) {
    await output.take(bytes.subarray(at, at + 1));
    captured.take(bytes.subarray(at, at + 1));
  }
  await whole.output.take(bytes);
  await Promise.all([output.end(), whole.output.end()]);
  assert.equal(printed.text, whole.printed.text);
  assert.deepEqual(captured.shown(), { text, cutBytes: 0 });
});

Deno.test("CapturedOutput gives text, or base64 of what is none", () => {
  const text = new CapturedOutput();
  text.take(encoder.encode("\ufeffgr"));
  text.take(encoder.encode("üße"));
  assert.deepEqual(text.shown(), { text: "\ufeffgrüße", cutBytes: 0 });
  const bytes = new CapturedOutput();
  bytes.take(Uint8Array.of(0, 255, 10));
  assert.deepEqual(bytes.shown(), { base64: "AP8K", cutBytes: 0 });
  assert.deepEqual(new CapturedOutput().shown(), { text: "", cutBytes: 0 });
});

Deno.test("CapturedOutput keeps what there is room for, and counts the rest", () => {
  const output = new CapturedOutput(5);
  for (const part of ["abc", "dü", "more"]) output.take(encoder.encode(part));
  // The two bytes of the last character do not both fit.
  assert.deepEqual(output.shown(), { text: "abcd", cutBytes: 5 });
  const whole = new CapturedOutput(3);
  whole.take(Uint8Array.of(0x61, 0xc3));
  // Nothing was cut off: this is no text.
  assert.deepEqual(whole.shown(), { base64: "YcM=", cutBytes: 0 });
});

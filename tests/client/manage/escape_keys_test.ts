import assert from "node:assert/strict";
import fc from "fast-check";
import { EscapeKeys, type Typed } from "../../../src/client/manage/escape_keys.ts";
import { holds } from "../../property.ts";

function bytes(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text);
}

/** Commands in angle brackets, neighbouring bytes joined. */
function shown(typed: readonly Typed[]): string {
  return typed.map((each) => typeof each === "string" ? `<${each}>` : new TextDecoder().decode(each)).join(
    "",
  );
}

const CASES: readonly (readonly [string, string])[] = [
  ["ls\r", "ls\r"],
  ["~.", "<leave>"],
  ["~d", "<detach>"],
  ["~?", "<help>"],
  ["~~", "~"],
  // Only at the beginning of a line.
  ["a~.", "a~."],
  ["a\r~.", "a\r<leave>"],
  ["a\n~.", "a\n<leave>"],
  ["a\x03~.", "a\x03~."],
  // Anything else behind it is sent with it, and the line goes on.
  ["~x~.", "~x~."],
  ["~/file\r", "~/file\r"],
  ["~\r~.", "~\r<leave>"],
  ["~~~.", "~~."],
  ["~~.", "~."],
  // Behind a command it is still the beginning of a line.
  ["~?~.", "<help><leave>"],
  ["~?ls\r~?~?x~.", "<help>ls\r<help><help>x~."],
  ["~D~.", "~D~."],
  ["\x1b[A~.", "\x1b[A~."],
];

for (const [typed, expected] of CASES) {
  Deno.test(`EscapeKeys.take() makes ${JSON.stringify(expected)} of ${JSON.stringify(typed)}, however it is split`, () => {
    const all = bytes(typed);
    for (let mask = 0; mask < 2 ** Math.max(0, all.length - 1) && mask < 1024; mask++) {
      const keys = new EscapeKeys();
      const found: Typed[] = [];
      let from = 0;
      for (let at = 1; at <= all.length; at++) {
        if (at < all.length && (mask & (1 << (at - 1))) === 0) continue;
        found.push(...keys.take(all.subarray(from, at)));
        from = at;
      }
      assert.equal(shown(found), expected);
    }
  });
}

Deno.test("EscapeKeys.take() keeps every byte of any text without a ~, and holds none back", () => {
  holds(fc.property(fc.array(fc.uint8Array({ minLength: 1, maxLength: 9 }), { maxLength: 9 }), (pieces) => {
    const plain = pieces.map((piece) => piece.map((byte) => byte === 0x7e ? 0x21 : byte));
    const keys = new EscapeKeys();
    for (const piece of plain) {
      const found = keys.take(piece);
      assert.deepEqual(found, [Uint8Array.from(piece)]);
    }
  }));
});

Deno.test("EscapeKeys.take() gives pieces of their own, whatever becomes of what was given in", () => {
  const typed = bytes("abc");
  const [piece] = new EscapeKeys().take(typed);
  typed.fill(0);
  assert.deepEqual(piece, bytes("abc"));
});

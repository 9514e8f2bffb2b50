import assert from "node:assert/strict";
import fc from "fast-check";
import {
  formatKey,
  formatKeyId,
  generateKey,
  KEY_BYTES,
  KEY_TEXT_CHARS,
  KeyError,
  parseKey,
} from "../../../src/protocol/knock/key.ts";
import { holds } from "../../property.ts";
import { bytesOf, key } from "./arbitraries.ts";

const text = "AQIDBAUGBwgAAQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHw==";

function refusal(wrong: string): string {
  try {
    parseKey(wrong);
  } catch (error) {
    assert(error instanceof KeyError);
    return error.message;
  }
  return "accepted";
}

Deno.test("parseKey() takes the id from the first 8 bytes and the secret from the 32 after them", () => {
  const { id, secret } = parseKey(text);
  assert.equal(id, 0x0102030405060708n);
  assert.deepEqual(secret, Uint8Array.from({ length: 32 }, (_, i) => i));
});

Deno.test("parseKey() trims white space at both ends, as files and editors add it", () => {
  for (const around of [`${text}\n`, `${text}\r\n`, `  ${text}\t\n\n`, `\n${text}`]) {
    assert.equal(formatKey(parseKey(around)), text);
  }
});

Deno.test("parseKey() says what is wrong and nothing of what was found", () => {
  const notBase64 = [
    text.slice(0, 28) + "\n" + text.slice(28),
    text.slice(0, 28) + " " + text.slice(28),
    text.slice(0, -1),
    text.slice(0, -2),
    text + "=",
    text.slice(0, -3) + "x==", // trailing bits that are not zero
    "-" + text.slice(1), // the url-safe alphabet
    "_" + text.slice(1),
    text.replace("A", "\u0100"),
    text.replace("A", "%"),
    "=".repeat(56),
  ];
  for (const wrong of notBase64) {
    assert.match(refusal(wrong), /not base64/);
  }
  assert.match(refusal(""), /too short, found nothing where a key has 40/);
  assert.match(refusal(" \n"), /too short, found nothing/);
  assert.match(refusal("AAAA"), /too short, found 3 bytes/);
  assert.match(refusal(new Uint8Array(39).toBase64()), /too short, found 39 bytes/);
  assert.match(refusal(new Uint8Array(41).toBase64()), /wrong length, found 41 bytes/);
  assert.match(refusal(new Uint8Array(4000).toBase64()), /wrong length, found 4000 bytes/);
  for (const wrong of [...notBase64, "AAAA", text + text]) {
    const message = refusal(wrong);
    for (let at = 0; at + 6 <= wrong.length; at++) {
      assert(!message.includes(wrong.slice(at, at + 6)), `${message} quotes ${wrong}`);
    }
  }
});

Deno.test("formatKey() gives 56 characters that parseKey() reads back", () => {
  holds(fc.property(key(), (any) => {
    const formatted = formatKey(any);
    assert.equal(formatted.length, KEY_TEXT_CHARS);
    assert.deepEqual(parseKey(formatted), any);
  }));
});

Deno.test("formatKey() refuses an id or a secret that is no key's", () => {
  const secret = new Uint8Array(32);
  for (
    const wrong of [{ id: -1n, secret }, { id: 2n ** 64n, secret }, { id: 1n, secret: new Uint8Array(31) }]
  ) {
    assert.throws(() => formatKey(wrong), KeyError);
  }
});

Deno.test("parseKey() accepts one text for each key, whatever one character is changed to", () => {
  holds(
    fc.property(bytesOf(KEY_BYTES), fc.nat(KEY_TEXT_CHARS - 1), fc.string({ minLength: 1, maxLength: 2 }), (
      bytes,
      at,
      insert,
    ) => {
      const valid = bytes.toBase64();
      const changed = valid.slice(0, at) + insert + valid.slice(at + 1);
      const message = refusal(changed);
      const canonical = message === "accepted" ? formatKey(parseKey(changed)) : "";
      assert.equal(message === "accepted", canonical === changed.trim(), message);
    }),
  );
});

Deno.test("generateKey() takes all 40 bytes from the given randomness", () => {
  const generated = generateKey((bytes) => bytes.set(bytes.map((_, i) => 200 + i)));
  assert.equal(generated.id, 0xc8c9cacbcccdcecfn);
  assert.deepEqual(generated.secret, Uint8Array.from({ length: 32 }, (_, i) => 208 + i));
});

Deno.test("generateKey() never repeats itself", () => {
  assert.equal(new Set(Array.from({ length: 100 }, () => formatKey(generateKey()))).size, 100);
});

Deno.test("formatKeyId() pads to 16 hex digits", () => {
  assert.equal(formatKeyId(0n), "0000000000000000");
  assert.equal(formatKeyId(0x0102030405060708n), "0102030405060708");
  assert.equal(formatKeyId(2n ** 64n - 1n), "ffffffffffffffff");
});

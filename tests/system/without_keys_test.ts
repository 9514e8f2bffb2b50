import assert from "node:assert/strict";
import fc from "fast-check";
import { formatKey, generateKey } from "../../src/protocol/knock/key.ts";
import { withoutKeys } from "../../src/system/without_keys.ts";
import { holds } from "../property.ts";

const anyKey = fc.uint8Array({ minLength: 40, maxLength: 40 })
  .map((bytes) => formatKey(generateKey((buffer) => buffer.set(bytes))));
/** What may stand around a key: base64 letters too, since "/" is one and paths are made of them. */
const anyText = fc.oneof(fc.string(), fc.constantFrom("/home/user/", "file://", '"', "a=", "-k", "\n"));

Deno.test("withoutKeys() leaves no key in any text, with and without its padding", () => {
  holds(fc.property(anyKey, anyText, anyText, fc.boolean(), (key, before, after, isPadded) => {
    const bare = key.replace(/=+$/, "");
    const text = `${before}${isPadded ? key : bare}${isPadded || /^[A-Za-z0-9+/]/.test(after) ? "" : after}`;
    const shown = withoutKeys(text);
    assert(!shown.includes(bare), shown);
    assert(shown.startsWith(before) && shown.includes("<key>"), shown);
  }));
});

Deno.test("withoutKeys() finds each of many keys", () => {
  const [one, two] = [formatKey(generateKey()), formatKey(generateKey())];
  assert.equal(withoutKeys(`open '${one}': ${two}${one}.`), "open '<key>': <key><key>.");
});

const KEPT = [
  "",
  'sent "open_ssh" to [2001:db8:1234:5678:9abc:def0:1234:5678]:65535; the server never answers',
  "/home/someone/.config/postern/a_rather_long_folder_name/user.key",
  "0".repeat(53),
  "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
  "340282366920938463463374607431768211455",
];
for (const text of KEPT) {
  Deno.test(`withoutKeys() keeps "${text.slice(0, 40)}"`, () => {
    assert.equal(withoutKeys(text), text);
  });
}

import assert from "node:assert/strict";
import fc from "fast-check";
import { isVisibleText, MAX_SHOWN_CHARACTERS, shownText } from "../../../src/protocol/manage/shown_text.ts";
import { anyText } from "./schema_checks.ts";
import { holds } from "../../property.ts";

Deno.test("shownText() leaves words as they are and takes out what drives a terminal", () => {
  assert.equal(
    shownText("web1 refuses: forward – not allowed (日本)"),
    "web1 refuses: forward – not allowed (日本)",
  );
  assert.equal(shownText("a\u001b[2Jb\nc\rd\u0007\u009bx"), "a?[2Jb?c?d??x");
  assert.equal(shownText("a\u202eb\u2028c\u200bd\ud800e"), "a?b?c?d?e");
});

Deno.test("shownText() cuts, also in the middle of a character", () => {
  assert.equal(shownText("x".repeat(300)), "x".repeat(300));
  assert.equal(shownText("x".repeat(301)), `${"x".repeat(297)}...`);
  const cut = shownText(`${"x".repeat(296)}😀${"y".repeat(50)}`);
  assert.equal(cut, `${"x".repeat(296)}?...`);
});

Deno.test("shownText() is visible and short whatever it is given", () => {
  holds(fc.property(fc.oneof(anyText(700), fc.string()), (text) => {
    const shown = shownText(text);
    assert(isVisibleText(shown) && shown.length <= MAX_SHOWN_CHARACTERS);
    assert(shown.isWellFormed());
    if (isVisibleText(text) && text.length <= MAX_SHOWN_CHARACTERS) assert.equal(shown, text);
  }));
});

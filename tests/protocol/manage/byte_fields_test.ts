import assert from "node:assert/strict";
import {
  FieldReader,
  joinBytes,
  shortText,
  u16,
  u32,
  u64,
  u8,
} from "../../../src/protocol/manage/byte_fields.ts";
import { refusedAs } from "./link_sides.ts";

Deno.test("FieldReader takes apart what the writers put together, in memory of its own", () => {
  const bytes = joinBytes(u8(1), u16(0x0203), u32(0x04050607), u64(2 ** 53 - 1), shortText("a b"), u8(9));
  assert.equal(bytes.toHex(), "01" + "0203" + "04050607" + "001fffffffffffff" + "03612062" + "09");
  const reader = new FieldReader(bytes, "a test");
  assert.deepEqual(
    [reader.u8(), reader.u16(), reader.u32(), reader.u64(), reader.shortText()],
    [1, 0x0203, 0x04050607, 2 ** 53 - 1, "a b"],
  );
  const rest = reader.rest();
  bytes.fill(0);
  assert.deepEqual(rest, Uint8Array.of(9));
  reader.requireEnd();
});

Deno.test("FieldReader refuses bytes that end early, go on, or say what cannot be said, by what they are", () => {
  const wrong: readonly ((reader: FieldReader) => unknown)[] = [
    (reader) => reader.take(10),
    (reader) => reader.u64(),
    (reader) => reader.shortText(),
    (reader) => reader.requireEnd(),
  ];
  for (const act of wrong) {
    assert.throws(() => act(new FieldReader(new Uint8Array(9).fill(0xff), "a test")), (error: unknown) => {
      refusedAs("malformed", "here")(error);
      assert.match(String(error), /cannot read a test: /);
      return true;
    });
  }
  for (const text of ["\u0000", "\n", "\u001b", "\u007f"]) {
    const bytes = joinBytes(u8(1), new TextEncoder().encode(text));
    assert.throws(() => new FieldReader(bytes, "a test").shortText(), refusedAs("malformed"));
    assert.throws(() => shortText(text), TypeError);
  }
  assert.throws(() => new FieldReader(Uint8Array.of(1, 0xe9), "a test").shortText(), refusedAs("malformed"));
  assert.throws(() => shortText("a".repeat(256)), TypeError);
  assert.equal(shortText("a".repeat(255)).length, 256);
});

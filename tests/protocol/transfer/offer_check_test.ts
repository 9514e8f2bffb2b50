import assert from "node:assert/strict";
import fc from "fast-check";
import { DEFAULT_LIMITS } from "../../../src/protocol/transfer/limits.ts";
import { entriesMessages } from "../../../src/protocol/transfer/message_codec.ts";
import type { OfferMessage } from "../../../src/protocol/transfer/messages.ts";
import type { OfferEntry } from "../../../src/protocol/transfer/offer.ts";
import { MAX_TEXT_BYTES, OfferCheck } from "../../../src/protocol/transfer/offer_check.ts";
import { holds } from "../../property.ts";
import { fileEntry, folderEntry } from "./memory_source.ts";

function announced(entries: number, totalBytes: number, kind: "files" | "text" = "files"): OfferMessage {
  return { type: "offer", kind, entries, totalBytes };
}

function refuses(act: () => unknown, code: "limit" | "malformed", found: RegExp): void {
  assert.throws(act, { name: "TransferError", code, message: found });
}

const anyEntry = fc.oneof(
  fc.string({ minLength: 1, maxLength: 60, unit: "binary" }).map((path) => folderEntry(path)),
  fc.tuple(fc.string({ minLength: 1, maxLength: 60 }), fc.nat()).map(([path, size]) => fileEntry(path, size)),
);

Deno.test("OfferCheck puts an offer together from whatever pieces it comes in", () => {
  holds(
    fc.property(fc.array(anyEntry, { minLength: 1, maxLength: 300 }), (entries: readonly OfferEntry[]) => {
      const totalBytes = entries.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
      const check = new OfferCheck(announced(entries.length, totalBytes), DEFAULT_LIMITS);
      for (const message of entriesMessages(entries)) {
        assert.equal(check.isComplete, false);
        check.add(message.entries);
      }
      assert.ok(check.isComplete);
      assert.deepEqual(check.offer(), { kind: "files", entries, totalBytes });
    }),
  );
});

Deno.test("OfferCheck accepts exactly as much as its limits say", () => {
  const limits = { maxEntries: 2, maxPathBytes: 4, maxTotalBytes: 10 };
  const check = new OfferCheck(announced(2, 10), limits);
  check.add([fileEntry("ä", 10), folderEntry("bc")]);
  assert.equal(check.offer().totalBytes, 10);
  refuses(() => new OfferCheck(announced(3, 10), limits), "limit", /found 3 entries, accepted are 2$/);
  refuses(() => new OfferCheck(announced(2, 11), limits), "limit", /found 11 bytes, accepted are 10$/);
  const names = new OfferCheck(announced(2, 10), limits);
  refuses(
    () => names.add([fileEntry("ä", 1), fileEntry("bcd", 1)]),
    "limit",
    /found 5 bytes of names, accepted are 4$/,
  );
});

Deno.test("OfferCheck accepts a text of one file of at most a mebibyte", () => {
  const check = new OfferCheck(announced(1, MAX_TEXT_BYTES, "text"), DEFAULT_LIMITS);
  check.add([fileEntry("text", MAX_TEXT_BYTES)]);
  assert.equal(check.offer().kind, "text");
  assert.equal(MAX_TEXT_BYTES, 1_048_576);
});

Deno.test("OfferCheck takes no sum of sizes for right that is none", () => {
  const check = new OfferCheck(announced(2, 7), DEFAULT_LIMITS);
  check.add([fileEntry("a", 3)]);
  refuses(() => check.offer(), "malformed", /found 3 bytes in all, announced were 7$/);
  refuses(() => check.add([fileEntry("b", 5)]), "malformed", /found more bytes than the 7/);
});

/** What a person sees of an offer before it is taken. */
import assert from "node:assert/strict";
import { offerLines, offerSummary, shown } from "../../src/cli/transfer_offer.ts";
import type { Offer, OfferEntry } from "../../src/protocol/transfer/offer.ts";

function offerOf(entries: readonly (readonly [path: string, sizeBytes: number | null])[]): Offer {
  const made = entries.map(([path, sizeBytes]): OfferEntry => ({
    kind: sizeBytes === null ? "folder" : "file",
    path,
    sizeBytes: sizeBytes ?? 0,
    modifiedMs: 0,
    mode: 0o644,
  }));
  return { kind: "files", entries: made, totalBytes: made.reduce((sum, each) => sum + each.sizeBytes, 0) };
}

Deno.test("offerSummary() counts files and folders apart", () => {
  assert.equal(offerSummary(offerOf([["a", 5]])), "1 file, 5 B");
  assert.equal(
    offerSummary(offerOf([["d", null], ["d/a", 1000], ["b", 500]])),
    "2 files and 1 folder, 1.5 kB",
  );
  assert.equal(offerSummary(offerOf([["d", null]])), "1 folder, 0 B");
  assert.equal(offerSummary({ ...offerOf([["text", 34]]), kind: "text" }), "a text of 34 B");
});

Deno.test("offerLines() has a line for each thing at the top, with all that is in it", () => {
  assert.deepEqual(
    offerLines(offerOf([["photos", null], ["photos/1.jpg", 1000], ["photos/2.jpg", 500], ["b", 7]])),
    [
      "  photos/  2 files, 1.5 kB",
      "  b  7 B",
    ],
  );
  assert.deepEqual(offerLines({ ...offerOf([["text", 34]]), kind: "text" }), []);
});

Deno.test("offerLines() marks hidden names, also those that lie deep in a folder", () => {
  assert.deepEqual(
    offerLines(offerOf([[".bashrc", 7], ["d", null], ["d/.git", null], ["d/.git/config", 3]])),
    [
      "  .bashrc  7 B  (hidden)",
      "  d/  1 file, 3 B",
      "hidden, as their names begin with a dot: 3 paths",
      "  .bashrc",
      "  d/.git",
      "  d/.git/config",
    ],
  );
});

Deno.test("offerLines() fits on a screen, whatever is offered", () => {
  const many = offerOf(Array.from({ length: 50_000 }, (_, i) => [`.${"x".repeat(300)}${i}`, 1]));
  const lines = offerLines(many);
  assert.equal(lines.length, 20 + 1 + 1 + 10 + 1);
  assert.equal(lines[20], "  ... and 49,980 more");
  assert.equal(lines.at(-1), "  ... and 49,990 more");
  for (const line of lines) assert(line.length < 130, line);
});

Deno.test("shown() lets nothing through that could drive a terminal", () => {
  const evil = "a\x1b[2J\u202e\n\x07b";
  assert.equal(shown(evil), "a\\u001b[2J\\u202e\\u000a\\u0007b");
  assert(!offerLines(offerOf([[evil, 1]])).join("").includes("\x1b"));
});

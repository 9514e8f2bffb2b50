import assert from "node:assert/strict";
import fc from "fast-check";
import { didYouMean, editDistance, suggest } from "../../src/system/suggest.ts";
import { holds } from "../property.ts";

Deno.test("suggest() finds what a slip of the finger meant", () => {
  const words = ["address", "ips", "socket_dir", "socket_user"];
  assert.equal(suggest("adress", words), "address");
  assert.equal(suggest("socket_dri", words), "socket_dir");
  assert.equal(suggest("socketuser", words), "socket_user");
  assert.equal(suggest("ip", words), "ips");
});

Deno.test("suggest() keeps quiet when nothing is near", () => {
  assert.equal(suggest("blocklist", ["address", "ips"]), undefined);
  assert.equal(suggest("xy", ["ips"]), undefined);
  assert.equal(suggest("anything", []), undefined);
});

Deno.test("didYouMean() ends a sentence with the suggestion, or not at all", () => {
  assert.equal(didYouMean("adress", ["address", "ips"]), " (did you mean address?)");
  assert.equal(didYouMean("blocklist", ["address", "ips"]), "");
});

Deno.test("editDistance() counts a swap of neighbours as one step", () => {
  assert.equal(editDistance("ab", "ba"), 1);
  assert.equal(editDistance("ca", "abc"), 3);
  assert.equal(editDistance("", "abc"), 3);
});

Deno.test("editDistance() is symmetric, zero only for equal words, and at most 1 after one edit", () => {
  holds(fc.property(fc.string(), fc.string(), fc.nat(), (a, b, position) => {
    assert.equal(editDistance(a, b), editDistance(b, a));
    assert.equal(editDistance(a, b) === 0, a === b);
    const cut = position % (a.length + 1);
    assert.ok(editDistance(a, a.slice(0, cut) + "x" + a.slice(cut)) <= 1);
  }));
});

import assert from "node:assert/strict";
import fc from "fast-check";
import { compareVersions, isReleaseVersion } from "../../../src/setup/update/release_version.ts";
import { holds } from "../../property.ts";

/** In order, from the specification (Semantic Versioning 2.0.0, 11.4) and around it. */
const ORDERED = [
  "0.0.0",
  "0.9.9",
  "1.0.0-0",
  "1.0.0-2",
  "1.0.0-10",
  "1.0.0--",
  "1.0.0-alpha",
  "1.0.0-alpha.1",
  "1.0.0-alpha.beta",
  "1.0.0-beta",
  "1.0.0-beta.2",
  "1.0.0-beta.11",
  "1.0.0-rc.1",
  "1.0.0",
  "1.0.1",
  "1.2.0",
  "1.10.0",
  "2.0.0",
  "10.0.0",
];

Deno.test("compareVersions() orders as Semantic Versioning does", () => {
  for (const [i, a] of ORDERED.entries()) {
    for (const [j, b] of ORDERED.entries()) {
      assert.equal(Math.sign(compareVersions(a, b)), Math.sign(i - j), `${a} and ${b}`);
    }
  }
});

Deno.test("isReleaseVersion() takes no text that could be more than the name of a folder", () => {
  for (const version of ORDERED) assert.ok(isReleaseVersion(version), version);
  const refused = [
    "",
    "1",
    "1.0",
    "v1.0.0",
    "01.0.0",
    "1.0.0-01",
    "1.0.0-",
    "1.0.0-a..b",
    "1.0.0+build",
    "1.0.0\n",
    " 1.0.0",
    "../1.0.0",
    "1.0.0/..",
    "latest",
    "1.0.0-..",
    "1.0.9999999999",
    "١.0.0",
  ];
  for (const version of refused) assert.ok(!isReleaseVersion(version), JSON.stringify(version));
  holds(fc.property(fc.string({ unit: "binary" }), (text) => {
    assert.ok(!isReleaseVersion(text) || /^[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?$/.test(text));
    assert.ok(!isReleaseVersion(`${text}/x`) && !isReleaseVersion(`../${text}`));
  }));
});

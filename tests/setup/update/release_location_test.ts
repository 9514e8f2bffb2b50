import assert from "node:assert/strict";
import {
  parseReleaseLocation,
  serverScope,
  visibleLocation,
} from "../../../src/setup/update/release_location.ts";
import { UsageFailure } from "../../../src/system/failure.ts";

Deno.test("parseReleaseLocation() takes https anywhere, file of this machine, and http on loopback", () => {
  const good: readonly (readonly [string, string, string | null])[] = [
    ["https://releases.example/postern/", "https://releases.example/postern", "releases.example:443"],
    ["https://releases.example:8443", "https://releases.example:8443/", "releases.example:8443"],
    ["https://[2001:db8::1]/x", "https://[2001:db8::1]/x", "[2001:db8::1]:443"],
    ["http://127.0.0.1:8000/x", "http://127.0.0.1:8000/x", "127.0.0.1:8000"],
    ["http://[::1]", "http://[::1]/", "[::1]:80"],
    ["http://localhost:1", "http://localhost:1/", "localhost:1"],
    ["file:///srv/my%20releases/", "file:///srv/my releases", null],
  ];
  for (const [text, visible, scope] of good) {
    const location = parseReleaseLocation(text);
    assert.equal(visibleLocation(location), visible);
    assert.equal(location.kind === "server" ? serverScope(location.base) : null, scope);
  }
});

Deno.test("parseReleaseLocation() refuses everything else, and never shows a password", () => {
  const bad = [
    "",
    "releases.example",
    "/srv/releases",
    "http://releases.example",
    "http://127.0.0.1.evil.example",
    "http://localhost.example",
    "ftp://releases.example",
    "data:text/plain,x",
    "javascript:1",
    "file://host/srv",
    "file:///srv/%00",
    "file:///srv/%zz",
    "https://user:hunter2@releases.example",
    "https://hunter2@releases.example",
    "https://releases.example/?hunter2",
    "https://releases.example/#hunter2",
    "https://",
  ];
  for (const text of bad) {
    assert.throws(() => parseReleaseLocation(text), (error) => {
      assert.ok(error instanceof UsageFailure, text);
      assert.match(error.message, /^cannot use option --from: found .*accepted are https:/);
      assert.doesNotMatch(error.message, /hunter2/);
      return true;
    }, text);
  }
});

Deno.test("parseReleaseLocation() says how a bare path is written", () => {
  assert.throws(() => parseReleaseLocation("/srv/releases"), (error) => {
    assert.ok(error instanceof UsageFailure);
    assert.match(error.hint ?? "", /file:\/\/ before its path/);
    return true;
  });
});

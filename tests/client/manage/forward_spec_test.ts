import assert from "node:assert/strict";
import {
  declaredTargets,
  formatAddress,
  MAX_TARGETS,
  parseForwardSpec,
  parseSocksBind,
} from "../../../src/client/manage/forward_spec.ts";
import { UsageFailure } from "../../../src/system/failure.ts";

/** `BIND -> TARGET`. */
function shown(text: string): string {
  const { bind, target } = parseForwardSpec(text);
  return `${formatAddress(bind.hostname, bind.port)} -> ${formatAddress(target.host, target.port)}`;
}

const GOOD: readonly (readonly [string, string])[] = [
  ["5432", "127.0.0.1:5432 -> localhost:5432"],
  ["8080:10.0.0.5:80", "127.0.0.1:8080 -> 10.0.0.5:80"],
  ["8080:db.internal:80", "127.0.0.1:8080 -> db.internal:80"],
  ["8080:[2001:db8::1]:80", "127.0.0.1:8080 -> [2001:db8::1]:80"],
  ["[::1]:8080:db:5432", "[::1]:8080 -> db:5432"],
  ["0.0.0.0:8080:db:5432", "0.0.0.0:8080 -> db:5432"],
  ["[::]:8080:[fe80::1]:5432", "[::]:8080 -> [fe80::1]:5432"],
  ["localhost:5432", "localhost:5432 -> localhost:5432"],
  ["[::1]:5432", "[::1]:5432 -> localhost:5432"],
  ["0:db:5432", "127.0.0.1:0 -> db:5432"],
  ["65535", "127.0.0.1:65535 -> localhost:65535"],
];

for (const [text, expected] of GOOD) {
  Deno.test(`parseForwardSpec() reads ${text}`, () => assert.equal(shown(text), expected));
}

const BAD: readonly (readonly [string, RegExp])[] = [
  ["", /a port is empty/],
  ["0", /a port of 0 is any free one here, but the host's must be named/],
  ["65536", /"65536" is no port/],
  ["-1", /"-1" is no port/],
  ["1e3", /"1e3" is no port/],
  ["web", /"web" is no port/],
  ["8080:5432", /two ports without a host between/],
  ["8080:", /a port is empty/],
  [":8080", /a host is empty/],
  ["8080:db:0", /the host's port is 0/],
  ["8080:db:x", /"x" is no port/],
  ["8080::80", /a host is empty/],
  ["a:b:80", /"a" is no port, and the host's port is missing/],
  ["8080:d b:80", /"d b" is no name or address/],
  ["8080:*:80", /"\*" is no name or address/],
  ["8080:10.0.0.0/8:80", /is no name or address/],
  // A resolver would take it for an address, and no rule about addresses would know.
  ["8080:127.1:80", /"127\.1" is no name or address/],
  ["8080:[db]:80", /"\[db\]" is no name or address/],
  ["8080:[]:80", /"\[\]" is no name or address/],
  ["[::1:8080:db:80", /another form/],
  ["::1:8080:db:80", /another form/],
  ["1:2:3:4:5", /another form/],
  ["[[::1]]:1", /another form/],
  ["x[::1]:1", /another form/],
];

for (const [text, expected] of BAD) {
  Deno.test(`parseForwardSpec() refuses ${JSON.stringify(text)} as wrong usage and says why`, () => {
    assert.throws(() => parseForwardSpec(text), (error: unknown) => {
      assert(error instanceof UsageFailure);
      assert.match(error.message, expected);
      assert.match(error.message, /^cannot forward .*, accepted: PORT or PORT:HOST:PORT/);
      return true;
    });
  });
}

Deno.test("parseForwardSpec() says how two ports are meant to be written", () => {
  assert.throws(() => parseForwardSpec("8080:5432"), { hint: "did you mean 8080:localhost:5432" });
});

Deno.test("parseSocksBind() listens on 127.0.0.1 unless it is told otherwise", () => {
  assert.deepEqual(parseSocksBind("1080"), { hostname: "127.0.0.1", port: 1080 });
  assert.deepEqual(parseSocksBind("0"), { hostname: "127.0.0.1", port: 0 });
  assert.deepEqual(parseSocksBind("[::1]:1080"), { hostname: "::1", port: 1080 });
  for (const wrong of ["", "x", "1080:db:1", "a b:1080", "[::1:1"]) {
    assert.throws(() => parseSocksBind(wrong), /^UsageFailure: cannot use option --socks/);
  }
});

Deno.test("declaredTargets() names each target once, and for SOCKS those of --target or any", () => {
  const specs = ["1:db:5432", "2:db:5432", "3:[::1]:80"].map(parseForwardSpec);
  assert.deepEqual(declaredTargets(specs, false, undefined), ["db:5432", "[::1]:80"]);
  assert.deepEqual(declaredTargets(specs.slice(0, 1), true, undefined), ["db:5432", "*:*"]);
  assert.deepEqual(declaredTargets([], true, "10.0.0.0/8:*, *.lan:80-90"), ["10.0.0.0/8:*", "*.lan:80-90"]);
  assert.throws(
    () => declaredTargets([], true, "10.0.0.0/8"),
    /--target "10\.0\.0\.0\/8".*accepted: HOST:PORT/,
  );
  assert.throws(() => declaredTargets([], true, ""), /--target ""/);
  assert.throws(() => declaredTargets([], false, undefined), /cannot forward to 0 targets/);
  const many = Array.from({ length: MAX_TARGETS + 1 }, (_, i) => parseForwardSpec(`${i + 1}`));
  assert.throws(
    () => declaredTargets(many, false, undefined),
    /cannot forward to 33 targets: accepted are 1 to 32/,
  );
  assert.equal(declaredTargets(many.slice(1), false, undefined).length, MAX_TARGETS);
});

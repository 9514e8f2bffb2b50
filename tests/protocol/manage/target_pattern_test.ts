import assert from "node:assert/strict";
import fc from "fast-check";
import {
  covers,
  formatPattern,
  matchesTarget,
  MAX_PATTERN_CHARS,
  parseHostPort,
  parsePattern,
  TARGET_PATTERN_FORMS,
  tryParsePattern,
} from "../../../src/protocol/manage/target_pattern.ts";
import { ipFromBytes, ipToBytes, parseIp } from "../../../src/protocol/knock/address.ts";
import { holds } from "../../property.ts";

const MATCHES: readonly [pattern: string, host: string, port: number][] = [
  ["*:*", "db.internal", 5432],
  ["*:*", "10.1.2.3", 1],
  ["*:*", "2001:db8::1", 65_535],
  ["db.internal:5432", "db.internal", 5432],
  ["db.internal:5432", "DB.Internal.", 5432],
  ["DB.INTERNAL.:5432", "db.internal", 5432],
  ["*.internal:*", "a.internal", 80],
  ["*.internal:*", "a.b.internal", 80],
  ["10.0.0.0/8:22", "10.255.0.1", 22],
  ["10.0.0.0/8:22", "::ffff:10.1.1.1", 22],
  ["10.1.2.3:22", "10.1.2.3", 22],
  ["[::ffff:10.1.2.3]:22", "10.1.2.3", 22],
  ["0.0.0.0/0:22", "203.0.113.9", 22],
  ["192.168.5.0/23:1", "192.168.4.255", 1],
  ["[2001:db8::/32]:443", "2001:db8:ffff::1", 443],
  ["[2001:db8::1]:443", "2001:DB8:0:0::1", 443],
  ["[::/0]:443", "2001:db8::1", 443],
  ["[2001:db8:8000::/33]:1", "2001:db8:ffff::", 1],
  ["localhost:8000-8999", "localhost", 8000],
  ["localhost:8000-8999", "localhost", 8999],
  ["_srv.x:1", "_srv.x", 1],
];

const MISSES: readonly [pattern: string, host: string, port: number][] = [
  ["db.internal:5432", "db.internal", 5433],
  ["db.internal:5432", "xdb.internal", 5432],
  ["db.internal:5432", "db.internal.example", 5432],
  ["*.internal:*", "internal", 80],
  ["*.internal:*", "xinternal", 80],
  ["*.internal:*", "internal.example", 80],
  ["*.internal:*", "10.0.0.1", 80],
  ["10.0.0.0/8:22", "11.0.0.1", 22],
  ["10.0.0.0/8:22", "db.internal", 22],
  ["10.0.0.0/8:22", "a00::1", 22],
  ["0.0.0.0/0:22", "::1", 22],
  ["[::/0]:22", "10.0.0.1", 22],
  ["[2001:db8::/32]:443", "2001:db9::1", 443],
  ["192.168.5.0/24:1", "192.168.4.255", 1],
  ["[2001:db8:8000::/33]:1", "2001:db8:7fff::", 1],
  ["10.1.2.3:22", "10.1.2.4", 22],
  ["localhost:8000-8999", "localhost", 7999],
  ["localhost:8000-8999", "localhost", 9000],
  // What resolvers take for an address, and what is none at all.
  ["*:*", "127.1", 80],
  ["*:*", "0x7f000001", 80],
  ["*:*", "2130706433", 80],
  ["*:*", "", 80],
  ["*:*", "a b", 80],
  ["*:*", "fe80::1%eth0", 80],
  ["*:*", "*", 80],
  ["*:*", "*.internal", 80],
  ["*:*", "\u212aube.internal", 80], // the Kelvin sign, whose lower case is k
  ["*:*", "10.0.0.0/8", 80],
  ["*:*", "db.internal", 0],
  ["*:*", "db.internal", 65_536],
  ["*:*", "db.internal", 1.5],
  ["*:*", "db.internal", NaN],
];

const REFUSED: readonly string[] = [
  "",
  ":",
  "db",
  "db:",
  ":80",
  "db:0",
  "db:65536",
  "db:08",
  "db:8000-",
  "db:9-8",
  "db:1-65536",
  "db:*-9",
  "db:80 ",
  " db:80",
  "d b:80",
  "db..x:80",
  "-db:80",
  "db-:80",
  "*db:80",
  "db.*:80",
  "*.:80",
  "**:80",
  "*.*.x:80",
  "2001:db8::1:80",
  "[db]:80",
  "[10.0.0.1]:80",
  "[*]:80",
  "[2001:db8::1:80",
  "2001:db8::/32:80",
  "[2001:db8::]/32:80",
  "[2001:db8::/129]:80",
  "[::ffff:10.0.0.0/104]:80",
  "10.0.0.0/33:80",
  "10.0.0.0/08:80",
  "10.0.0.0/:80",
  "10.0.0/8:80",
  "db/8:80",
  "1.2.3.4.5:80",
  "127.1:80",
  "0x7f.1:80",
  "[fe80::1%eth0]:80",
  `${"a.".repeat(127)}a:80`,
  `${"a".repeat(64)}:80`,
  `d\u00e4:80`,
  "db:80\n",
  "db\0:80",
];

Deno.test("matchesTarget() takes what a pattern says", () => {
  for (const [pattern, host, port] of MATCHES) {
    assert.ok(matchesTarget([parsePattern(pattern)], host, port), `${pattern} ${host} ${port}`);
  }
});

Deno.test("matchesTarget() takes nothing else", () => {
  for (const [pattern, host, port] of MISSES) {
    assert.ok(!matchesTarget([parsePattern(pattern)], host, port), `${pattern} ${host} ${port}`);
  }
  assert.ok(!matchesTarget([], "db.internal", 80));
});

Deno.test("parsePattern() refuses other texts, and says what is accepted", () => {
  for (const text of REFUSED) {
    assert.equal(tryParsePattern(text), null, JSON.stringify(text));
    assert.throws(() => parsePattern(text), (error) => {
      assert.ok(error instanceof TypeError);
      assert.ok(error.message.includes(TARGET_PATTERN_FORMS));
      return true;
    });
  }
  assert.equal(tryParsePattern(`${"a.".repeat(124)}a:80`)?.host.kind, "name");
  assert.equal(tryParsePattern(`${"a".repeat(MAX_PATTERN_CHARS)}:80`), null);
});

Deno.test("parseHostPort() reads one host and one port, and no pattern", () => {
  assert.deepEqual(parseHostPort("db.internal:5432"), { host: "db.internal", port: 5432 });
  assert.deepEqual(parseHostPort("10.0.0.5:80"), { host: "10.0.0.5", port: 80 });
  assert.deepEqual(parseHostPort("[2001:db8::5]:80"), { host: "2001:db8::5", port: 80 });
  for (const text of ["*:80", "*.x:80", "db:1-2", "db:*", "10.0.0.0/8:22", "10.0.0.1/32:22", "db"]) {
    assert.equal(parseHostPort(text), null, text);
  }
});

Deno.test("covers() takes a declared pattern only if it takes all of it", () => {
  const table: readonly [pattern: string, declared: string, expected: boolean][] = [
    ["*:*", "*:*", true],
    ["*:*", "*.internal:1-2", true],
    ["*:*", "10.0.0.0/8:*", true],
    ["*:443", "*:*", false],
    ["*.internal:*", "*:80", false],
    ["*.internal:*", "*.internal:80", true],
    ["*.internal:*", "*.a.internal:80", true],
    ["*.a.internal:*", "*.internal:80", false],
    ["*.internal:*", "*.xinternal:80", false],
    ["*.internal:*", "db.internal:80", true],
    ["db.internal:*", "*.internal:80", false],
    ["10.0.0.0/8:*", "10.1.0.0/16:80", true],
    ["10.1.0.0/16:*", "10.0.0.0/8:80", false],
    ["10.1.0.0/16:*", "10.2.0.0/16:80", false],
    ["10.0.0.0/8:*", "*:80", false],
    ["10.0.0.0/8:*", "db.internal:80", false],
    ["[2001:db8::/32]:*", "[2001:db8:1::/48]:80", true],
    ["0.0.0.0/0:*", "[::/0]:80", false],
    ["db:8000-8999", "db:8000-8999", true],
    ["db:8000-8999", "db:8000-9000", false],
    ["db:8000-8999", "db:7999-8000", false],
  ];
  for (const [pattern, declared, expected] of table) {
    assert.equal(covers([parsePattern(pattern)], parsePattern(declared)), expected, `${pattern} ${declared}`);
  }
  // Two that take it together are not looked for.
  assert.equal(
    covers([parsePattern("db:1-10"), parsePattern("db:11-20")], parsePattern("db:5-15")),
    false,
  );
});

const PORTS = fc.tuple(fc.integer({ min: 1, max: 65_535 }), fc.integer({ min: 1, max: 65_535 })).map(
  ([a, b]) => `${Math.min(a, b)}-${Math.max(a, b)}`,
);
const NAMES = fc.array(fc.constantFrom("a", "b", "db", "x1"), { minLength: 1, maxLength: 4 }).map((labels) =>
  `${labels.join(".")}.internal`
);
const ADDRESSES = fc.oneof(
  fc.uint8Array({ minLength: 4, maxLength: 4 }).map((bytes) => bytes.join(".")),
  fc.uint8Array({ minLength: 16, maxLength: 16 }).map((bytes) => String(ipFromBytes(bytes))),
);
const HOSTS = fc.oneof(
  fc.constant("*"),
  NAMES,
  NAMES.map((name) => `*.${name}`),
  fc.tuple(ADDRESSES, fc.integer({ min: 0, max: 128 })).map(([address, bits]) =>
    address.includes(":") ? `[${address}/${bits}]` : `${address}/${bits % 33}`
  ),
);
const PATTERNS = fc.tuple(HOSTS, PORTS).map(([host, ports]) => `${host}:${ports}`);

Deno.test("formatPattern() writes what parsePattern() reads as the same", () => {
  holds(fc.property(PATTERNS, (text) => {
    const pattern = parsePattern(text);
    assert.deepEqual(parsePattern(formatPattern(pattern)), pattern);
  }));
});

Deno.test("covers() never takes a pattern that takes more than it does", () => {
  const target = fc.tuple(fc.oneof(NAMES, ADDRESSES), fc.integer({ min: 1, max: 65_535 }));
  holds(fc.property(PATTERNS, PATTERNS, target, (outer, inner, [host, port]) => {
    const patterns = [parsePattern(outer)];
    const declared = parsePattern(inner);
    const isCovered = covers(patterns, declared) && matchesTarget([declared], host, port);
    return !isCovered || matchesTarget(patterns, host, port);
  }));
});

Deno.test("matchesTarget() of a network agrees with arithmetic on whole numbers", () => {
  const bits = fc.integer({ min: 0, max: 128 });
  const bytes = fc.uint8Array({ minLength: 16, maxLength: 16 });
  holds(fc.property(bytes, bytes, bits, fc.integer({ min: 0, max: 127 }), (a, noise, length, near) => {
    a[0] = 0x20; // no mapped IPv4 address
    // Near: the same but for one bit, and what comes after it.
    const b = a.slice();
    for (let bit = near; bit < 128; bit++) {
      if (((noise[bit >> 3] ?? 0) >> (7 - bit % 8) & 1) === 1) {
        b[bit >> 3] = (b[bit >> 3] ?? 0) ^ 0x80 >> bit % 8;
      }
    }
    b[0] = 0x20;
    const whole = (from: Uint8Array): bigint => BigInt(`0x${from.toHex()}`) >> BigInt(128 - length);
    const pattern = parsePattern(`[${ipFromBytes(a)}/${length}]:1`);
    assert.equal(matchesTarget([pattern], ipFromBytes(b), 1), whole(a) === whole(b));
  }));
  assert.equal(ipToBytes(parseIp("::1")).at(-1), 1);
});

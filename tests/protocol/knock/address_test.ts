import assert from "node:assert/strict";
import { isIP } from "node:net";
import fc from "fast-check";
import {
  AddressError,
  IP_BYTES,
  ipFamily,
  ipFromBytes,
  ipNetwork,
  ipToBytes,
  parseIp,
  tryParseIp,
} from "../../../src/protocol/knock/address.ts";
import { holds } from "../../property.ts";
import { rurocoIp } from "../../reference/ruroco.ts";
import { bytesOf, ipAddress } from "./arbitraries.ts";

const spellings: readonly (readonly [written: string, canonical: string])[] = [
  ["0.0.0.0", "0.0.0.0"],
  ["255.255.255.255", "255.255.255.255"],
  ["192.0.2.7", "192.0.2.7"],
  ["::", "::"],
  ["::1", "::1"],
  ["1::", "1::"],
  ["0:0:0:0:0:0:0:0", "::"],
  ["1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"],
  ["2001:DB8::ABCD", "2001:db8::abcd"],
  ["2001:0db8:0000:0000:0000:0000:0000:0001", "2001:db8::1"],
  ["1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"],
  ["::2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8"],
  ["2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"],
  ["2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"],
  ["2001:0:0:1:0:0:0:1", "2001:0:0:1::1"],
  ["::ffff:192.0.2.7", "192.0.2.7"],
  ["::FFFF:192.0.2.7", "192.0.2.7"],
  ["::ffff:c000:207", "192.0.2.7"],
  ["0:0:0:0:0:ffff:192.0.2.7", "192.0.2.7"],
  ["::ffff:0.0.0.0", "0.0.0.0"],
  ["::ffff:0:0", "0.0.0.0"],
  ["::192.0.2.7", "::c000:207"],
  ["::fffe:192.0.2.7", "::fffe:c000:207"],
  ["::ffff:0:192.0.2.7", "::ffff:0:c000:207"],
  ["1:2:3:4:5:6:192.0.2.7", "1:2:3:4:5:6:c000:207"],
  ["64:ff9b::192.0.2.7", "64:ff9b::c000:207"],
  ["::ffff", "::ffff"],
];

const refused: readonly string[] = [
  "",
  " ",
  "localhost",
  "1.2.3",
  "1.2.3.4.5",
  "1.2.3.",
  ".1.2.3",
  "1..2.3",
  "256.0.0.1",
  "1.2.3.1000",
  "01.2.3.4",
  "1.2.3.00",
  "0x7f.0.0.1",
  "1.2.3.-4",
  "+1.2.3.4",
  "1.2.3.4 ",
  "\n1.2.3.4",
  "1.2.3.4\n",
  "1.2.3.4/32",
  "1.2.3.4:80",
  "2130706433",
  "١.٢.٣.٤",
  ":",
  ":::",
  "1:2:3:4:5:6:7",
  "1:2:3:4:5:6:7:8:9",
  "1:2:3:4:5:6:7:8::",
  "::1:2:3:4:5:6:7:8",
  "1:2:3:4::5:6:7:8",
  "1::2::3",
  ":1::2",
  "1::2:",
  "1:2:3:4:5:6:7:",
  ":2:3:4:5:6:7:8",
  "12345::",
  "::g",
  "::-1",
  ":: 1",
  "[::1]",
  "::1/64",
  "fe80::1%eth0",
  "fe80::1%1",
  "::1.2.3",
  "::1.2.3.04",
  "::256.1.1.1",
  "1.2.3.4::",
  "::1.2.3.4:5",
  "1:2:3:4:5:6:7:1.2.3.4",
  "1:2:3:4:5:1.2.3.4",
  "::ffff:1.2.3.4.5",
  "::ffff:::1",
  "::ffff:",
  "1".repeat(100_000),
  ":".repeat(100_000),
];

Deno.test("parseIp() gives each address its one canonical spelling", () => {
  for (const [written, canonical] of spellings) {
    assert.equal(parseIp(written), canonical, written);
    assert.equal(parseIp(canonical), canonical, `${canonical} again`);
    assert.equal(tryParseIp(written), canonical, written);
  }
});

Deno.test("parseIp() refuses what is not one whole address, with a short message; tryParseIp() gives null", () => {
  for (const text of refused) {
    assert.equal(tryParseIp(text), null, text);
    assert.throws(() => parseIp(text), (error) => {
      assert(error instanceof AddressError, text);
      assert.equal(error.name, "AddressError");
      assert(error.message.length < 200);
      return true;
    });
  }
});

Deno.test("ipToBytes() gives IPv4 as ::ffff:a.b.c.d and IPv6 as it is", () => {
  assert.equal(ipToBytes(parseIp("192.0.2.7")).toHex(), "00000000000000000000ffffc0000207");
  assert.equal(ipToBytes(parseIp("2001:db8::7")).toHex(), "20010db8000000000000000000000007");
  assert.equal(ipToBytes(parseIp("::")).toHex(), "00".repeat(IP_BYTES));
});

Deno.test("ipFromBytes() refuses any number of bytes but 16", () => {
  for (const length of [0, 4, 15, 17, 32]) {
    assert.throws(() => ipFromBytes(new Uint8Array(length)), AddressError);
  }
});

Deno.test("ipFromBytes() reads within a larger buffer", () => {
  const buffer = new Uint8Array(40).fill(0xee);
  buffer.set(ipToBytes(parseIp("2001:db8::7")), 3);
  assert.equal(ipFromBytes(buffer.subarray(3, 3 + IP_BYTES)), "2001:db8::7");
});

Deno.test("ipFamily() tells IPv4, also written as mapped IPv6, from IPv6", () => {
  assert.equal(ipFamily(parseIp("192.0.2.7")), 4);
  assert.equal(ipFamily(parseIp("::ffff:192.0.2.7")), 4);
  assert.equal(ipFamily(parseIp("::192.0.2.7")), 6);
});

Deno.test("ipNetwork() is the address for IPv4 and the first 64 bits for IPv6", () => {
  assert.equal(ipNetwork(parseIp("192.0.2.7")), "192.0.2.7/32");
  assert.equal(ipNetwork(parseIp("::ffff:192.0.2.7")), "192.0.2.7/32");
  assert.equal(ipNetwork(parseIp("2001:db8:1:2:3:4:5:6")), "2001:db8:1:2::/64");
  assert.equal(ipNetwork(parseIp("2001:db8:1:2::")), "2001:db8:1:2::/64");
  assert.equal(ipNetwork(parseIp("::1")), "::/64");
});

Deno.test("ipNetwork() is the same for two IPv6 addresses exactly if their first 8 bytes are", () => {
  holds(fc.property(bytesOf(IP_BYTES), bytesOf(IP_BYTES), fc.boolean(), (a, b, sameNetwork) => {
    a[0] = 0x20; // not in the mapped range
    b.set(sameNetwork ? a.subarray(0, 8) : [0x20 ^ 1]);
    assert.equal(ipNetwork(ipFromBytes(a)) === ipNetwork(ipFromBytes(b)), sameNetwork);
  }));
});

Deno.test("ipFromBytes() and ipToBytes() undo each other for any 16 bytes", () => {
  const mapped = bytesOf(4).map((octets) => Uint8Array.from([...new Uint8Array(10), 0xff, 0xff, ...octets]));
  holds(fc.property(fc.oneof(bytesOf(IP_BYTES), mapped), (bytes) => {
    const ip = ipFromBytes(bytes);
    assert.deepEqual(ipToBytes(ip), bytes);
    assert.equal(parseIp(ip), ip);
  }));
});

Deno.test("parseIp() accepts what the URL parser and node:net accept, and reads the same bytes", () => {
  const written = fc.oneof(
    fc.ipV4(),
    fc.ipV6(),
    ipAddress().map(String),
    ipAddress().map((ip) => ip.toUpperCase()),
  );
  holds(
    fc.property(written, (text) => {
      assert.equal(ipToBytes(parseIp(text)).toHex(), rurocoIp(text));
      assert.notEqual(isIP(text), 0);
    }),
    { numRuns: 500 },
  );
});

Deno.test("parseIp() accepts a text exactly if node:net does, zone ids aside", () => {
  const nearAddress = fc.oneof(
    fc.string({ unit: fc.constantFrom(..."0127fFg:.%/ "), maxLength: 45 }),
    fc.tuple(fc.oneof(fc.ipV4(), fc.ipV6()), fc.nat(44), fc.constantFrom("", ":", ".", "0", "f", "%", " "))
      .map(([ip, at, insert]) => ip.slice(0, at) + insert + ip.slice(at + 1)),
  );
  holds(
    fc.property(nearAddress, (text) => {
      let accepted = true;
      try {
        parseIp(text);
      } catch (error) {
        assert(error instanceof AddressError);
        accepted = false;
      }
      assert.equal(accepted, isIP(text) !== 0 && !text.includes("%"), JSON.stringify(text));
    }),
    { numRuns: 3000 },
  );
});

import assert from "node:assert/strict";
import fc from "fast-check";
import { refusedAddressKind } from "../../../src/commander/knock/address_filter.ts";
import { ipFromBytes, parseIp } from "../../../src/protocol/knock/address.ts";
import { holds } from "../../property.ts";

/** First and last address of each refused range, the neighbours just outside, and why. */
const EDGES: readonly [first: string, last: string, kind: string][] = [
  ["0.0.0.0", "0.255.255.255", "unspecified"],
  ["10.0.0.0", "10.255.255.255", "private"],
  ["100.64.0.0", "100.127.255.255", "carrier-grade NAT"],
  ["127.0.0.0", "127.255.255.255", "loopback"],
  ["169.254.0.0", "169.254.255.255", "link-local"],
  ["172.16.0.0", "172.31.255.255", "private"],
  ["192.0.0.0", "192.0.0.255", "protocol assignments"],
  ["192.0.2.0", "192.0.2.255", "documentation"],
  ["192.88.99.0", "192.88.99.255", "6to4 relay"],
  ["192.168.0.0", "192.168.255.255", "private"],
  ["198.18.0.0", "198.19.255.255", "benchmarking"],
  ["198.51.100.0", "198.51.100.255", "documentation"],
  ["203.0.113.0", "203.0.113.255", "documentation"],
  ["224.0.0.0", "239.255.255.255", "multicast"],
  ["240.0.0.0", "255.255.255.254", "reserved"],
  ["255.255.255.255", "255.255.255.255", "broadcast"],
  ["::", "::", "unspecified"],
  ["::1", "::1", "loopback"],
  ["::2", "::ffff:ffff", "IPv4-compatible"],
  ["::ffff:0:0:0", "::ffff:0:ffff:ffff", "IPv4-translated"],
  ["64:ff9b::", "64:ff9b::ffff:ffff", "NAT64"],
  ["64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff", "local-use NAT64"],
  ["100::", "100::ffff:ffff:ffff:ffff", "discard-only"],
  ["2001::", "2001:0:ffff:ffff:ffff:ffff:ffff:ffff", "Teredo"],
  ["2001:1::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", "protocol assignments"],
  ["2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "documentation"],
  ["2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "6to4"],
  ["3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", "documentation"],
  ["5f00::", "5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "segment routing"],
  ["fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "unique-local"],
  ["fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "link-local"],
  ["fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "site-local"],
  ["ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "multicast"],
];

const ROUTABLE = [
  ...[
    "1.1.1.1",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.0",
  ],
  ...[
    "169.253.255.255",
    "169.255.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "192.0.1.0",
    "192.0.3.0",
    "192.88.98.255",
  ],
  ...["192.88.100.0", "192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0", "198.51.99.255"],
  ...["198.51.101.0", "203.0.112.255", "203.0.114.0", "223.255.255.255"],
  ...["2000::", "2001:200::1", "2001:db7:ffff::", "2001:db9::", "2003::1", "2606:4700:4700::1111"],
  ...["3ffe:ffff::", "3fff:1000::"],
];

Deno.test("refusedAddressKind() refuses both ends of every range and says why", () => {
  for (const [first, last, kind] of EDGES) {
    assert.equal(refusedAddressKind(parseIp(first)), kind, first);
    assert.equal(refusedAddressKind(parseIp(last)), kind, last);
  }
});

Deno.test("refusedAddressKind() lets the neighbours of the ranges through", () => {
  for (const ip of ROUTABLE) assert.equal(refusedAddressKind(parseIp(ip)), null, ip);
});

Deno.test("refusedAddressKind() sees an IPv4 address in its IPv6 spelling", () => {
  assert.equal(refusedAddressKind(parseIp("::ffff:127.0.0.1")), "loopback");
  assert.equal(refusedAddressKind(parseIp("::ffff:1.1.1.1")), null);
});

Deno.test("refusedAddressKind() refuses IPv6 that was never given to anyone", () => {
  for (const ip of ["4000::1", "1fff:ffff::", "8000::1", "100:0:0:1::1", "400::"]) {
    assert.equal(refusedAddressKind(parseIp(ip)), "unassigned", ip);
  }
});

/** The IPv4 rules again, written out octet by octet. */
function isRefusedIpv4([a = 0, b = 0, c = 0]: number[]): boolean {
  if (a === 0 || a === 10 || a === 127 || a >= 224) return true;
  if (a === 100) return b >= 64 && b <= 127;
  if (a === 169) return b === 254;
  if (a === 172) return b >= 16 && b <= 31;
  if (a === 192) return b === 168 || (b === 0 && (c === 0 || c === 2)) || (b === 88 && c === 99);
  if (a === 198) return b === 18 || b === 19 || (b === 51 && c === 100);
  return a === 203 && b === 0 && c === 113;
}

Deno.test("refusedAddressKind() agrees with the rules written out octet by octet", () => {
  const interesting = fc.constantFrom(
    0,
    10,
    51,
    64,
    88,
    99,
    100,
    113,
    127,
    168,
    169,
    172,
    192,
    198,
    203,
    254,
  );
  const octet = fc.oneof(fc.integer({ min: 0, max: 255 }), interesting);
  holds(
    fc.property(fc.tuple(octet, octet, octet, octet), (octets) => {
      const refused = refusedAddressKind(parseIp(octets.join("."))) !== null;
      assert.equal(refused, isRefusedIpv4(octets));
    }),
    { numRuns: 20_000 },
  );
});

Deno.test("refusedAddressKind() lets through no IPv6 address outside 2000::/3", () => {
  holds(fc.property(fc.uint8Array({ minLength: 16, maxLength: 16 }), (bytes) => {
    bytes[0] = (bytes[0] ?? 0) | 0x40; // 4000::/2 and above: outside 2000::/3, and no IPv4-mapped address
    assert.notEqual(refusedAddressKind(ipFromBytes(bytes)), null);
  }));
});

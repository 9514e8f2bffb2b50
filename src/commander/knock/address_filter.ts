/**
 * Which addresses a command may be run for. A command usually opens something for the address it is given; an address
 * that belongs to this host, to its local networks, to nobody or to everybody must not be opened for, whoever asks.
 *
 * Sources: the IANA IPv4 and IPv6 Special-Purpose Address Registries (RFC 6890 and its updates, as of 2025), the IANA
 * IPv6 address space registry for 2000::/3, and the RFCs named below for what those registries leave out.
 */
import { IP_BYTES, type IpAddress, ipFamily, ipToBytes, parseIp } from "../../protocol/knock/address.ts";

const IPV4_PREFIX_BITS = 96;
const BITS_PER_BYTE = 8;

/** First address, prefix length, why it is refused. */
const REFUSED_RANGES: readonly (readonly [string, number, string])[] = [
  ["0.0.0.0", 8, "unspecified"], // RFC 791, 1122
  ["10.0.0.0", 8, "private"], // RFC 1918
  ["100.64.0.0", 10, "carrier-grade NAT"], // RFC 6598
  ["127.0.0.0", 8, "loopback"], // RFC 1122
  ["169.254.0.0", 16, "link-local"], // RFC 3927
  ["172.16.0.0", 12, "private"], // RFC 1918
  ["192.0.0.0", 24, "protocol assignments"], // RFC 6890
  ["192.0.2.0", 24, "documentation"], // RFC 5737
  ["192.88.99.0", 24, "6to4 relay"], // RFC 7526
  ["192.168.0.0", 16, "private"], // RFC 1918
  ["198.18.0.0", 15, "benchmarking"], // RFC 2544
  ["198.51.100.0", 24, "documentation"], // RFC 5737
  ["203.0.113.0", 24, "documentation"], // RFC 5737
  ["224.0.0.0", 4, "multicast"], // RFC 5771
  ["255.255.255.255", 32, "broadcast"], // RFC 919
  ["240.0.0.0", 4, "reserved"], // RFC 1112

  ["::", 128, "unspecified"], // RFC 4291
  ["::1", 128, "loopback"], // RFC 4291
  // The next ones hold an IPv4 address, and a translator on the way would deliver to it: a private one could hide.
  ["::", 96, "IPv4-compatible"], // RFC 4291, deprecated
  ["::ffff:0:0:0", 96, "IPv4-translated"], // RFC 2765
  ["64:ff9b::", 96, "NAT64"], // RFC 6052
  ["64:ff9b:1::", 48, "local-use NAT64"], // RFC 8215
  ["2002::", 16, "6to4"], // RFC 3056
  ["2001::", 32, "Teredo"], // RFC 4380
  ["2001::", 23, "protocol assignments"], // RFC 2928: ORCHID, benchmarking, anycast services; no hosts
  ["100::", 64, "discard-only"], // RFC 6666
  ["2001:db8::", 32, "documentation"], // RFC 3849
  ["3fff::", 20, "documentation"], // RFC 9637
  ["5f00::", 16, "segment routing"], // RFC 9602
  ["fc00::", 7, "unique-local"], // RFC 4193
  ["fe80::", 10, "link-local"], // RFC 4291
  ["fec0::", 10, "site-local"], // RFC 3879, deprecated
  ["ff00::", 8, "multicast"], // RFC 4291
];

/** All IPv6 unicast addresses that were ever given to anyone; what lies outside routes nowhere. */
const GLOBAL_UNICAST: readonly [string, number] = ["2000::", 3];

interface Range {
  readonly first: Uint8Array;
  readonly prefixBits: number;
  readonly kind: string;
}

const refusedRanges: readonly Range[] = REFUSED_RANGES.map(([first, bits, kind]) =>
  makeRange(first, bits, kind)
);
const globalUnicast = makeRange(...GLOBAL_UNICAST, "global unicast");

/** Why no command may run for `ip`, in one or two words; null if it may. */
export function refusedAddressKind(ip: IpAddress): string | null {
  const bytes = ipToBytes(ip);
  const range = refusedRanges.find((candidate) => contains(candidate, bytes));
  if (range !== undefined) return range.kind;
  if (ipFamily(ip) === 6 && !contains(globalUnicast, bytes)) return "unassigned";
  return null;
}

function makeRange(first: string, bits: number, kind: string): Range {
  const ip = parseIp(first);
  const prefixBits = ipFamily(ip) === 4 ? IPV4_PREFIX_BITS + bits : bits;
  return { first: ipToBytes(ip), prefixBits, kind };
}

function contains(range: Range, bytes: Uint8Array): boolean {
  for (let i = 0; i < IP_BYTES; i++) {
    const bits = Math.min(BITS_PER_BYTE, range.prefixBits - i * BITS_PER_BYTE);
    if (bits <= 0) return true;
    const mask = 0xff << (BITS_PER_BYTE - bits) & 0xff;
    if ((((bytes[i] ?? 0) ^ (range.first[i] ?? 0)) & mask) !== 0) return false;
  }
  return true;
}

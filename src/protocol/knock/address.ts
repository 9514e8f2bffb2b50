/**
 * IP addresses as the knock job knows them: one canonical text for each address, sixteen bytes on the wire.
 *
 * An IPv4 address and its IPv4-mapped IPv6 form are the same address here, because a `[::]` socket shows an IPv4
 * peer as `::ffff:a.b.c.d` and the wire stores every IPv4 address so. Two spellings would let a rule, a rate or
 * a lease made for the one be passed by with the other.
 */
/**
 * An address in its only accepted spelling: dotted IPv4, or IPv6 as RFC 5952 writes it. From {@link parseIp}. The
 * brand exists for the compiler alone.
 */
export type IpAddress = string & { readonly ipAddressBrand: true };

/** Bytes of an address on the wire, whatever its family. */
export const IP_BYTES = 16;

const IPV4_BYTES = 4;
const IPV4_OFFSET = IP_BYTES - IPV4_BYTES;
const GROUPS = IP_BYTES / 2;
const OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])";
const DOTTED_IPV4 = new RegExp(`^${OCTET}(?:\\.${OCTET}){3}$`);
const MAPPED_PREFIX = "::ffff:";
const QUOTED_CHARS = 60;

/** A text that is not one IPv4 or IPv6 address. */
export class AddressError extends Error {
  /** What the error is called when it is printed. */
  override name = "AddressError";
}

/**
 * Reads one IPv4 or IPv6 address and gives its canonical spelling; an IPv4-mapped IPv6 address becomes IPv4.
 * Zone ids, prefix lengths, white space and octets with leading zeros (octal to some readers) are refused.
 *
 * @throws {AddressError} for any other text
 */
export function parseIp(text: string): IpAddress {
  const ip = tryParseIp(text);
  if (ip === null) {
    throw new AddressError(
      `not an IP address: found ${JSON.stringify(text.slice(0, QUOTED_CHARS))}, ` +
        "accepted is one like 192.0.2.7 or 2001:db8::7, without prefix length or zone",
    );
  }
  return ip;
}

/** What {@link parseIp} gives, or null where it throws. */
export function tryParseIp(text: string): IpAddress | null {
  const ipv4 = text.startsWith(MAPPED_PREFIX) ? text.slice(MAPPED_PREFIX.length) : text;
  if (DOTTED_IPV4.test(ipv4)) {
    return ipv4 as IpAddress; // has one spelling only; the quick way for what a socket shows as its peer
  }
  const bytes = new Uint8Array(IP_BYTES);
  return readIpv6(text, bytes) ? ipFromBytes(bytes) : null;
}

/** Gives the 16 wire bytes of an address, IPv4 as `::ffff:a.b.c.d` (`docs/wire-formats.md`). */
export function ipToBytes(ip: IpAddress): Uint8Array {
  const bytes = new Uint8Array(IP_BYTES);
  if (!(ip.includes(":") ? readIpv6(ip, bytes) : readMappedIpv4(ip, bytes))) {
    throw new AddressError(`not an IP address: found ${JSON.stringify(ip)}, accepted is what parseIp() gave`);
  }
  return bytes;
}

/**
 * Gives the address that 16 wire bytes stand for; IPv4-mapped ones are IPv4, every other one is IPv6.
 *
 * @throws {AddressError} unless there are exactly 16 bytes
 */
export function ipFromBytes(bytes: Uint8Array): IpAddress {
  if (bytes.length !== IP_BYTES) {
    throw new AddressError(`not an IP address: found ${bytes.length} bytes, accepted are ${IP_BYTES}`);
  }
  return (isMappedIpv4(bytes) ? bytes.subarray(IPV4_OFFSET).join(".") : formatIpv6(bytes)) as IpAddress;
}

/** Tells the family of an address. */
export function ipFamily(ip: IpAddress): 4 | 6 {
  return ip.includes(":") ? 6 : 4;
}

/**
 * Names the network that one person can be expected to hold, as `ADDRESS/32` for IPv4 and `PREFIX/64` for IPv6:
 * whoever has one IPv6 address of a /64 has all of them, so what is remembered or limited "per address" must not
 * be remembered per IPv6 address.
 */
export function ipNetwork(ip: IpAddress): string {
  if (ipFamily(ip) === 4) {
    return `${ip}/32`;
  }
  const prefix = ipToBytes(ip).fill(0, IP_BYTES / 2);
  return `${formatIpv6(prefix)}/64`;
}

function isMappedIpv4(bytes: Uint8Array): boolean {
  for (let i = 0; i < IPV4_OFFSET - 2; i++) {
    if (bytes[i] !== 0) {
      return false;
    }
  }
  return bytes[IPV4_OFFSET - 2] === 0xff && bytes[IPV4_OFFSET - 1] === 0xff;
}

/** Writes `::ffff:a.b.c.d` into 16 zero bytes; false if the text is not dotted IPv4. */
function readMappedIpv4(text: string, into: Uint8Array): boolean {
  into[IPV4_OFFSET - 2] = 0xff;
  into[IPV4_OFFSET - 1] = 0xff;
  return readIpv4(text, into, IPV4_OFFSET);
}

function readIpv4(text: string, into: Uint8Array, offset: number): boolean {
  if (!DOTTED_IPV4.test(text)) {
    return false;
  }
  into.set(text.split(".").map(Number), offset);
  return true;
}

/** Reads RFC 4291 section 2.2 forms 1 to 3 into 16 zero bytes; `::` must stand for at least one group. */
function readIpv6(text: string, into: Uint8Array): boolean {
  const halves = text.split("::");
  const [head = "", tail] = halves;
  if (halves.length > 2) {
    return false;
  }
  if (tail === undefined) {
    return readGroups(head, into, true) === GROUPS;
  }
  const right = new Uint8Array(IP_BYTES);
  const headGroups = head === "" ? 0 : readGroups(head, into, false);
  const tailGroups = tail === "" ? 0 : readGroups(tail, right, true);
  if (headGroups < 0 || tailGroups < 0 || headGroups + tailGroups >= GROUPS) {
    return false;
  }
  into.set(right.subarray(0, tailGroups * 2), IP_BYTES - tailGroups * 2);
  return true;
}

/** Writes colon-separated groups from the front of `into`; gives their number, or -1 if they are malformed. */
function readGroups(text: string, into: Uint8Array, mayEndInIpv4: boolean): number {
  const parts = text.split(":");
  let groups = 0;
  for (const [i, part] of parts.entries()) {
    if (mayEndInIpv4 && i === parts.length - 1 && part.includes(".")) {
      return groups <= GROUPS - 2 && readIpv4(part, into, groups * 2) ? groups + 2 : -1;
    }
    if (groups === GROUPS || !/^[0-9a-fA-F]{1,4}$/.test(part)) {
      return -1;
    }
    const value = parseInt(part, 16);
    into[groups * 2] = value >> 8;
    into[groups * 2 + 1] = value & 0xff;
    groups++;
  }
  return groups;
}

/** RFC 5952 section 4: lower case, no leading zeros, `::` for the first longest run of two or more zero groups. */
function formatIpv6(bytes: Uint8Array): string {
  const groups: number[] = [];
  for (let i = 0; i < IP_BYTES; i += 2) {
    groups.push((bytes[i] ?? 0) << 8 | (bytes[i + 1] ?? 0));
  }
  let runStart = 0;
  let runLength = 1; // a single zero group is written as 0 (RFC 5952 section 4.2.2)
  for (let start = 0; start < GROUPS; start++) {
    let length = 0;
    while (groups[start + length] === 0) {
      length++;
    }
    if (length > runLength) {
      runStart = start;
      runLength = length;
    }
  }
  const hex = groups.map((group) => group.toString(16));
  if (runLength === 1) {
    return hex.join(":");
  }
  return `${hex.slice(0, runStart).join(":")}::${hex.slice(runStart + runLength).join(":")}`;
}

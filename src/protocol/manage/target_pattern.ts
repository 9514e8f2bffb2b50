/**
 * Targets of forwards, as `HOST:PORT` patterns: an administrator declares them in the signed open, the server's
 * policy.toml and the host's agent.toml say which are allowed, and the host holds each connection to all three.
 *
 *   db.internal:5432   *.internal:*   10.0.0.0/8:22   [2001:db8::/32]:8000-8999   *:443   *:*
 *
 * Texts are compared, nothing is resolved: a network never matches a name, nor a name an address. A rule that allows
 * `10.0.0.0/8:22` therefore says nothing about `db.internal:22`, wherever that name leads today.
 */
import { type IpAddress, ipFamily, ipToBytes, tryParseIp } from "../knock/address.ts";

/** Which hosts a pattern takes. */
export type HostPattern =
  | { readonly kind: "any" }
  /** In lower case, without a dot at the end. */
  | { readonly kind: "name"; readonly name: string }
  /** Names below `suffix` at any depth, not `suffix` itself. */
  | { readonly kind: "below"; readonly suffix: string }
  /** Addresses that begin with the first `bits` of `address`, counted within its family. */
  | { readonly kind: "network"; readonly address: IpAddress; readonly bits: number };

/** Hosts and a range of ports, both ends included. */
export interface TargetPattern {
  readonly host: HostPattern;
  readonly firstPort: number;
  readonly lastPort: number;
}

/** One host and one port, as they are dialled: an IPv6 address without brackets. */
export interface Target {
  readonly host: string;
  readonly port: number;
}

/** What is accepted, for messages. */
export const TARGET_PATTERN_FORMS =
  "HOST:PORT with a name, *.SUFFIX, an address, a network such as 10.0.0.0/8 or [2001:db8::/32], or *, " +
  "and a port, a range such as 8000-8999, or *";

/** Longest pattern as text: what one length byte of an open can say. */
export const MAX_PATTERN_CHARS = 255;

const MAX_PORT = 65_535;
const FAMILY_BITS = { 4: 32, 6: 128 } as const;
const MAX_NAME_CHARS = 253;
const LABEL = "[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?";
const NAME = new RegExp(`^${LABEL}(?:\\.${LABEL})*$`);
/** Resolvers take such a name for an address: `127.1`, `0x7f000001`. No rule about names may be passed by with it. */
const NUMERIC_END = /(?:^|\.)(?:[0-9]+|0x[0-9a-f]*)$/;
const QUOTED_CHARS = 80;

/**
 * Reads a pattern.
 *
 * @throws {TypeError} for any other text
 */
export function parsePattern(text: string): TargetPattern {
  const pattern = tryParsePattern(text);
  if (pattern !== null) return pattern;
  throw new TypeError(
    `not a target: found ${JSON.stringify(text.slice(0, QUOTED_CHARS))}, accepted is ${TARGET_PATTERN_FORMS}`,
  );
}

/** What {@link parsePattern} gives, or null where it throws. */
export function tryParsePattern(text: string): TargetPattern | null {
  if (text.length > MAX_PATTERN_CHARS) return null;
  const split = splitPort(text);
  if (split === null) return null;
  const host = split.isBracketed ? readBracketed(split.host) : readHostPattern(split.host);
  const ports = readPorts(split.port);
  return host === null || ports === null ? null : { host, ...ports };
}

/** One host and one port, no pattern: `db.internal:5432`, `10.0.0.5:80`, `[2001:db8::5]:80`; null for other texts. */
export function parseHostPort(text: string): Target | null {
  const pattern = tryParsePattern(text);
  if (pattern === null || pattern.firstPort !== pattern.lastPort) return null;
  const { host, firstPort: port } = pattern;
  if (host.kind === "name") return { host: host.name, port };
  if (host.kind !== "network" || text.includes("/")) return null;
  return { host: host.address, port };
}

/** The one spelling of a pattern; reading it gives the same pattern. */
export function formatPattern({ host, firstPort, lastPort }: TargetPattern): string {
  const isAnyPort = firstPort === 1 && lastPort === MAX_PORT;
  const ports = firstPort === lastPort ? `${firstPort}` : isAnyPort ? "*" : `${firstPort}-${lastPort}`;
  return `${formatHost(host)}:${ports}`;
}

/** Whether one of the patterns takes this host, a name or an address without brackets, and this port. */
export function matchesTarget(patterns: readonly TargetPattern[], host: string, port: number): boolean {
  const one = readHost(host);
  if (one === null || !Number.isInteger(port)) return false;
  return covers(patterns, { host: one, firstPort: port, lastPort: port });
}

/**
 * Whether one of the patterns takes everything that `declared` does. One alone: two that take it together are not
 * looked for, which refuses too much at worst.
 */
export function covers(patterns: readonly TargetPattern[], declared: TargetPattern): boolean {
  return patterns.some((pattern) =>
    pattern.firstPort <= declared.firstPort && declared.lastPort <= pattern.lastPort &&
    coversHost(pattern.host, declared.host)
  );
}

function coversHost(pattern: HostPattern, declared: HostPattern): boolean {
  switch (pattern.kind) {
    case "any":
      return true;
    case "name":
      return declared.kind === "name" && declared.name === pattern.name;
    case "below":
      if (declared.kind === "name") return declared.name.endsWith(`.${pattern.suffix}`);
      return declared.kind === "below" && `.${declared.suffix}`.endsWith(`.${pattern.suffix}`);
    case "network":
      return declared.kind === "network" && isWithin(declared, pattern);
  }
}

type Network = Extract<HostPattern, { kind: "network" }>;

function isWithin(inner: Network, outer: Network): boolean {
  const family = ipFamily(outer.address);
  if (ipFamily(inner.address) !== family || inner.bits < outer.bits) return false;
  return samePrefix(inner.address, outer.address, outer.bits);
}

/** Whether two addresses of one family begin with the same bits. */
function samePrefix(a: IpAddress, b: IpAddress, bits: number): boolean {
  // An IPv4 address stands in the last bytes of sixteen, the rest of which is the same for all of them.
  const skipped = FAMILY_BITS[6] - FAMILY_BITS[ipFamily(a)];
  const left = ipToBytes(a);
  const right = ipToBytes(b);
  for (let at = skipped; at < skipped + bits; at += 8) {
    const inByte = Math.min(8, skipped + bits - at);
    const mask = 0xff << (8 - inByte) & 0xff;
    if (((left[at / 8] ?? 0) & mask) !== ((right[at / 8] ?? 0) & mask)) return false;
  }
  return true;
}

/** The port is what follows the last colon; an address with colons of its own stands in brackets. */
function splitPort(text: string): { host: string; isBracketed: boolean; port: string } | null {
  const [, bracketed, bare, port] = /^(?:\[([^\]]*)\]|([^:[\]]*)):([^:]*)$/.exec(text) ?? [];
  const host = bracketed ?? bare;
  if (host === undefined || port === undefined) return null;
  return { host, isBracketed: bracketed !== undefined, port };
}

function readPorts(text: string): { firstPort: number; lastPort: number } | null {
  if (text === "*") return { firstPort: 1, lastPort: MAX_PORT };
  const [, first, last = first] = /^([1-9][0-9]{0,4})(?:-([1-9][0-9]{0,4}))?$/.exec(text) ?? [];
  if (first === undefined || last === undefined) return null;
  const ports = { firstPort: Number(first), lastPort: Number(last) };
  return ports.firstPort <= ports.lastPort && ports.lastPort <= MAX_PORT ? ports : null;
}

function readHostPattern(text: string): HostPattern | null {
  if (text === "*") return { kind: "any" };
  if (text.includes("/")) return readNetwork(text);
  if (!text.startsWith("*.")) return readHost(text);
  const suffix = readName(text.slice(2));
  return suffix === null ? null : { kind: "below", suffix };
}

/** In brackets stand IPv6 addresses and networks, nothing else. */
function readBracketed(text: string): HostPattern | null {
  if (!text.includes(":")) return null;
  return text.includes("/") ? readNetwork(text) : readHost(text);
}

function readNetwork(text: string): Network | null {
  const [, prefix, digits] = /^([^/]+)\/(0|[1-9][0-9]{0,2})$/.exec(text) ?? [];
  const address = prefix === undefined ? null : tryParseIp(prefix);
  if (address === null || prefix === undefined) return null;
  // `::ffff:10.0.0.0/104` is an IPv4 network in another spelling, with bits that count otherwise.
  if (prefix.includes(":") !== address.includes(":")) return null;
  const bits = Number(digits);
  return bits <= FAMILY_BITS[ipFamily(address)] ? { kind: "network", address, bits } : null;
}

function readHost(text: string): HostPattern | null {
  const address = tryParseIp(text);
  if (address !== null) return { kind: "network", address, bits: FAMILY_BITS[ipFamily(address)] };
  const name = readName(text);
  return name === null ? null : { kind: "name", name };
}

function readName(text: string): string | null {
  if (/[^!-~]/.test(text)) return null; // some letters of other alphabets have an ASCII one as their lower case
  const name = text.toLowerCase().replace(/\.$/, "");
  return name.length <= MAX_NAME_CHARS && NAME.test(name) && !NUMERIC_END.test(name) ? name : null;
}

function formatHost(host: HostPattern): string {
  switch (host.kind) {
    case "any":
      return "*";
    case "name":
      return host.name;
    case "below":
      return `*.${host.suffix}`;
    case "network": {
      const family = ipFamily(host.address);
      const text = host.bits === FAMILY_BITS[family] ? host.address : `${host.address}/${host.bits}`;
      return family === 6 ? `[${text}]` : text;
    }
  }
}

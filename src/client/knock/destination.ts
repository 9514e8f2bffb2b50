/** Where to knock: the forms an address may be typed in, and which IP addresses it stands for. */
import { type IpAddress, ipFamily, tryParseIp } from "../../protocol/knock/address.ts";
import { Failure, UsageFailure } from "../../system/failure.ts";
import { hasPermission } from "../../system/permissions.ts";

/** The UDP port of a knock if the address names none. */
export const DEFAULT_KNOCK_PORT = 80;
/** The forms accepted for an address, for error texts. */
export const ADDRESS_FORMS = "1.2.3.4, 1.2.3.4:80, ::1, [::1]:80, host, host:80";

const MAX_PORT = 65_535;
const MAX_HOST_CHARS = 253;

/** An address as it was typed. `ip` is null for a host name, which still has to be resolved. */
export interface HostAddress {
  readonly host: string;
  readonly ip: IpAddress | null;
  readonly port: number;
}

/** One place a packet is sent to. */
export interface Destination {
  readonly ip: IpAddress;
  /** 1 to 65535. */
  readonly port: number;
}

/** Finds all addresses of a host name. */
export type Lookup = (host: string) => Promise<readonly { readonly address: string }[]>;

/**
 * Reads an address. A text with two or more colons outside of brackets is an IPv6 address as a whole, so `::1:80`
 * is the address `::1:80` and not port 80 of `::1`.
 *
 * @param defaultPort the port meant if there is none; undefined makes a port required
 * @throws {UsageFailure} naming the accepted forms
 */
export function parseHostAddress(text: string, defaultPort?: number): HostAddress {
  const bracketed = /^\[([^[\]]*)\](?::(.*))?$/s.exec(text);
  if (bracketed !== null) {
    const [, inner = "", port] = bracketed;
    if (port === undefined) throw badAddress(text, "found brackets without a port", defaultPort);
    if (!inner.includes(":")) throw badAddress(text, "found no IPv6 address in brackets", defaultPort);
    return literal(text, inner, parsePort(text, port, defaultPort), defaultPort);
  }
  const colons = text.split(":").length - 1;
  if (colons > 1) return literal(text, text, portOrDefault(text, undefined, defaultPort), defaultPort);

  const [host = "", portText] = text.split(":");
  const port = portOrDefault(text, portText, defaultPort);
  if (host === "") throw badAddress(text, "found no host", defaultPort);
  // A last label of digits makes it an IPv4 address or nothing: the system resolver would read "127.1" as 127.0.0.1
  // and "1.2.3.08" in octal, and no host name may look like that (RFC 1123 section 2.1).
  if (/(?:^|\.)(?:[0-9]+|0[xX][0-9a-fA-F]*)\.?$/.test(host)) return literal(text, host, port, defaultPort);
  if (
    host.length > MAX_HOST_CHARS ||
    !/^(?:[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,62})\.)*[A-Za-z0-9_-]{1,63}\.?$/.test(host)
  ) {
    throw badAddress(text, "found a host name with characters or lengths that no host name has", defaultPort);
  }
  return { host, ip: null, port };
}

/** Whether an address that {@link parseHostAddress} reads names no port, so that the default one is knocked on. */
export function lacksPort(text: string): boolean {
  return !text.startsWith("[") && text.split(":").length !== 2;
}

function literal(text: string, ip: string, port: number, defaultPort: number | undefined): HostAddress {
  const parsed = tryParseIp(ip);
  if (parsed === null) throw badAddress(text, "found something like an IP address that is none", defaultPort);
  return { host: ip, ip: parsed, port };
}

function portOrDefault(text: string, port: string | undefined, defaultPort: number | undefined): number {
  if (port !== undefined) return parsePort(text, port, defaultPort);
  if (defaultPort === undefined) throw badAddress(text, "found no port", defaultPort);
  return defaultPort;
}

function parsePort(text: string, port: string, defaultPort: number | undefined): number {
  const value = /^[1-9][0-9]{0,4}$/.test(port) ? Number(port) : NaN;
  if (value <= MAX_PORT) return value;
  throw badAddress(
    text,
    port === "" ? "found a colon without a port" : `found port "${port}", which is not 1 to 65535`,
    defaultPort,
  );
}

function badAddress(text: string, found: string, defaultPort: number | undefined): UsageFailure {
  const forms = defaultPort === undefined ? "1.2.3.4:22, [::1]:22, host:22" : ADDRESS_FORMS;
  return new UsageFailure(`cannot read address "${text}": ${found}, accepted: ${forms}`);
}

/**
 * Gives the destinations an address stands for: the address itself, or the first IPv4 and the first IPv6 address
 * of a host name, IPv4 first.
 *
 * @param family the only family wanted, or null for both
 * @throws {UsageFailure} if the address itself is of another family than wanted
 * @throws {Failure} if the name cannot be resolved, or has no address of the family wanted
 */
export async function resolveDestinations(
  address: HostAddress,
  family: 4 | 6 | null,
  lookup: Lookup = systemLookup,
): Promise<Destination[]> {
  const { host, ip, port } = address;
  if (ip !== null) {
    if (family === null || ipFamily(ip) === family) return [{ ip, port }];
    throw new UsageFailure(
      `cannot use address ${ip} over IPv${family}: found an IPv${
        ipFamily(ip)
      } address, accepted: IPv${family}`,
    );
  }
  const found: IpAddress[] = [];
  for (const answer of await lookup(host)) {
    // A link-local answer with a zone id cannot stand in a packet.
    const answerIp = tryParseIp(answer.address);
    if (answerIp !== null) found.push(answerIp);
  }
  const firsts = ([4, 6] as const)
    .filter((wanted) => family === null || wanted === family)
    .map((wanted) => found.find((each) => ipFamily(each) === wanted))
    .filter((each) => each !== undefined);
  if (firsts.length === 0) {
    const wanted = family === null ? "IPv4 or IPv6" : `IPv${family}`;
    throw new Failure(
      `cannot resolve "${host}" over ${wanted}: found ${
        found.length === 0 ? "no address" : found.join(", ")
      }`,
    );
  }
  return firsts.map((each) => ({ ip: each, port }));
}

/** The system's resolver, so that /etc/hosts counts. Imported when needed: a literal IP address needs none. */
async function systemLookup(host: string): Promise<readonly { address: string }[]> {
  if (!hasPermission({ name: "net", host })) {
    throw new Failure(`cannot resolve "${host}": no permission to use the network`, {
      hint: `give an IP address, or add --allow-net=${host} to deno run`,
    });
  }
  const { promises } = await import("node:dns");
  try {
    return await promises.lookup(host, { all: true, order: "verbatim" });
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : "";
    const reason = code === "ENOTFOUND" ? "no such name is known" : "the system's resolver failed";
    throw new Failure(`cannot resolve "${host}": ${reason}`, { cause: error });
  }
}

/** An address and port as URLs and permission flags write them: `1.2.3.4:80`, `[::1]:80`. */
export function formatHostPort(host: string, port: number): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

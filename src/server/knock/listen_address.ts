/** The one address the server receives on, and its text forms. */
import { ipFamily, tryParseIp } from "../../protocol/knock/address.ts";
import type { IpAddress } from "../../protocol/knock/address.ts";

export interface ListenAddress {
  /** `::` and `0.0.0.0` mean every address of the machine. */
  readonly ip: IpAddress;
  /** 0 lets the kernel choose. */
  readonly port: number;
}

export const LISTEN_ADDRESS_FORMS = "an IP literal with a port, such as [::]:80, 0.0.0.0:80 or 127.0.0.1:0";

const MAX_PORT = 65_535;

/**
 * Reads `a.b.c.d:port` or `[v6]:port`. Host names are not taken: what a name resolves to could change
 * between the permission the server was started with and the address it binds.
 *
 * @returns null if the text has another form
 */
export function parseListenAddress(text: string): ListenAddress | null {
  const match = /^(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+)):([0-9]{1,5})$/.exec(text);
  const [, bracketed, bare, digits] = match ?? [];
  const host = bracketed ?? bare;
  if (host === undefined || digits === undefined || Number(digits) > MAX_PORT) return null;
  if (bracketed !== undefined && !bracketed.includes(":")) return null;
  const ip = tryParseIp(host);
  return ip === null ? null : { ip, port: Number(digits) };
}

/** The spelling of `--allow-net` and of the readiness line: IPv6 in brackets. */
export function formatListenAddress(address: ListenAddress): string {
  return ipFamily(address.ip) === 6 ? `[${address.ip}]:${address.port}` : `${address.ip}:${address.port}`;
}

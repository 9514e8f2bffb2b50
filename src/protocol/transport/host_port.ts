/** Addresses of the form "host:port", as TCP and TLS have them. */
import { TransportError } from "./transport.ts";

/** The form, for messages. */
export const HOST_PORT_FORM = 'host:port, such as "127.0.0.1:1337" or "[::1]:0"';
const MAX_PORT = 65_535;
const HOST_PORT = /^(?:\[([0-9A-Fa-f:.]+(?:%[0-9A-Za-z_.-]+)?)\]|([0-9A-Za-z_.-]+)):([0-9]{1,5})$/;

/** A host, without brackets, and a port. */
export interface HostPort {
  readonly hostname: string;
  readonly port: number;
}

/**
 * Reads an address.
 *
 * @throws {TransportError} "address" if it has another form
 */
export function parseHostPort(text: string, what: string): HostPort {
  const match = HOST_PORT.exec(text);
  const hostname = match?.[1] ?? match?.[2], port = Number(match?.[3]);
  if (hostname === undefined || port > MAX_PORT) {
    throw new TransportError(
      "address",
      `${what}: ${JSON.stringify(text)} is no address, it wants ${HOST_PORT_FORM}`,
    );
  }
  return { hostname, port };
}

/** Writes an address; one of IP version 6 gets brackets. */
export function formatHostPort({ hostname, port }: HostPort): string {
  return hostname.includes(":") ? `[${hostname}]:${port}` : `${hostname}:${port}`;
}

/** Addresses of WebSockets, and the names both ends use. */
import { TransportError } from "./transport.ts";

/** Name of the transport. */
export const WEB_SOCKET = "websocket";
/** Both ends name it, so that a WebSocket of something else is told apart at once. */
export const SUBPROTOCOL = "postern-bytes.1";

/** The form, for messages. */
const FORM = 'a URL such as "ws://127.0.0.1:1337/" or "wss://host.example/rpc"';
const DEFAULT_PORT = 80, DEFAULT_TLS_PORT = 443;

/** An address, taken apart. */
export interface WebSocketAddress {
  readonly isTls: boolean;
  /** Host with port; an IP address of version 6 in brackets. */
  readonly hostPort: string;
  /** Begins with a slash; with the query, if there is one. */
  readonly path: string;
  readonly url: string;
}

/**
 * Reads an address.
 *
 * @param act what cannot be done without it, such as "connect to"
 * @throws {TransportError} "address" if it has another form
 */
export function parseWebSocketAddress(address: string | undefined, act: string): WebSocketAddress {
  const url = URL.parse(address ?? "");
  const isTls = url?.protocol === "wss:";
  if (
    url === null || (!isTls && url.protocol !== "ws:") || url.username !== "" || url.password !== "" ||
    url.hash !== ""
  ) {
    const found = address === undefined ? "no address was given" : "this is no address of a WebSocket";
    throw new TransportError("address", `cannot ${act} a WebSocket: ${found}, it wants ${FORM}`);
  }
  const port = url.port === "" ? (isTls ? DEFAULT_TLS_PORT : DEFAULT_PORT) : Number(url.port);
  const path = url.pathname + url.search;
  // Not `href`, which keeps a "?" or "#" with nothing behind it: servers and clients see that differently.
  return { isTls, hostPort: `${url.hostname}:${port}`, path, url: `${url.protocol}//${url.host}${path}` };
}

/**
 * Connections over WebSockets: the way into a browser. A page connects; listening is for Deno.
 *
 * What travels in the messages is described in message_connection.ts. The subprotocol is `postern-bytes.1`.
 */
import type { Timers } from "../rpc/timers.ts";
import { MessageConnection, type MessageLink, WINDOW_BYTES } from "./message_connection.ts";
import {
  type Connection,
  type ConnectOptions,
  type Listener,
  type Transport,
  TransportError,
} from "./transport.ts";
import { transportErrorOf } from "./transport_errors.ts";
import {
  parseWebSocketAddress,
  SUBPROTOCOL,
  WEB_SOCKET,
  type WebSocketAddress,
} from "./web_socket_address.ts";

/**
 * An honest server gives credit for what has arrived there, so that no more than the window waits to be sent, if the
 * runtime counts at once. The memory of this end is not to be spent by a server that gives credit and does not read.
 */
const MAX_BUFFERED_BYTES = 4 * WINDOW_BYTES;

/** Certificate of a listener with an address of `wss:`. */
export interface WebSocketTls {
  /** Certificate chain, PEM. */
  readonly cert: string;
  /** Private key, PEM. */
  readonly key: string;
}

/** How a WebSocket listens; a page that only connects needs none of it. */
export interface WebSocketOptions {
  /**
   * Origins of pages that may connect besides those of the listener's own address, such as "https://app.example".
   * Programs that are no browsers send no origin and are always let in: that is what the handshake of RPC is for.
   */
  readonly origins?: readonly string[];
  /** Wanted if the address begins with `wss:`. */
  readonly tls?: WebSocketTls;
  /** Time that a client has for its request. Default: 5,000. */
  readonly requestTimeoutMs?: number;
  /** Clock of all waits. */
  readonly timers?: Timers;
}

/**
 * Makes a transport of WebSockets.
 *
 * Closing one says so and waits for the other end's answer: a runtime gives no way to cut it off. A server that never
 * answers keeps a program of Deno alive until its TCP connection ends.
 *
 * Never `confidential`, not even with `wss:`, whose encryption may end at a proxy in between.
 *
 * @param url such as "ws://127.0.0.1:1337/" or "wss://host.example/rpc"; port 0 to listen on any
 */
export function webSocket(url?: string, options: WebSocketOptions = {}): Transport {
  return {
    name: WEB_SOCKET,
    address: url ?? null,
    async listen(address = url): Promise<Listener> {
      const place = parseWebSocketAddress(address, "listen on");
      // Not loaded by a page, which cannot listen.
      const { listenWebSocket } = await import("./web_socket_listener.ts");
      return listenWebSocket(place, options);
    },
    // deno-lint-ignore require-await -- it throws into its promise
    async connect(address = url, { signal }: ConnectOptions = {}): Promise<Connection> {
      signal?.throwIfAborted();
      return connectWebSocket(parseWebSocketAddress(address, "connect to"), signal);
    },
  };
}

function connectWebSocket(
  { url }: WebSocketAddress,
  signal: AbortSignal | undefined,
): Promise<Connection> {
  const what = `cannot connect to ${url}`;
  let socket: WebSocket;
  try {
    socket = new WebSocket(url, SUBPROTOCOL);
  } catch (error) {
    throw transportErrorOf(error, "connect", what, "--allow-net");
  }
  socket.binaryType = "arraybuffer";
  return new Promise((resolve, reject) => {
    const onAbort = (): void => {
      socket.close();
      reject(signal?.reason);
    };
    signal?.addEventListener("abort", onAbort);
    let found = "it was not taken";
    // Browsers do not tell pages what is wrong: that would let a page feel out the network around it.
    socket.onerror = (event) => {
      if (event instanceof ErrorEvent && event.message !== "") found = event.message;
    };
    socket.onclose = () => {
      signal?.removeEventListener("abort", onAbort);
      reject(new TransportError("refused", `${what}: ${found}`));
    };
    socket.onopen = () => {
      signal?.removeEventListener("abort", onAbort);
      if (socket.protocol !== SUBPROTOCOL) {
        // Not left to "close", which comes when the server answers, if it does.
        reject(new TransportError("refused", `${what}: the server does not speak ${SUBPROTOCOL}`));
        return socket.close();
      }
      if (!signal?.aborted) resolve(connectionOnSocket(socket, url));
    };
  });
}

function connectionOnSocket(socket: WebSocket, url: string): Connection {
  const link: MessageLink = {
    // Copied by the runtime before it returns.
    sendBytes(bytes): void {
      if (socket.bufferedAmount > MAX_BUFFERED_BYTES) throw new Error("the other end does not read");
      socket.send(bytes as Uint8Array<ArrayBuffer>);
    },
    sendControl: (text) => socket.send(text),
    close: () => socket.close(),
  };
  const connection = new MessageConnection(link, {
    transport: WEB_SOCKET,
    remoteAddress: url,
    localAddress: null,
    confidential: false,
  });
  socket.onmessage = ({ data }) => connection.deliver(data);
  socket.onerror = null;
  socket.onclose = ({ code }) => connection.lost(`the other end closed it (code ${code})`);
  return connection;
}

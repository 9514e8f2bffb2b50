/** What both ends of a message port speak; the dialogue stands in message_port.ts. */
import { MessageConnection, type MessageLink } from "./message_connection.ts";
import { isAgent, watchThread } from "./message_port_watch.ts";

/** Name of the transport. */
export const MESSAGE_PORT = "message-port";
/** Last message on the port of a connection. */
const CLOSE = "close";

/** What carries connections: a `MessagePort`, a `Worker`, or the `self` of a worker. */
export interface BasePort {
  /** Sends a message and gives away what is transferred. */
  postMessage(message: unknown, transfer: Transferable[]): void;
  /** Listens to messages from the other end. */
  addEventListener(type: "message", listener: (event: MessageEvent) => void): void;
  /** Stops listening. */
  removeEventListener(type: "message", listener: (event: MessageEvent) => void): void;
  /** A `MessagePort` has one, and delivers nothing before. */
  start?(): void;
}

/**
 * The port between this worker and whoever started it.
 *
 * @throws {TypeError} where there is none: in a program's first thread or in a page
 */
export function portOfThisWorker(): BasePort {
  const scope: object = globalThis;
  // A window has a `postMessage` too, which goes to itself.
  if ("postMessage" in scope && !("document" in scope)) return scope as BasePort;
  throw new TypeError(
    "cannot reach another thread: this one is no worker, so name the Worker or MessagePort",
  );
}

/** What travels over the base port. */
export type PortMessage =
  | { readonly postern: "listening"; readonly name: string }
  | { readonly postern: "ask"; readonly name: string; readonly id: number }
  | { readonly postern: "yes" | "no"; readonly id: number }
  | { readonly postern: "open"; readonly name: string; readonly agent: string | null };

/** First message of the listener on the port of a connection. */
export interface OpenMessage {
  readonly postern: "opened";
  readonly agent: string | null;
}

/** A message of ours; null for anything else that travels on the same port. */
export function portMessage(data: unknown): PortMessage | OpenMessage | null {
  if (typeof data !== "object" || data === null) return null;
  const { postern, name, id, agent } = data as Record<string, unknown>;
  switch (postern) {
    case "listening":
      return typeof name === "string" ? { postern, name } : null;
    case "ask":
      return typeof name === "string" && typeof id === "number" ? { postern, name, id } : null;
    case "yes":
    case "no":
      return typeof id === "number" ? { postern, id } : null;
    case "open":
      return typeof name === "string" && isAgent(agent) ? { postern, name, agent } : null;
    case "opened":
      return isAgent(agent) ? { postern, agent } : null;
    default:
      return null;
  }
}

/**
 * The connection on a port of its own.
 *
 * @param agent id of the thread at the other end; null if it has none
 */
export function connectionOnPort(
  port: MessagePort,
  address: string,
  agent: string | null,
): MessageConnection {
  const link: MessageLink = {
    sendBytes(bytes: Uint8Array): void {
      const copy = bytes.slice().buffer;
      port.postMessage(copy, [copy]);
    },
    sendControl: (text) => port.postMessage(text),
    close(): void {
      endWatch();
      closePort(port);
    },
  };
  const connection = new MessageConnection(link, {
    transport: MESSAGE_PORT,
    remoteAddress: address,
    localAddress: null,
    confidential: true,
  });
  const endWatch = watchThread(agent, () => connection.lost("the thread at the other end has gone"));
  port.onmessage = ({ data }) => {
    if (data === CLOSE) connection.lost("the other end closed it");
    else connection.deliver(data);
  };
  return connection;
}

/** Gives a port up and says so; what was sent before still arrives. */
export function closePort(port: MessagePort): void {
  port.postMessage(CLOSE);
  port.close();
}

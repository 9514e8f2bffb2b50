/**
 * `birpc` as its README has it: JSON where messages are text, and message channels with nothing in between. What
 * JSON cannot carry goes through `node:v8`.
 */
import { type ChannelOptions, createBirpc } from "birpc";
import { deserialize, serialize } from "node:v8";
import { connectSocket, listenSocket } from "./sockets.ts";
import { lengthLink, lineLink } from "./stream_link.ts";
import type { Body, Caller, LocalProgram, Payload, Program } from "./subject.ts";

interface Functions {
  echo(body: Body): Body;
}

const functions: Functions = { echo: (body) => body };

/**
 * Between processes.
 *
 * @param timeoutMs its own default of 60 s sets a timer for each call, as each of our calls has a deadline; -1: none
 */
export function birpcOverSockets(timeoutMs?: number): Program {
  return {
    serve: (wire, address, payload) =>
      Promise.resolve({
        address: listenSocket(wire, address, (socket) =>
          void createBirpc(functions, socketChannel(socket, payload))),
      }),
    async connect(wire, address, payload): Promise<Caller> {
      return caller(socketChannel(await connectSocket(wire, address), payload), timeoutMs);
    },
  };
}

/** Between threads, over the worker's own port; within one, over a message channel. */
export const birpcOverPorts: LocalProgram = {
  serve(scope): Promise<void> {
    createBirpc(functions, portChannel(scope));
    return Promise.resolve();
  },
  connect: (worker) => Promise.resolve(caller(portChannel(worker))),
  loop(): Promise<Caller> {
    const { port1, port2 } = new MessageChannel();
    createBirpc(functions, portChannel(port1));
    port1.start();
    port2.start();
    return Promise.resolve(caller(portChannel(port2)));
  },
};

function caller(channel: ChannelOptions, timeoutMs?: number): Caller {
  const options = timeoutMs === undefined ? {} : { timeout: timeoutMs };
  const remote = createBirpc<Functions>({}, { ...channel, ...options });
  return { echo: (body) => remote.echo(body) };
}

function socketChannel(socket: Deno.Conn, payload: Payload): ChannelOptions {
  if (payload === "text") {
    const link = lineLink(socket);
    return { post: link.post, on: link.on, serialize: JSON.stringify, deserialize: JSON.parse };
  }
  const link = lengthLink(socket);
  return { post: link.post, on: link.on, serialize, deserialize };
}

type Port = Pick<MessagePort, "postMessage" | "addEventListener">;

function portChannel(port: Port): ChannelOptions {
  return {
    post: (data) => port.postMessage(data),
    on: (take) => port.addEventListener("message", ({ data }) => take(data)),
  };
}

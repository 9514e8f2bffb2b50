/**
 * The transports that the integration test runs over. A new one is one more entry: how to get both ends of a fresh
 * connection, and what to clean up.
 */
import { SealedConnection } from "../../../src/protocol/record/sealed_connection.ts";
import { memoryPair } from "../../../src/protocol/transport/memory.ts";
import { messagePort } from "../../../src/protocol/transport/message_port.ts";
import { mmapRing } from "../../../src/protocol/transport/ring/mmap.ts";
import { unsupportedSystem } from "../../../src/protocol/transport/ring/mmap_libc.ts";
import { workerRing } from "../../../src/protocol/transport/ring/worker_ring.ts";
import { childStdio } from "../../../src/protocol/transport/stdio.ts";
import { tcp } from "../../../src/protocol/transport/tcp.ts";
import { tls } from "../../../src/protocol/transport/tls.ts";
import type { Connection, Transport } from "../../../src/protocol/transport/transport.ts";
import { unix } from "../../../src/protocol/transport/unix.ts";
import { webSocket } from "../../../src/protocol/transport/web_socket.ts";
import { makeCertificates } from "../transport/certificates.ts";
import { OpenWebSockets } from "../transport/web_sockets_closed.ts";

/** Both ends of one connection. */
export interface Ends extends AsyncDisposable {
  /** The dialler's end, and the listener's. */
  readonly connections: readonly [Connection, Connection];
}

/** A transport in the list. */
export interface TransportUnderTest {
  readonly name: string;
  open(): Promise<Ends>;
  /** Why it cannot run here. */
  readonly unsupported?: string | null;
}

/** Connects once over a transport; the listener is closed at the end. */
export async function endsOf(
  transport: Transport,
  address: string | undefined,
  cleanUp: () => Promise<void> = () => Promise.resolve(),
): Promise<Ends> {
  const listener = await transport.listen(address);
  const accepted = listener.accept();
  const dialled = await transport.connect(listener.address);
  const taken = await accepted;
  if (taken === null) {
    throw new Error("the listener was closed");
  }
  return {
    connections: [dialled, taken],
    async [Symbol.asyncDispose](): Promise<void> {
      dialled.close();
      taken.close();
      listener.close();
      await cleanUp();
    },
  };
}

/** Both ends of a channel within this thread, as they would be in a worker and beside it. */
async function endsOverPorts(transportOf: (port: MessagePort) => Transport): Promise<Ends> {
  const { port1, port2 } = new MessageChannel();
  const dialling = transportOf(port1), listening = transportOf(port2);
  const cleanUp = (): Promise<void> => {
    port1.close();
    port2.close();
    return Promise.resolve();
  };
  return await endsOf(
    {
      name: listening.name,
      address: listening.address,
      listen: (address) => listening.listen(address),
      connect: (_address, options) => dialling.connect(undefined, options),
    },
    undefined,
    cleanUp,
  );
}

async function sealedEnds(): Promise<Ends> {
  const ends = await endsOf(tcp(), "127.0.0.1:0");
  const keys = [1, 2].map((byte) => new Uint8Array(32).fill(byte));
  const [dialled, taken] = ends.connections, [there = SAMPLE, back = SAMPLE] = keys;
  return {
    connections: [
      new SealedConnection(dialled, { sending: there, receiving: back }),
      new SealedConnection(taken, { sending: back, receiving: there }),
    ],
    [Symbol.asyncDispose]: () => ends[Symbol.asyncDispose](),
  };
}

const SAMPLE = new Uint8Array(32);

async function webSocketEnds(): Promise<Ends> {
  const open = new OpenWebSockets();
  return await endsOf(
    webSocket("ws://127.0.0.1:0/", { timers: open.timers }),
    undefined,
    () => open[Symbol.asyncDispose](),
  );
}

async function tlsEnds(): Promise<Ends> {
  const { root, cert, key } = await makeCertificates();
  return await endsOf(tls("127.0.0.1:0", { cert, key, caCerts: [root] }), undefined);
}

async function inFolder(transportAt: (path: string) => Transport): Promise<Ends> {
  const folder = await Deno.makeTempDir();
  return await endsOf(
    transportAt(`${folder}/socket`),
    undefined,
    () => Deno.remove(folder, { recursive: true }),
  );
}

/** A child that carries the bytes between its standard input and output and a Unix socket. */
async function childEnds(): Promise<Ends> {
  const folder = await Deno.makeTempDir(), path = `${folder}/relay`;
  const listener = await unix(path).listen();
  const exited = Promise.withResolvers<void>();
  const relay = new URL("../transport/stdio_relay.ts", import.meta.url).pathname;
  const child = await childStdio({
    command: Deno.execPath(),
    args: ["run", "--no-check", "-A", relay, path],
    onExit: () => exited.resolve(),
  }).connect();
  const behind = await listener.accept();
  listener.close();
  if (behind === null) {
    throw new Error("the child did not connect");
  }
  return {
    connections: [child, behind],
    async [Symbol.asyncDispose](): Promise<void> {
      child.close();
      behind.close();
      await exited.promise;
      await Deno.remove(folder, { recursive: true });
    },
  };
}

const noRing = unsupportedSystem(Deno.build.os, Deno.build.arch);

/** All that both ends can be had of in one process. */
export const EVERY_TRANSPORT: readonly TransportUnderTest[] = [
  {
    name: "memory",
    open: () =>
      Promise.resolve({ connections: memoryPair(), [Symbol.asyncDispose]: () => Promise.resolve() }),
  },
  { name: "tcp", open: () => endsOf(tcp(), "127.0.0.1:0") },
  { name: "tcp with sealed records", open: sealedEnds },
  { name: "unix", open: () => inFolder((path) => unix(path)) },
  { name: "tls", open: tlsEnds },
  { name: "child stdio", open: childEnds },
  { name: "message port", open: () => endsOverPorts((port) => messagePort(port)) },
  { name: "web socket", open: webSocketEnds },
  { name: "worker ring", open: () => endsOverPorts((port) => workerRing(port)) },
  { name: "mmap ring", open: () => inFolder((path) => mmapRing(path)), unsupported: noRing },
];

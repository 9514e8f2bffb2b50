/** The floor: bytes written to a socket and copied back by a loop that knows nothing of messages. */
import { connectSocket, listenSocket } from "./sockets.ts";
import type { Body, Caller, Program } from "./subject.ts";

/** Of 64 KiB to 1 MiB, the fastest here. */
const COPY_BYTES = 512 * 1024;

/** An echo settles when as many bytes as it wrote have come back behind those of the echoes before it. */
export const rawSocket: Program = {
  serve: (wire, address) =>
    Promise.resolve({ address: listenSocket(wire, address, (socket) => void copy(socket)) }),
  async connect(wire, address): Promise<Caller> {
    return caller(await connectSocket(wire, address));
  },
};

async function copy(socket: Deno.Conn): Promise<void> {
  const buffer = new Uint8Array(COPY_BYTES);
  for (let bytes = await socket.read(buffer); bytes !== null; bytes = await socket.read(buffer)) {
    await writeAll(socket, buffer.subarray(0, bytes));
  }
}

async function writeAll(socket: Deno.Conn, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await socket.write(bytes.subarray(at));
}

function caller(socket: Deno.Conn): Caller {
  const waiting: { readonly body: Body; left: number; readonly resolve: (body: Body) => void }[] = [];
  let written = Promise.resolve();
  async function read(): Promise<void> {
    const buffer = new Uint8Array(COPY_BYTES);
    for (let bytes = await socket.read(buffer); bytes !== null; bytes = await socket.read(buffer)) {
      for (let left = bytes; left > 0;) {
        const first = waiting[0];
        if (first === undefined) throw new Error("more came back than was sent");
        const taken = Math.min(left, first.left);
        first.left -= taken;
        left -= taken;
        if (first.left === 0) waiting.shift()?.resolve(first.body);
      }
    }
  }
  void read();
  return {
    echo(body): Promise<Body> {
      const bytes = typeof body === "string" ? new TextEncoder().encode(body) : body;
      return new Promise((resolve) => {
        waiting.push({ body, left: bytes.length, resolve });
        written = written.then(() => writeAll(socket, bytes));
      });
    },
  };
}

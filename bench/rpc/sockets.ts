/** Stream sockets as the peers and the raw copy loop use them. */
import type { Wire } from "./subject.ts";

/** Calls `take` for every connection; returns the address to connect to. */
export function listenSocket(wire: Wire, address: string, take: (socket: Deno.Conn) => void): string {
  if (wire === "unix") {
    void acceptAll(Deno.listen({ transport: "unix", path: address }), take);
    return address;
  }
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  void acceptAll(listener, (socket) => {
    socket.setNoDelay(true);
    take(socket);
  });
  return `127.0.0.1:${listener.addr.port}`;
}

async function acceptAll<Socket>(
  listener: AsyncIterable<Socket>,
  take: (socket: Socket) => void,
): Promise<void> {
  for await (const socket of listener) take(socket);
}

export async function connectSocket(wire: Wire, address: string): Promise<Deno.Conn> {
  if (wire === "unix") return await Deno.connect({ transport: "unix", path: address });
  const socket = await Deno.connect({ hostname: "127.0.0.1", port: Number(address.split(":").at(-1)) });
  socket.setNoDelay(true);
  return socket;
}

/** UDP sockets on this host's loopback addresses. */

/** A socket on any free port. */
export function listenOnLoopback(hostname = "127.0.0.1"): Deno.DatagramConn & Disposable {
  const socket = Deno.listenDatagram({ transport: "udp", hostname, port: 0 });
  return Object.assign(socket, { [Symbol.dispose]: () => socket.close() });
}

export function boundPort(socket: Deno.DatagramConn): number {
  return "port" in socket.addr ? socket.addr.port : 0;
}

/** A port that was free a moment ago, for programs that cannot choose one themselves. */
export function freeUdpPort(): number {
  using socket = listenOnLoopback();
  return boundPort(socket);
}

export function isUdpPortTaken(port: number): boolean {
  const hexPort = port.toString(16).toUpperCase().padStart(4, "0");
  return Deno.readTextFileSync("/proc/self/net/udp").includes(`:${hexPort} `);
}

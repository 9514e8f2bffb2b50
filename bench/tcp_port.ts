/** TCP ports of loopback, for programs that cannot choose one themselves. */

/** A port that was free a moment ago. */
export function freeTcpPort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}

/** Whether somebody listens, without a connection to tell him. */
export function isTcpPortTaken(port: number): boolean {
  const hexPort = port.toString(16).toUpperCase().padStart(4, "0");
  return new RegExp(`:${hexPort} [0-9A-F]+:0000 0A`).test(Deno.readTextFileSync("/proc/self/net/tcp"));
}

/** A UDP socket on loopback that a test sends from and listens on for what must never come: an answer. */

export class UdpPeer implements Disposable {
  readonly #socket = Deno.listenDatagram({ transport: "udp", hostname: "127.0.0.1", port: 0 });

  get address(): Deno.NetAddr {
    return this.#socket.addr as Deno.NetAddr;
  }

  /** Sends to a port of 127.0.0.1. */
  async send(bytes: Uint8Array, port: number): Promise<void> {
    await this.#socket.send(bytes, { transport: "udp", hostname: "127.0.0.1", port });
  }

  /**
   * Everything that has come back. On loopback a datagram lies in the receiver's queue when its send returns, so
   * one sent to ourselves now comes after every answer that was given before.
   */
  async answers(): Promise<Uint8Array[]> {
    const last = crypto.getRandomValues(new Uint8Array(16)).toHex();
    await this.send(new TextEncoder().encode(last), this.address.port);
    const answers: Uint8Array[] = [];
    while (true) {
      const [bytes] = await this.#socket.receive();
      if (new TextDecoder().decode(bytes) === last) return answers;
      answers.push(bytes);
    }
  }

  [Symbol.dispose](): void {
    this.#socket.close();
  }
}

/** Resolves when the kernel holds no datagram for a port of 127.0.0.1 that nobody has received yet. */
export async function emptyQueue(port: number): Promise<void> {
  const local = `0100007F:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  while (true) {
    const table = await Deno.readTextFile("/proc/net/udp");
    const line = table.split("\n").find((each) => each.includes(` ${local} `)) ?? "";
    // "sl local remote st tx_queue:rx_queue ..."
    if (line.trim().split(/\s+/)[4]?.endsWith(":00000000") ?? true) return;
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

/** The port of a bound UDP socket. */
export function portOf(socket: Deno.DatagramConn): number {
  return (socket.addr as Deno.NetAddr).port;
}

/** Stands in for the server and keeps what the client sends. */

export class DatagramCatcher implements Disposable {
  readonly hostname: string;
  readonly port: number;
  readonly #socket: Deno.DatagramConn;

  constructor(hostname: string, port = 0) {
    this.hostname = hostname;
    this.#socket = Deno.listenDatagram({ transport: "udp", hostname, port });
    const { addr } = this.#socket;
    this.port = "port" in addr ? addr.port : 0;
  }

  /**
   * Everything that has arrived. Loopback delivers before `send` returns, so what a finished client has sent is
   * already in the socket's queue; a datagram of our own marks its end.
   */
  async takeAll(): Promise<Uint8Array[]> {
    const mark = crypto.getRandomValues(new Uint8Array(32));
    await this.#socket.send(mark, { transport: "udp", hostname: this.hostname, port: this.port });
    const taken: Uint8Array[] = [];
    for (;;) {
      const [datagram] = await this.#socket.receive();
      if (datagram.length === mark.length && datagram.every((byte, i) => byte === mark[i])) return taken;
      taken.push(datagram.slice());
    }
  }

  [Symbol.dispose](): void {
    this.#socket.close();
  }
}

/** Two catchers on one port, for both address families. */
export function catchBothFamilies(): { ipv4: DatagramCatcher; ipv6: DatagramCatcher } & Disposable {
  for (let attempt = 1;; attempt++) {
    const ipv4 = new DatagramCatcher("127.0.0.1");
    try {
      const ipv6 = new DatagramCatcher("::1", ipv4.port);
      return {
        ipv4,
        ipv6,
        [Symbol.dispose](): void {
          ipv4[Symbol.dispose]();
          ipv6[Symbol.dispose]();
        },
      };
    } catch (error) {
      // Somebody else has this port over IPv6: take another one.
      ipv4[Symbol.dispose]();
      if (attempt === 10) throw error;
    }
  }
}

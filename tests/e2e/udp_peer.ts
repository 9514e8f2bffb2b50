/** Somebody on the network: sends datagrams to a server and keeps every byte that comes back. */
import { pause, until } from "./until.ts";

const SEND_AT_ONCE = 8;

export class UdpPeer implements AsyncDisposable {
  /** Whatever came back. */
  readonly answers: Uint8Array[] = [];
  sent = 0;
  readonly #socket: Deno.DatagramConn;
  readonly #server: Deno.NetAddr;
  readonly #reading: Promise<void>;

  constructor(serverPort: number, host = "127.0.0.1") {
    this.#socket = Deno.listenDatagram({ transport: "udp", hostname: host, port: 0 });
    this.#server = { transport: "udp", hostname: host, port: serverPort };
    this.#reading = this.#read();
  }

  async #read(): Promise<void> {
    for await (const [datagram] of this.#socket) this.answers.push(datagram.slice());
  }

  async send(datagram: Uint8Array): Promise<void> {
    await this.#socket.send(datagram, this.#server);
    this.sent++;
  }

  /**
   * Sends all, a few at once, so that neither the kernel's queue nor the server's decrypt budget overflows: at
   * most 8 in 25 ms, and the next only when the server has taken these out of its queue.
   */
  async sendAll(datagrams: Iterable<Uint8Array>, options: { perBatchMs?: number } = {}): Promise<void> {
    const batch: Uint8Array[] = [];
    for (const datagram of datagrams) {
      batch.push(datagram);
      if (batch.length === SEND_AT_ONCE) await this.#sendBatch(batch.splice(0), options.perBatchMs ?? 25);
    }
    await this.#sendBatch(batch, 0);
  }

  async #sendBatch(batch: readonly Uint8Array[], paceMs: number): Promise<void> {
    for (const datagram of batch) await this.send(datagram);
    if (paceMs > 0) await pause(paceMs);
    await until("the server has taken the datagrams from its queue", async () => {
      return (await receiveQueue(this.#server.port)).waitingBytes === 0;
    }, { pollMs: 1 });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#socket.close();
    await this.#reading;
  }
}

const MAX_LOOKS = 20;

export interface ReceiveQueue {
  /** Kernel memory of the datagrams that nobody has read yet. */
  readonly waitingBytes: number;
  /** Datagrams that did not fit. */
  readonly drops: number;
}

/**
 * Queue of the UDP socket at a local port, from /proc/net/udp and udp6 (proc_net_udp(5)). The kernel gives such a table in
 * pieces, and while others open and close sockets in between, a line can be missing: so it is looked at more than once.
 */
export async function receiveQueue(port: number): Promise<ReceiveQueue> {
  for (let look = 0; look < MAX_LOOKS; look++) {
    const queue = await listedQueue(port);
    if (queue !== null) return queue;
  }
  throw new Error(`no UDP socket is bound to port ${port}`);
}

async function listedQueue(port: number): Promise<ReceiveQueue | null> {
  const wanted = port.toString(16).toUpperCase().padStart(4, "0");
  for (const table of ["/proc/net/udp", "/proc/net/udp6"]) {
    for (const line of (await Deno.readTextFile(table)).split("\n").slice(1)) {
      const [, local, , , queues, ...rest] = line.trim().split(/\s+/);
      if (local?.endsWith(`:${wanted}`) !== true) continue;
      return { waitingBytes: parseInt(queues?.split(":")[1] ?? "", 16), drops: Number(rest.at(-1)) };
    }
  }
  return null;
}

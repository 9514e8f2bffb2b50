/** A cable of loopback that can be cut, for the laboratories. */

const HOST = "127.0.0.1";
const COPY_BYTES = 256 * 1024;

/** What lies between a dialling side and a listening one: forwards bytes, counts them, and can be cut. */
export class Cable implements AsyncDisposable {
  readonly port: number;
  /** Towards the listening side, and from it. */
  readonly bytes = { up: 0, down: 0 };
  readonly #listener = Deno.listen({ hostname: HOST, port: 0 });
  #farPort: number;
  readonly #open = new Set<Deno.Conn>();
  readonly #waiting = new Set<{ readonly bytes: number; readonly reached: () => void }>();
  readonly #accepting: Promise<void>;
  #isCut = false;

  /** @param farPort of the listening side on loopback; 0 where nobody listens yet */
  constructor(farPort: number) {
    this.#farPort = farPort;
    this.port = (this.#listener.addr as Deno.NetAddr).port;
    this.#accepting = this.#accept();
  }

  /** Ends every connection at once; new ones are ended too until `mend`. */
  cut(): void {
    this.#isCut = true;
    for (const connection of this.#open) closeQuietly(connection);
    this.#open.clear();
  }

  mend(): void {
    this.#isCut = false;
  }

  /** Leads what comes from now on to another port: the listening side was started again. */
  leadTo(farPort: number): void {
    this.#farPort = farPort;
  }

  /** Settles when that many bytes have gone both ways together. */
  async carried(bytes: number): Promise<void> {
    if (this.bytes.up + this.bytes.down >= bytes) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting.add({ bytes, reached: resolve });
    await promise;
  }

  async #accept(): Promise<void> {
    for await (const near of this.#listener) {
      if (this.#isCut) closeQuietly(near);
      else void this.#join(near);
    }
  }

  async #join(near: Deno.Conn): Promise<void> {
    this.#open.add(near);
    try {
      const far = await Deno.connect({ hostname: HOST, port: this.#farPort });
      this.#open.add(far);
      if (this.#isCut) return this.cut();
      await Promise.all([this.#copy(near, far, "up"), this.#copy(far, near, "down")]);
      this.#forget(far);
    } catch {
      // The listening side is gone, or somebody cut the cable: what both ends see is a closed connection.
    }
    this.#forget(near);
  }

  async #copy(from: Deno.Conn, to: Deno.Conn, way: "up" | "down"): Promise<void> {
    const buffer = new Uint8Array(COPY_BYTES);
    try {
      for (;;) {
        const count = await from.read(buffer);
        if (count === null) return await to.closeWrite();
        for (let at = 0; at < count;) at += await to.write(buffer.subarray(at, count));
        this.#count(way, count);
      }
    } catch {
      closeQuietly(from);
      closeQuietly(to);
    }
  }

  #count(way: "up" | "down", bytes: number): void {
    this.bytes[way] += bytes;
    for (const waiter of this.#waiting) {
      if (this.bytes.up + this.bytes.down < waiter.bytes) continue;
      this.#waiting.delete(waiter);
      waiter.reached();
    }
  }

  #forget(connection: Deno.Conn): void {
    this.#open.delete(connection);
    closeQuietly(connection);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    this.cut();
    await this.#accepting.catch(() => {});
  }
}

function closeQuietly(connection: Deno.Conn): void {
  try {
    connection.close();
  } catch {
    // Closed before: what the caller wanted.
  }
}

/** A TCP proxy that a test can cut, freeze and close for a while. */
export class CuttingProxy implements AsyncDisposable {
  readonly #listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  readonly #links = new Set<readonly [Deno.Conn, Deno.Conn]>();
  readonly #work = new Set<Promise<unknown>>();
  #isOpen = true;
  #isFrozen = false;
  /** Where it leads. */
  target: string;

  constructor(target: string) {
    this.target = target;
    this.#track(this.#accept());
  }

  /** Where it listens. */
  get address(): string {
    const { hostname, port } = this.#listener.addr as Deno.NetAddr;
    return `${hostname}:${port}`;
  }

  /** Connections that go through it. */
  get links(): number {
    return this.#links.size;
  }

  /** Ends all connections; `isOpen` says whether new ones get through afterwards. */
  cut(isOpen: boolean): void {
    this.#isOpen = isOpen;
    for (const [a, b] of this.#links) closeBoth(a, b);
    this.#links.clear();
  }

  /** New connections get through again. */
  open(): void {
    this.#isOpen = true;
  }

  /** Takes what comes and passes nothing on; connections stay. */
  freeze(): void {
    this.#isFrozen = true;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    this.cut(false);
    await Promise.all(this.#work);
  }

  #track(work: Promise<unknown>): void {
    const tracked = work.catch(() => {}).finally(() => this.#work.delete(tracked));
    this.#work.add(tracked);
  }

  async #accept(): Promise<void> {
    for await (const client of this.#listener) {
      if (!this.#isOpen) {
        client.close();
        continue;
      }
      const [hostname = "", port = ""] = this.target.split(":");
      this.#track(this.#link(client, hostname, Number(port)));
    }
  }

  async #link(client: Deno.TcpConn, hostname: string, port: number): Promise<void> {
    const server = await Deno.connect({ hostname, port }).catch(() => null);
    if (server === null) return client.close();
    const link = [client, server] as const;
    this.#links.add(link);
    await Promise.allSettled([this.#relay(client, server), this.#relay(server, client)]);
    closeBoth(client, server);
    this.#links.delete(link);
  }

  async #relay(from: Deno.Conn, to: Deno.Conn): Promise<void> {
    const buffer = new Uint8Array(65_536);
    for (;;) {
      const length = await from.read(buffer);
      if (length === null) break;
      if (this.#isFrozen) continue;
      for (let offset = 0; offset < length;) offset += await to.write(buffer.subarray(offset, length));
    }
    closeBoth(from, to);
  }
}

function closeBoth(...connections: readonly Deno.Conn[]): void {
  for (const each of connections) {
    try {
      each.close();
    } catch {
      // Closed already.
    }
  }
}

/** Stands in for the commander: a Unix listener that keeps what each connection delivered, and runs nothing. */

export class CommanderDouble implements AsyncDisposable {
  readonly path: string;
  readonly #listener: Deno.UnixListener;
  readonly #received: Uint8Array[] = [];
  readonly #waiters = new Set<() => void>();
  readonly #accepting: Promise<void>;
  /** Called for each message as soon as it is complete. */
  onMessage: ((bytes: Uint8Array) => void) | null = null;

  private constructor(path: string) {
    this.path = path;
    this.#listener = Deno.listen({ transport: "unix", path });
    this.#accepting = this.#accept();
  }

  /** Listens at the path, or at one of its own below the temporary folder. */
  static async listen(path?: string): Promise<CommanderDouble> {
    if (path !== undefined) return new CommanderDouble(path);
    const unique = await Deno.makeTempFile({ prefix: "postern-commander-" });
    await Deno.remove(unique);
    return new CommanderDouble(unique);
  }

  /** Everything delivered so far, one entry a connection, in the order of their ends. */
  get received(): readonly Uint8Array[] {
    return this.#received;
  }

  /** Everything delivered once there are at least `count`; throws after `timeoutMs`. */
  async messages(count: number, timeoutMs = 5000): Promise<readonly Uint8Array[]> {
    await this.arrivals(count, timeoutMs);
    if (this.#received.length >= count) return this.#received;
    throw new Error(`the commander got ${this.#received.length} of ${count} messages in time`);
  }

  /** Resolves when at least `count` connections have delivered, or after `timeoutMs`. */
  async arrivals(count: number, timeoutMs: number): Promise<void> {
    const deadline = performance.now() + timeoutMs;
    while (this.#received.length < count) {
      const left = deadline - performance.now();
      if (left <= 0) return;
      const { promise, resolve } = Promise.withResolvers<void>();
      const timer = setTimeout(resolve, left);
      this.#waiters.add(resolve);
      await promise;
      this.#waiters.delete(resolve);
      clearTimeout(timer);
    }
  }

  async #accept(): Promise<void> {
    const reading: Promise<void>[] = [];
    try {
      while (true) reading.push(this.#read(await this.#listener.accept()));
    } catch {
      // Closed by the test.
    }
    await Promise.all(reading);
  }

  async #read(connection: Deno.UnixConn): Promise<void> {
    const bytes: number[] = [];
    const buffer = new Uint8Array(256);
    try {
      for (let count = await connection.read(buffer); count !== null; count = await connection.read(buffer)) {
        bytes.push(...buffer.subarray(0, count));
      }
    } catch {
      // The server was killed while it wrote: what came counts as delivered, like with a real commander.
    } finally {
      connection.close();
    }
    const message = new Uint8Array(bytes);
    this.#received.push(message);
    this.onMessage?.(message);
    for (const waiter of this.#waiters) waiter();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    await this.#accepting;
    await Deno.remove(this.path).catch(() => {});
  }
}

/** Connections of a relay that wait, and pairs that are silent. */

/** At once, so that no queue of the kernel overflows. */
const BATCH = 100;
const IDENTIFIER_BYTES = 33;

export interface CrowdSize {
  readonly parked: number;
  readonly staples: number;
}

export class Crowd implements Disposable {
  readonly parked: number;
  readonly staples: number;
  readonly #connections: Deno.Conn[];

  private constructor({ parked, staples }: CrowdSize, connections: Deno.Conn[]) {
    this.parked = parked;
    this.staples = staples;
    this.#connections = connections;
  }

  /** Resolves when each pair has heard one another, and the others are parked. */
  static async connect(port: number, size: CrowdSize): Promise<Crowd> {
    const connections: Deno.Conn[] = [];
    const come = async (identifier: string, more = ""): Promise<Deno.Conn> => {
      const connection = await Deno.connect({ hostname: "127.0.0.1", port });
      connections.push(connection);
      await connection.write(new TextEncoder().encode(identifier.padEnd(IDENTIFIER_BYTES) + more));
      return connection;
    };
    await inBatches(size.parked, (n) => come(`parked ${n}`));
    await inBatches(size.staples, async (n) => {
      await come(`pair ${n}`, "!");
      await (await come(`pair ${n}`)).read(new Uint8Array(1));
    });
    return new Crowd(size, connections);
  }

  [Symbol.dispose](): void {
    for (const connection of this.#connections) connection.close();
  }
}

async function inBatches(count: number, work: (n: number) => Promise<unknown>): Promise<void> {
  for (let at = 0; at < count; at += BATCH) {
    await Promise.all(Array.from({ length: Math.min(BATCH, count - at) }, (_, n) => work(at + n)));
  }
}

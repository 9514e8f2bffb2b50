/** A hole in the network that everything to and from one port falls into, without a word to either side. */

const TABLE = "postern_bench_hole";

/**
 * Why none can be made here, or null. Only in a network of our own: another one's firewall is not touched.
 *
 * @param port that nobody uses
 */
export async function missingBlackHole(port: number): Promise<string | null> {
  const [ours, machines] = await Promise.all(["self", "1"].map((process) => {
    return Deno.readLink(`/proc/${process}/ns/net`).catch(() => null);
  }));
  if (ours === null || ours === machines) return "needs a network namespace";
  try {
    await using _hole = await BlackHole.dig(port);
    return null;
  } catch (error) {
    return error instanceof Deno.errors.NotFound
      ? "nft is not installed: apt-get install nftables"
      : String(error);
  }
}

/** It is there until it is disposed of. */
export class BlackHole implements AsyncDisposable {
  /** Swallows TCP to and from this port, of connections that stand and of new ones. */
  static async dig(port: number): Promise<BlackHole> {
    await nft(
      `add table inet ${TABLE}; ` +
        `add chain inet ${TABLE} swallow { type filter hook prerouting priority -300; }; ` +
        `add rule inet ${TABLE} swallow tcp dport ${port} drop; ` +
        `add rule inet ${TABLE} swallow tcp sport ${port} drop`,
    );
    return new BlackHole();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await nft(`delete table inet ${TABLE}`);
  }
}

async function nft(commands: string): Promise<void> {
  const { success, stderr } = await new Deno.Command("nft", { args: [commands], stdin: "null" }).output();
  if (!success) throw new Error(`nft failed: ${new TextDecoder().decode(stderr).trim().split("\n")[0]}`);
}
